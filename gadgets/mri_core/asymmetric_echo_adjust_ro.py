"""Asymmetric echoes: zeros where nothing was sampled."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.recon_types import FLAG_NOISE
from gadgetron.toolboxes.readout import pad_asymmetric_readout


class AsymmetricEchoAdjustROGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Extend readouts whose echo is not in the middle to the encoded matrix, with zeros.

    Takes and emits acquisitions; noise, and readouts with the echo in the middle or a center_sample beyond their end,
    pass unchanged. discard_pre and discard_post tell which samples are zeros. Of a trajectory, the zeros repeat the
    outermost point (the C++ Gadgetron leaves it at its old length). Belongs before RemoveROOversamplingGadget.
    """

    thread_safe = True

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_encoded: list[int] = []

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the encoded matrix of every encoding space."""
        self._n_encoded = [encoding.encodedSpace.matrixSize.x for encoding in parameters.header.encoding]

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Extend one readout."""
        head = header.object
        n_samples, center = readout.object.shape[1], head.center_sample
        space = head.encoding_space_ref
        n_out = self._n_encoded[space] if space < len(self._n_encoded) else 0
        is_asymmetric = 2 * center != n_samples and center < n_samples < n_out
        if is_asymmetric and not head.flags & FLAG_NOISE:
            at_front = center < n_samples / 2
            n_zeros = n_out - n_samples
            readout.object = pad_asymmetric_readout(readout.object, n_out, at_front=at_front)
            head.discard_pre, head.discard_post = (n_zeros, 0) if at_front else (0, n_zeros)
            head.number_of_samples = n_out
            head.center_sample = n_out // 2
            self._pad_trajectory(readout, n_samples, (n_zeros, 0) if at_front else (0, n_zeros))
        self.put_next(header)

    def _pad_trajectory(self, readout: Container[Array[np.complex64]], n_samples: int, zeros: tuple[int, int]) -> None:
        block = readout.cont
        if isinstance(block, Container) and isinstance(block.object, np.ndarray) and len(block.object) == n_samples > 0:
            block.object = np.pad(block.object, (zeros, (0, 0)), mode="edge")
