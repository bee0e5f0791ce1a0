"""Adjustment of images to the matrix and field of view that were asked for."""

from __future__ import annotations

import math
from typing import Any

from gadgetron.gadget import Gadget1
from gadgetron.header import IsmrmrdHeader
from gadgetron.image_arrays import first_meta, meta_numbers
from gadgetron.message import Container, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray
from gadgetron.toolboxes.resize import crop_centred, resize_image


class GenericReconFieldOfViewAdjustmentGadget(Gadget1[ImageArray]):
    """Bring images to the recon space's pixel spacing and field of view.

    Takes and emits image arrays. Spacing changes by padding k-space with zeros (pixel values stay) or by cropping it
    (noise keeps its level); the field of view is then cropped. Images whose encoded field of view is smaller than that
    of the recon space pass unchanged.

    Mended against the C++ Gadgetron: padding along E2 keeps the pixel values, too.
    """

    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    thread_safe = True

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._header: IsmrmrdHeader | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the header."""
        self._header = parameters.header

    def process(self, message: Container[ImageArray]) -> None:
        """Adjust one image array."""
        array = message.object
        sizes = self._sizes(array)
        if sizes is not None:
            encoded, recon = sizes
            array.data = crop_centred(resize_image(array.data, encoded), recon)
        n_z, n_y, n_x = array.data.shape[-3:]
        headers: Any = array.headers.flat
        for header in headers:
            header.matrix_size[:] = (n_x, n_y, n_z)
        self.debug_array("images", array.data)
        self.put_next(message)

    def _sizes(self, array: ImageArray) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Give the matrix of the encoded field of view at the wanted spacing, and the wanted one, (z, y, x)."""
        meta = first_meta(array)
        encoded_fov, recon_fov = meta_numbers(meta, "encoding_FOV", 3), meta_numbers(meta, "recon_FOV", 3)
        space = int((meta_numbers(meta, "encoding", 1) or (0,))[0])
        header = self._header
        if encoded_fov is None or recon_fov is None or header is None or not 0 <= space < len(header.encoding):
            return None
        matrix = header.encoding[space].reconSpace.matrixSize
        n_z = array.data.shape[-3]
        recon = (matrix.z if n_z > 1 else n_z, matrix.y, matrix.x)
        if encoded_fov[1] < recon_fov[1] or (n_z > 1 and encoded_fov[2] < recon_fov[2]):
            return None
        size_z = _size(recon[0], encoded_fov[2], recon_fov[2]) if n_z > 1 else n_z
        return (size_z, _size(recon[1], encoded_fov[1], recon_fov[1]), recon[2]), recon


def _size(n: int, encoded_fov: float, recon_fov: float) -> int:
    """Give the even number of pixels of an encoded field of view, of which n make up the recon field of view."""
    if encoded_fov <= recon_fov or recon_fov <= 0:
        return n
    return max(n, 2 * math.floor(encoded_fov * n / (2 * recon_fov) + 0.5))
