"""All encoding spaces as one."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container


class OneEncodingGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Give all readouts the encoding space 0, so that calibration of a space of its own meets the imaging data.

    Takes and emits acquisitions; only `encoding_space_ref` changes.
    """

    thread_safe = True

    def process(self, header: Container[ismrmrd.AcquisitionHeader], _readout: Container[Array[np.complex64]]) -> None:
        """Set the encoding space of one readout."""
        header.object.encoding_space_ref = 0
        self.put_next(header)
