"""The middle of readouts."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, ParametersMessage


class CutXGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Cut readouts to the encoded matrix, around their center sample.

    Takes and emits acquisitions. The field of view stays; resolution beyond the matrix goes. Readouts that are not
    longer pass unchanged. Near an end of the readout the cut is moved inside, where the C++ Gadgetron reads beyond it.
    """

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_kept: int | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the encoded matrix."""
        self._n_kept = parameters.header.encoding[0].encodedSpace.matrixSize.x

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Cut one readout."""
        head, data = header.object, readout.object
        n_samples, n_kept = data.shape[1], self._n_kept
        if n_kept is not None and n_samples > n_kept:
            center = min(head.center_sample, n_samples - 1)
            start = min(max(center - n_kept // 2, 0), n_samples - n_kept)
            readout.object = data[:, start : start + n_kept].copy()
            head.number_of_samples = n_kept
            head.center_sample = min(center - start, n_kept - 1)
            head.discard_pre = max(head.discard_pre - start, 0)
            head.discard_post = max(head.discard_post - (n_samples - n_kept - start), 0)
        self.put_next(header)
