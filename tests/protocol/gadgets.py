"""Gadgets for sessions of the framed protocol, loaded by name as a user's are."""

from __future__ import annotations

import numpy as np
from ismrmrd import AcquisitionHeader, ImageHeader

from gadgetron import Array, Container, Gadget, Gadget2, MessageBlock, make_message


def image(series: int) -> MessageBlock:
    """Make an image of one pixel."""
    header = ImageHeader()
    header.version, header.channels, header.image_series_index = 1, 1, series
    header.matrix_size[:] = (1, 1, 1)
    return make_message(header, np.full((1, 1, 1, 1), series, np.float32))


class Simulation(Gadget):
    """Makes two images of nothing."""

    def close(self, flags: int) -> None:
        for number in (1, 2):
            self.put_next(image(number))


class Calibration(Gadget2[AcquisitionHeader, Array[np.complex64]]):
    """Keeps what it gets to itself."""

    def process(self, header: Container[AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        return


class Series(Gadget2[AcquisitionHeader, Array[np.complex64]]):
    """Makes an image in each of two series for every readout."""

    emits = ((ImageHeader, Array[np.float32]),)

    def process(self, header: Container[AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        for number in (5, 1):
            self.put_next(image(number))
