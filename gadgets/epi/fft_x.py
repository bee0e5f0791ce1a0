"""Images along x to k-space."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.toolboxes.fft import fft


class FFTXGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Transform readouts from image space along x back to k-space: centred, orthonormal.

    Takes and emits acquisitions, as EPICorrGadget makes them.
    """

    thread_safe = True

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Transform one readout: by itself, so that its bits do not depend on how many have arrived together."""
        readout.object = fft(readout.object, (1,))
        self.put_next(header)
