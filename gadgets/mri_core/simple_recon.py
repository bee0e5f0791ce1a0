"""The simplest reconstruction: Fourier transform and root sum of squares."""

from __future__ import annotations

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.header import IsmrmrdHeader
from gadgetron.message import Container, GadgetContainerMessage, ParametersMessage
from gadgetron.recon_types import ImageArray, ReconBuffer, ReconData, empty_objects, make_image_header
from gadgetron.toolboxes.coils import rss_image

NOT_ON_A_GRID = ("radial", "goldenangle", "spiral")  # `other` may be anything, lines as well


class SimpleReconGadget(Gadget1[ReconData]):
    """Transform k-space to images, and combine coils by root sum of squares.

    Takes recon data, emits one image array for each of its bits that has imaging data. Calibration data is ignored.
    Images are complex with imaginary part zero, of the size of the encoded matrix (x: of the readout), and are
    numbered from 1.

    Mended against the C++ Gadgetron: spokes and spirals are refused, where the C++ program puts them on the grid as if
    they were lines; geometry and counters come from the acquired line nearest to k-space center,
    where the C++ program leaves them zero if the line at the center was not acquired.
    """

    emits = ((ImageArray,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_images = 0
        self._header: IsmrmrdHeader | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the encodings."""
        self._header = parameters.header

    def process(self, message: Container[ReconData]) -> None:
        """Reconstruct every bit."""
        recon_data = message.object
        for space, bit in enumerate(recon_data.bits):
            if bit.data is not None:
                self._check_trajectory(space)
                array = self._reconstruct(bit.data)
                array.waveforms = recon_data.waveforms
                self.put_next(GadgetContainerMessage(array))

    def _check_trajectory(self, space: int) -> None:
        trajectory = self._header.encoding_space(space).trajectory if self._header is not None else "cartesian"
        if trajectory in NOT_ON_A_GRID:
            raise MalformedMessageError(
                f"trajectory ({trajectory}): cartesian or epi expected — encoding space {space}; this reconstruction "
                "takes lines on a grid"
            )

    def _reconstruct(self, buffer: ReconBuffer) -> ImageArray:
        n_loc, n_s, n_n, _, n_z, n_y, n_x = buffer.data.shape
        images = np.empty((n_loc, n_s, n_n, 1, n_z, n_y, n_x), np.complex64)
        headers = empty_objects((n_loc, n_s, n_n))
        for loc, s, n in np.ndindex(n_loc, n_s, n_n):
            images[loc, s, n, 0] = rss_image(buffer.data[loc, s, n])
            header = make_image_header(
                buffer.center_header(loc, s, n),
                channels=1,
                matrix_size=(n_x, n_y, n_z),
                field_of_view=buffer.sampling.recon_FOV,
            )
            self._n_images += 1
            header.image_index = self._n_images & 0xFFFF
            headers[loc, s, n] = header
        return ImageArray(images, headers, empty_objects(headers.shape), acquisition_headers=buffer.headers)
