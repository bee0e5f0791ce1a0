"""Stored noise measurements: kept by one scan, found by the scans that depend on it, listed for who asks."""

from __future__ import annotations

from gadgetron.errors import GadgetronError, StorageError
from gadgetron.header import IsmrmrdHeader, parse_ismrmrd_header
from gadgetron.limits import LIMITS
from gadgetron.storage import Storage, safe_name
from gadgetron.toolboxes.noise import NoiseCovariance
from gadgetron.toolboxes.noise_files import parse_noise_file, serialize_noise_file

__all__ = ["NOISE_PREFIX", "channel_labels", "dependency_id", "load_noise", "parse_noise", "store_noise"]

NOISE_PREFIX = "GadgetronNoiseCovarianceMatrix"


def channel_labels(header: IsmrmrdHeader) -> tuple[str, ...]:
    """Give the names of a scan's channels in the order of their numbers; empty if the header does not have them."""
    system = header.acquisitionSystemInformation
    labels = sorted(system.coilLabel, key=lambda label: label.coilNumber) if system else []
    return tuple(label.coilName for label in labels)


def dependency_id(header: IsmrmrdHeader) -> str | None:
    """Give the measurement ID of the noise scan that a scan depends on, or None if it does not.

    An ID without an underscore is that of a scan of the same session: what stands before the last underscore of the
    scan's own ID belongs in front of it.
    """
    measurement = header.measurementInformation
    wanted = [
        dependency.measurementID
        for dependency in (measurement.measurementDependency if measurement else ())
        if dependency.dependencyType.lower() == "noise"
    ]
    if measurement is None or not wanted:
        return None
    session, underscore, _ = (measurement.measurementID or "").rpartition("_")
    return f"{session}_{wanted[-1]}" if underscore and "_" not in wanted[-1] else wanted[-1]


def store_noise(storage: Storage, prefix: str, measurement_id: str, noise: NoiseCovariance, header_xml: bytes) -> str:
    """Keep a noise measurement; what is too old, or too many, is deleted. Gives the name under which it is listed.

    Raises
    ------
    StorageError
        If it cannot be written.
    LimitExceeded
        If it is too large.
    """
    name = safe_name(prefix, measurement_id)
    storage.put(name, serialize_noise_file(noise, header_xml))
    storage.clean(safe_name(prefix), LIMITS.max_stored_files)
    return name


def load_noise(storage: Storage, prefix: str, measurement_id: str) -> NoiseCovariance | None:
    """Give a stored noise measurement; None if there is none of that ID, or it is too old.

    Raises
    ------
    StorageError
        If the file cannot be read, or is no noise measurement.
    """
    name = safe_name(prefix, measurement_id)
    data = storage.get(name)
    if data is None:
        return None
    return parse_noise(data, name)


def parse_noise(data: bytes, what: str) -> NoiseCovariance:
    """Read a noise measurement from the bytes of a file, of either form.

    Raises
    ------
    StorageError
        If they are none.
    """
    try:
        file = parse_noise_file(data)
        noise = file.noise
        labels = channel_labels(parse_ismrmrd_header(file.header_xml)) if file.header_xml else noise.labels
    except (ValueError, GadgetronError) as error:
        raise StorageError(f"{what}: {error}") from error
    return noise._replace(labels=labels)
