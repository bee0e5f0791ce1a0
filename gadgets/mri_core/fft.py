"""Fourier transform from k-space to coil images."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.errors import GadgetError
from gadgetron.gadget import Gadget1
from gadgetron.message import Array, Container, make_message
from gadgetron.recon_types import ReconBuffer, ReconData, make_image_header
from gadgetron.toolboxes.fft import ifft

SPATIAL_AXES = (1, 2, 3)


class FFTGadget(Gadget1[ReconData | ismrmrd.ImageHeader]):
    """Transform k-space to coil images: centred, orthonormal, along x, y and z.

    Takes complex images that hold k-space (from AccumulatorGadget) and transforms them in place; takes recon data and
    emits one complex image with all channels for each location, S and N, numbered from 1. Geometry and counters come
    from the acquired line nearest to k-space center.
    """

    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_images = 0

    def process(self, message: Container[ReconData | ismrmrd.ImageHeader]) -> None:
        """Transform one image, or everything in recon data."""
        if isinstance(message.object, ReconData):
            for bit in message.object.bits:
                if bit.data is not None:
                    self._send_images(bit.data)
            return
        block = message.cont
        if isinstance(block, Container) and isinstance(block.object, np.ndarray) and block.object.dtype == np.complex64:
            if block.object.ndim != 4:
                raise GadgetError(self.name, f"image has {block.object.ndim} axes, (channels, z, y, x) expected")
            block.object = ifft(block.object, SPATIAL_AXES)
            self.put_next(message)
        else:
            self.pass_on(message)

    def _send_images(self, buffer: ReconBuffer) -> None:
        n_loc, n_s, n_n, n_channels, n_z, n_y, n_x = buffer.data.shape
        for loc, s, n in np.ndindex(n_loc, n_s, n_n):
            header = make_image_header(
                buffer.center_header(loc, s, n),
                channels=n_channels,
                matrix_size=(n_x, n_y, n_z),
                field_of_view=buffer.sampling.recon_FOV,
            )
            self._n_images += 1
            header.image_index = self._n_images & 0xFFFF
            self.put_next(make_message(header, ifft(buffer.data[loc, s, n], SPATIAL_AXES)))
