"""Noise decorrelation, the historical one."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.recon_types import FLAG_NOISE, FLAGS_NOT_IMAGING
from gadgetron.toolboxes.coils import mix_channels
from gadgetron.toolboxes.noise import noise_scale, prewhitener
from gadgetron.toolboxes.readout import is_finite


class NoiseAdjustGadget_unoptimized(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):  # noqa: N801  # its name
    """Make the noise of all channels white: the noise readouts of the scan itself, and nothing else.

    Takes acquisitions; emits those that are not noise. What it knows is that of the C++ class of this name, for old
    configurations: the covariance is the mean over the samples, the receiver's relative bandwidth is 1 if the header
    does not have it. NoiseAdjustGadget has stored noise, channel names, and the usual bandwidth.
    """

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._bandwidth = 1.0
        self._sum: Array[np.complex128] | None = None
        self._n_samples = 0
        self._dwell_time_us = 0.0
        self._matrix: Array[np.complex64] | None = None
        self._is_decided = False

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the bandwidth."""
        system = parameters.header.acquisitionSystemInformation
        bandwidth = system.relativeReceiverNoiseBandwidth if system else None
        self._bandwidth = 1.0 if bandwidth is None else bandwidth

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Collect noise, or adjust one readout."""
        head = header.object
        if head.flags & FLAG_NOISE:
            self._collect(head, readout.object)
            return
        if not self._is_decided and not head.flags & FLAGS_NOT_IMAGING:
            self._decide(head)
        if self._matrix is not None:
            n_channels = readout.object.shape[0]
            if n_channels != len(self._matrix):
                raise MalformedMessageError(
                    f"active_channels ({n_channels}): {len(self._matrix)} expected, as in the noise readouts — "
                    f"scan_counter {head.scan_counter}"
                )
            (readout.object,) = mix_channels([readout.object], self._matrix)
        self.put_next(header)

    def _collect(self, head: ismrmrd.AcquisitionHeader, data: Array[np.complex64]) -> None:
        if self._is_decided or not is_finite(data):
            return
        noise = data.astype(np.complex128)
        n_channels = len(noise)
        if self._sum is None or len(self._sum) != n_channels:
            n_bytes = n_channels * n_channels * noise.itemsize
            if n_bytes > LIMITS.max_session_bytes:
                raise LimitExceeded("bytes of the noise covariance", n_bytes, LIMITS.max_session_bytes)
            self._sum, self._n_samples = np.zeros((n_channels, n_channels), np.complex128), 0
        self._sum += noise.conj() @ noise.T
        self._n_samples += noise.shape[1]
        self._dwell_time_us = head.sample_time_us

    def _decide(self, head: ismrmrd.AcquisitionHeader) -> None:
        self._is_decided = True
        if self._sum is None or self._n_samples == 0:
            return
        if not self._sum.any():
            self.log.warning("noise.all_zero", hint="as without a noise scan: readouts pass unchanged")
            return
        try:
            matrix = prewhitener(self._sum / self._n_samples)
        except ValueError as error:
            self.log.warning("noise.not_usable", reason=str(error))
            return
        scale = noise_scale(head.sample_time_us, self._dwell_time_us, self._bandwidth)
        self._matrix = np.ascontiguousarray((matrix * scale).T, np.complex64)
