"""A branch that puts each message to one stream, by what it is."""

from __future__ import annotations

from typing import ClassVar

import ismrmrd
import numpy as np

from gadgetron.branch import Branch
from gadgetron.message import Array, MessageBlock, matches

ACQUISITION = (ismrmrd.AcquisitionHeader, Array[np.complex64])
WAVEFORM = (ismrmrd.WaveformHeader, Array[np.uint32])


class AcquisitionWaveformBranch(Branch):
    """Put acquisitions to the stream `acquisitions`, and waveforms to the stream `waveforms`."""

    accepts = (ACQUISITION, WAVEFORM)
    keys = ("acquisitions", "waveforms")
    emits_to: ClassVar = {"acquisitions": (ACQUISITION,), "waveforms": (WAVEFORM,)}

    def process(self, message: MessageBlock) -> None:
        """Put one message."""
        self.put_to("waveforms" if matches(message, WAVEFORM) else "acquisitions", message)
