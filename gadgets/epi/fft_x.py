"""Images along x to k-space."""

from __future__ import annotations

from collections.abc import Sequence

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, MessageBlock
from gadgetron.toolboxes.fft import fft


class FFTXGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Transform readouts from image space along x back to k-space: centred, orthonormal.

    Takes and emits acquisitions, as EPICorrGadget makes them.
    """

    thread_safe = True

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Transform readouts in batches of equal shape."""
        waiting: list[tuple[MessageBlock, Container[Array[np.complex64]]]] = []
        for message in messages:
            if not self.matches(message):
                self._transform(waiting)
                waiting = []
                self.pass_on(message)
                continue
            readout: Container[Array[np.complex64]] = message.cont  # type: ignore[assignment]  # matched
            if waiting and waiting[0][1].object.shape != readout.object.shape:
                self._transform(waiting)
                waiting = []
            waiting.append((message, readout))
        self._transform(waiting)

    def _transform(self, messages: list[tuple[MessageBlock, Container[Array[np.complex64]]]]) -> None:
        if not messages:
            return
        lines = fft(np.stack([readout.object for _, readout in messages]), (2,))
        for (message, readout), line in zip(messages, lines, strict=True):
            readout.object = line.copy()
            self.put_next(message)
