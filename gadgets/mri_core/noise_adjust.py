"""Noise decorrelation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError, StorageError
from gadgetron.gadget import CLOSE_NORMAL, Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import BLOCK_OVERHEAD_BYTES, Array, Container, MessageBlock, ParametersMessage
from gadgetron.noise_storage import (
    NOISE_PREFIX,
    channel_labels,
    dependency_id,
    load_noise,
    parse_noise,
    store_noise,
)
from gadgetron.properties import Property
from gadgetron.recon_types import FLAG_NOISE, FLAGS_NOT_IMAGING
from gadgetron.storage import Storage
from gadgetron.toolboxes.arrays import shared_pool
from gadgetron.toolboxes.coils import mix_channels
from gadgetron.toolboxes.noise import (
    DEFAULT_RELATIVE_BANDWIDTH,
    NoiseCovariance,
    match_channels,
    noise_scale,
    prewhitener,
)
from gadgetron.toolboxes.noise_files import serialize_sfndam
from gadgetron.toolboxes.readout import is_finite

Header = Container[ismrmrd.AcquisitionHeader]
Readout = Container[Array[np.complex64]]


class NoiseAdjustGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Make the noise of all channels white and of unit variance.

    Takes acquisitions; emits those that are not noise, in order. The covariance is, in this order: the file that the
    parameter `noisecovariancein` names; the stored one of the noise scan that the header depends on; that of the noise
    readouts before the first imaging readout. Without any of them readouts pass unchanged. Feedback, navigator, dummy
    and surface coil correction readouts are no imaging readouts: those before the first one pass unchanged.

    Noise that was measured is stored under the scan's measurement ID (without one, its measurement_uid), for scans
    that depend on it, and in the file that the parameter `noisecovarianceout` names.

    Mended against the C++ Gadgetron: `scale_only_channels_by_name` finds the channel, not the name's position in the
    list; headers without acquisitionSystemInformation or measurementInformation do not crash it; of a stored covariance
    the scan's channels are taken by name, and if one is missing that is an error, instead of taking the wrong ones;
    noise that is zero in all channels is no noise scan; noise readouts that are not finite are left out.
    """

    noise_dependency_prefix = Property(NOISE_PREFIX, doc="beginning of the name of stored covariances")
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

    time_limit_in_storage = Property(
        48.0, doc="age above which a stored covariance is as good as gone [h]; 0 for no limit", minimum=0.0
    )
    is_noise_adjusted = Property(
        False, doc="set by the gadget: whether readouts are adjusted; for other gadgets to refer to"
    )

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._sum: Array[np.complex128] | None = None
        self._n_samples = 0
        self._dwell_time_us = 0.0
        self._bandwidth: float | None = None
        self._header_xml = b""
        self._measurement_id = ""
        self._channel_names: tuple[str, ...] = ()
        self._stored: NoiseCovariance | None = None
        self._prewhitener: Array[np.complex64] | None = None
        self._is_decided = False  # set by the first imaging readout

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read bandwidth and channel names, and a stored covariance if there is one."""
        header = parameters.header
        system = header.acquisitionSystemInformation
        measurement = header.measurementInformation
        self._bandwidth = system.relativeReceiverNoiseBandwidth if system else None
        self._channel_names = channel_labels(header)
        self._header_xml = parameters.data.rstrip(b"\0")
        self._measurement_id = (measurement.measurementID if measurement else None) or ""
        if self.perform_noise_adjust:
            file_name = self.controller.parameter("noisecovariancein")
            self._stored = _load(Path(file_name)) if file_name else self._load_dependency(dependency_id(header))

    def _load_dependency(self, measurement_id: str | None) -> NoiseCovariance | None:
        if measurement_id is None:
            return None
        try:
            noise = load_noise(self._storage(), self.noise_dependency_prefix, measurement_id)
        except StorageError as error:
            self.log.warning("noise_dependency.not_usable", measurement_id=measurement_id, reason=str(error))
            return None
        if noise is None:
            self.log.warning("noise_dependency.not_found", measurement_id=measurement_id)
        else:
            self.log.info("noise_dependency.loaded", measurement_id=measurement_id, n_channels=len(noise.covariance))
        return noise

    def _storage(self) -> Storage:
        folder = Path(self.noise_dependency_folder) if self.noise_dependency_folder else self.working_directory
        return Storage(folder, self.time_limit_in_storage * 3600.0)

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
            elif not (self._is_decided or waiting) and header.object.flags & FLAGS_NOT_IMAGING:
                self.put_next(header)  # noise may come yet, and the sampling interval is another one
            else:
                waiting.append((header, readout))
        if waiting:
            self._adjust(waiting)

    def _collect(self, header: Header, readout: Readout) -> None:
        if self._is_decided or self._stored is not None or not self.perform_noise_adjust:
            return
        if not is_finite(readout.object):
            self.log.warning("noise.not_finite", scan_counter=header.object.scan_counter)
            return
        noise = readout.object.astype(np.complex128)
        n_channels, n_samples = noise.shape
        if self._sum is None:
            n_bytes = n_channels * n_channels * noise.itemsize
            if n_bytes > LIMITS.max_session_bytes:
                raise LimitExceeded("bytes of the noise covariance", n_bytes, LIMITS.max_session_bytes)
            self._sum = np.zeros((n_channels, n_channels), np.complex128)
            self._dwell_time_us = self.noise_dwell_time_us_preset or header.object.sample_time_us
            self._measurement_id = self._measurement_id or str(header.object.measurement_uid)
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
        if not noise.covariance.any():
            self.log.warning("noise.all_zero", hint="as without a noise scan: readouts pass unchanged")
            return
        if self._stored is None:
            try:
                self._keep(noise)
            except (StorageError, LimitExceeded) as error:  # no reason to do without the images
                self.log.warning("noise.not_stored", reason=str(error))
        try:
            covariance = match_channels(noise, self._channel_names)
        except ValueError as error:
            raise MalformedMessageError(
                f"coilLabel: the stored noise covariance is of other channels: {error}"
            ) from error
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
        self.is_noise_adjusted = True
        self.log.info("noise.prewhitener", n_channels=len(matrix), n_samples=self._n_samples, scale=round(scale, 6))

    def _measured(self) -> NoiseCovariance | None:
        if self._sum is None or self._n_samples < 2:
            return None
        covariance = self._sum / (self._n_samples - 1)
        labels = self._channel_names if len(self._channel_names) == len(covariance) else ()
        return NoiseCovariance(covariance, self._dwell_time_us, labels, self._n_samples)

    def _keep(self, noise: NoiseCovariance) -> None:
        """Store what was measured."""
        file_name = self.controller.parameter("noisecovarianceout")
        if file_name:
            bandwidth = DEFAULT_RELATIVE_BANDWIDTH if self._bandwidth is None else self._bandwidth
            path = Path(file_name)
            Storage(path.parent).put(path.name, serialize_sfndam(noise, bandwidth))
        name = store_noise(self._storage(), self.noise_dependency_prefix, self._measurement_id, noise, self._header_xml)
        self.log.info("noise.stored", name=name, n_channels=len(noise.covariance), n_samples=noise.n_samples)

    def close(self, flags: int) -> None:
        """Store the noise of a scan that had nothing else: that it can be stored is all there is to such a scan."""
        noise = self._measured() if flags == CLOSE_NORMAL and not self._is_decided else None
        if noise is not None and noise.covariance.any():
            self._keep(noise)
        elif noise is not None:
            self.log.warning("noise.all_zero", hint="it is not stored")


def _load(path: Path) -> NoiseCovariance:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError("noisecovariancein: not readable") from error
    return parse_noise(data, "noisecovariancein")
