"""What the two ways to handle partial Fourier sampling share."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from gadgetron.gadget import Gadget1
from gadgetron.header import IsmrmrdHeader
from gadgetron.image_arrays import SKIP_PROCESSING, first_meta, meta_numbers
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.parallel_imaging import Acceleration, acceleration_of
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray
from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.partial_fourier import sampled_extent

AXES = (-3, -2, -1)

Extents = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


class GenericReconPartialFourierHandlingGadget(Gadget1[ImageArray]):
    """Base of the gadgets that handle k-space that was sampled asymmetrically.

    Takes and emits image arrays. The sampled ranges come from the meta attributes. Images that were sampled
    symmetrically, and those that say they are to be skipped, pass unchanged.
    """

    skip_processing_meta_field = Property(SKIP_PROCESSING, doc="images with this meta attribute pass unchanged")
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    thread_safe = True

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._header: IsmrmrdHeader | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the header."""
        self._header = parameters.header

    def process(self, message: Container[ImageArray]) -> None:
        """Handle one image array."""
        array = message.object
        if first_meta(array).get(self.skip_processing_meta_field) is None:
            extents = self._extents(array)
            if any(extent != (0, n - 1) for extent, n in zip(extents, array.data.shape[-3:], strict=True)):
                array.data = ifft(self.handle(fft(array.data, AXES), extents), AXES)
        self.debug_array("images", array.data)
        self.put_next(message)

    @abstractmethod
    def handle(self, kspace: Array[np.complex64], extents: Extents) -> Array[np.complex64]:
        """Handle k-space (…, z, y, x), which may be changed; extents are first and last index along z, y, x."""

    def _extents(self, array: ImageArray) -> Extents:
        n_z, n_y, n_x = array.data.shape[-3:]
        meta = first_meta(array)
        acceleration = self._acceleration(int((meta_numbers(meta, "encoding", 1) or (0,))[0]))
        x, y, z = (meta_numbers(meta, f"sampling_limits_{axis}", 3) for axis in ("RO", "E1", "E2"))
        along_x = (int(x[0]), int(x[2])) if x and 0 <= x[0] <= x[2] < n_x else (0, n_x - 1)
        along_y = sampled_extent(n_y, int(y[0]), int(y[2]), acceleration.e1) if y else (0, n_y - 1)
        along_z = sampled_extent(n_z, int(z[0]), int(z[2]), acceleration.e2) if z and n_z > 1 else (0, n_z - 1)
        return along_z, along_y, along_x

    def _acceleration(self, space: int) -> Acceleration:
        if self._header is None or not 0 <= space < len(self._header.encoding):
            return Acceleration(1, 1, "none")
        return acceleration_of(self._header.encoding[space])
