"""Noise decorrelation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError, StorageError
from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import BLOCK_OVERHEAD_BYTES, Array, Container, MessageBlock, ParametersMessage
from gadgetron.properties import Property
from gadgetron.toolboxes.arrays import shared_pool
from gadgetron.toolboxes.coils import mix_channels
from gadgetron.toolboxes.noise import NoiseCovariance, noise_scale, parse_noise_covariance, prewhitener
from gadgetron.recon_types import FLAG_NOISE

Header = Container[ismrmrd.AcquisitionHeader]
Readout = Container[Array[np.complex64]]


class NoiseAdjustGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Make the noise of all channels white and of unit variance.

    Takes acquisitions; emits those that are not noise, in order. The covariance comes from the noise readouts before
    the first imaging readout, or from the file that the parameter `noisecovariancein` names, which wins. Without
    either, readouts pass unchanged.

    Mended against the C++ Gadgetron: `scale_only_channels_by_name` finds the channel, not the name's position in the
    list; headers without acquisitionSystemInformation or measurementInformation do not crash it; a stored covariance
    of other channels than the scan's is refused, instead of being used as it is.
    """

    noise_dependency_prefix = Property(
        "GadgetronNoiseCovarianceMatrix", doc="beginning of the name of stored covariances"
    )
    perform_noise_adjust = Property(
        True, doc="whether to adjust; if false, noise readouts are dropped and nothing else done"
    )
    pass_nonconformant_data = Property(
        True, doc="pass readouts with another number of channels than the noise's unchanged; if false they are an error"
    )
    noise_dwell_time_us_preset = Property(
        0.0, doc="sampling interval of the noise readouts [µs]; 0 takes it from the readouts", minimum=0.0
    )
    scale_only_channels_by_name = Property("", doc="comma separated names of channels to be scaled, not decorrelated")
    noise_dependency_folder = Property(
        "", doc="folder of stored covariances, inside the working directory", folder=True
    )

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._sum: Array[np.complex128] | None = None
        self._n_samples = 0
        self._dwell_time_us = 0.0
        self._bandwidth: float | None = None
        self._channel_names: tuple[str, ...] = ()
        self._stored: NoiseCovariance | None = None
        self._prewhitener: Array[np.complex64] | None = None
        self._is_decided = False  # set by the first imaging readout

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read bandwidth and channel names, and a stored covariance if there is one."""
        header = parameters.header
        system = header.acquisitionSystemInformation
        self._bandwidth = system.relativeReceiverNoiseBandwidth if system else None
        labels = sorted(system.coilLabel, key=lambda label: label.coilNumber) if system else []
        self._channel_names = tuple(label.coilName for label in labels)
        file_name = self.controller.parameter("noisecovariancein")
        if file_name:
            self._stored = _load(Path(file_name))
            return
        measurement = header.measurementInformation
        for dependency in measurement.measurementDependency if measurement else ():
            if dependency.dependencyType.lower() == "noise":
                self.log.warning("noise_dependency.not_found", measurement_id=dependency.measurementID)

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Collect noise, and adjust imaging readouts in batches of equal shape."""
        waiting: list[tuple[Header, Readout]] = []
        for message in messages:
            is_match = self.matches(message)
            header: Header = message  # type: ignore[assignment]  # if it matches
            readout: Readout = message.cont  # type: ignore[assignment]  # if it matches
            if waiting and not (is_match and readout.object.shape == waiting[0][1].object.shape):
                self._adjust(waiting)
                waiting = []
            if not is_match:
                self.pass_on(message)
            elif header.object.flags & FLAG_NOISE:
                self._collect(header, readout)
            else:
                waiting.append((header, readout))
        if waiting:
            self._adjust(waiting)

    def _collect(self, header: Header, readout: Readout) -> None:
        if self._is_decided or not self.perform_noise_adjust:
            return
        noise = readout.object.astype(np.complex128)
        n_channels, n_samples = noise.shape
        if self._sum is None:
            n_bytes = n_channels * n_channels * noise.itemsize
            if n_bytes > LIMITS.max_session_bytes:
                raise LimitExceeded("bytes of the noise covariance", n_bytes, LIMITS.max_session_bytes)
            self._sum = np.zeros((n_channels, n_channels), np.complex128)
            self._dwell_time_us = self.noise_dwell_time_us_preset or header.object.sample_time_us
        elif len(self._sum) != n_channels:
            raise MalformedMessageError(
                f"active_channels ({n_channels}): {len(self._sum)} expected, as in the first noise readout — "
                f"scan_counter {header.object.scan_counter}"
            )
        self._sum += noise.conj() @ noise.T
        self._n_samples += n_samples

    def _adjust(self, messages: list[tuple[Header, Readout]]) -> None:
        """Adjust readouts of equal shape, and pass them on."""
        if not self._is_decided:
            self._decide(messages[0][0].object)
        matrix = self._prewhitener
        if matrix is not None:
            n_channels = messages[0][1].object.shape[0]
            if n_channels == len(matrix):
                results = mix_channels([readout.object for _, readout in messages], matrix, shared_pool.take)
                for (_, readout), result in zip(messages, results, strict=True):
                    readout.object = result
                    readout.charge(result.nbytes + BLOCK_OVERHEAD_BYTES)
            elif not self.pass_nonconformant_data:
                raise MalformedMessageError(
                    f"active_channels ({n_channels}): {len(matrix)} expected, as in the noise readouts — "
                    f"scan_counter {messages[0][0].object.scan_counter}"
                )
        for header, _ in messages:
            self.put_next(header)

    def _decide(self, header: ismrmrd.AcquisitionHeader) -> None:
        """Compute the transform, once, at the first imaging readout."""
        self._is_decided = True
        if not self.perform_noise_adjust:
            return
        noise = self._stored or self._measured()
        if noise is None:
            self.log.info("noise.none", hint="readouts pass unchanged")
            return
        covariance = self._in_channel_order(noise)
        for name in filter(None, (part.strip() for part in self.scale_only_channels_by_name.split(","))):
            if name in self._channel_names and self._channel_names.index(name) < len(covariance):
                channel = self._channel_names.index(name)
                variance = covariance[channel, channel]
                covariance[channel, :] = covariance[:, channel] = 0
                covariance[channel, channel] = variance
            else:
                self.log.warning("noise.unknown_channel", channel=name)
        try:
            matrix = prewhitener(covariance)
        except ValueError as error:
            self.log.warning("noise.not_usable", reason=str(error))
            return
        scale = noise_scale(header.sample_time_us, noise.dwell_time_us, self._bandwidth)
        self._prewhitener = np.ascontiguousarray((matrix * scale).T, np.complex64)  # readouts are (channels, samples)
        self.log.info("noise.prewhitener", n_channels=len(matrix), n_samples=self._n_samples, scale=round(scale, 6))

    def _measured(self) -> NoiseCovariance | None:
        if self._sum is None or self._n_samples < 2:
            return None
        return NoiseCovariance(self._sum / (self._n_samples - 1), self._dwell_time_us)

    def _in_channel_order(self, noise: NoiseCovariance) -> Array[np.complex128]:
        """Bring a stored covariance into the order of this scan's channels, by their names."""
        covariance = noise.covariance
        names = self._channel_names
        if not noise.labels or not names or noise.labels == names:
            return covariance
        if sorted(noise.labels) != sorted(names) or len(set(names)) != len(names) or len(names) != len(covariance):
            raise MalformedMessageError("coilLabel: the stored noise covariance is of other channels than this scan's")
        order = [noise.labels.index(name) for name in names]
        return covariance[np.ix_(order, order)]


def _load(path: Path) -> NoiseCovariance:
    try:
        return parse_noise_covariance(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = "not readable" if isinstance(error, OSError) else str(error)
        raise StorageError(f"noisecovariancein: {reason}") from error
