"""Combination of coil images."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.toolboxes.coils import combine_weighted_phase


class CombineGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Combine the channels of images: root sum of squares, with the phase of their power-weighted mean.

    Takes and emits complex images; those emitted have one channel. The phase is right where angles wrap, which in the
    C++ Gadgetron it is not (see toolboxes.coils.combine_weighted_phase).
    """

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Combine the channels of one image."""
        image.object = combine_weighted_phase(image.object)[np.newaxis]
        header.object.channels = 1
        self.put_next(header)
