"""The two forms in which a noise covariance is kept in a file, as the C++ Gadgetron has them.

Version 3 wrote `u32 n, the ISMRMRD header of the noise scan (n bytes), f32 dwell time [µs], u64 n_bytes, array`, where
an array is `u64 dimensions, u64 size of each, elements`; version 4 writes an SFNDAM file: magic, version, element type
and shape, the matrix, and JSON that says what it is. Everything is little-endian, and the first index runs fastest.
"""

from __future__ import annotations

import json
import math
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.noise import NoiseCovariance

__all__ = ["NoiseFile", "parse_noise_file", "serialize_noise_file", "serialize_sfndam"]

MAX_CHANNELS = 65_535

_MAGIC = b"SFNDAM"
_COMPLEX64 = 7
_SFNDAM_HEAD = struct.Struct("<6sIIIQQQ")
_U32 = struct.Struct("<I")
_ARRAY_HEAD = struct.Struct("<fQQQQ")


class NoiseFile(NamedTuple):
    """What a file says.

    Attributes
    ----------
    noise
        The covariance; its labels are those of the file itself, which only SFNDAM files have.
    header_xml
        ISMRMRD header of the noise scan; empty for SFNDAM files.
    """

    noise: NoiseCovariance
    header_xml: bytes = b""


def serialize_noise_file(noise: NoiseCovariance, header_xml: bytes) -> bytes:
    """Write a covariance in the form of version 3: what the storage keeps."""
    matrix = _on_disk(noise.covariance)
    n_bytes = 3 * 8 + len(matrix)
    head = _ARRAY_HEAD.pack(noise.dwell_time_us, n_bytes, 2, *noise.covariance.shape)
    return b"".join((_U32.pack(len(header_xml)), header_xml, head, matrix))


def serialize_sfndam(noise: NoiseCovariance, relative_bandwidth: float) -> bytes:
    """Write a covariance in the form of version 4: what `noisecovarianceout` names."""
    meta = {
        "channels": len(noise.covariance),
        "labels": list(noise.labels),
        "sampleCount": noise.n_samples,
        "noiseDwellTimeUs": noise.dwell_time_us,
        "receiverNoiseBandwidth": relative_bandwidth,
    }
    text = json.dumps(meta).encode()
    head = _SFNDAM_HEAD.pack(_MAGIC, 1, _COMPLEX64, 2, *noise.covariance.shape, len(text))
    return b"".join((head, _on_disk(noise.covariance), text))


def parse_noise_file(data: bytes) -> NoiseFile:
    """Read a file of either form.

    Raises
    ------
    ValueError
        If the data is no such file.
    """
    try:
        return NoiseFile(_parse_sfndam(data)) if data.startswith(_MAGIC) else _parse_version_3(data)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a noise covariance file: {error}") from error


def _parse_sfndam(data: bytes) -> NoiseCovariance:
    _, version, type_code, n_dimensions, *shape, n_meta = _SFNDAM_HEAD.unpack_from(data)
    if (version, type_code, n_dimensions) != (1, _COMPLEX64, 2):
        raise ValueError("SFNDAM version 1 with a complex64 matrix expected")
    end = _SFNDAM_HEAD.size + _matrix_bytes(shape)
    meta = json.loads(data[end : end + n_meta])
    labels = tuple(str(label) for label in meta.get("labels", ()))
    dwell_time_us = _checked_time(float(meta["noiseDwellTimeUs"]))
    covariance = _from_disk(data, _SFNDAM_HEAD.size, shape)
    return NoiseCovariance(covariance, dwell_time_us, labels, int(meta.get("sampleCount", 0)))


def _parse_version_3(data: bytes) -> NoiseFile:
    (n_header,) = _U32.unpack_from(data)
    offset = _U32.size + n_header
    dwell_time_us, n_bytes, n_dimensions, *shape = _ARRAY_HEAD.unpack_from(data, offset)
    if n_dimensions != 2 or n_bytes != 3 * 8 + _matrix_bytes(shape):
        raise ValueError(
            f"an array of {n_dimensions} dimensions in {n_bytes} bytes, expected a square complex64 matrix"
        )
    covariance = _from_disk(data, offset + _ARRAY_HEAD.size, shape)
    noise = NoiseCovariance(covariance, _checked_time(dwell_time_us))
    return NoiseFile(noise, data[_U32.size : offset].rstrip(b"\0"))


def _checked_time(time_us: float) -> float:
    """Take what is no duration for an unknown one: version 3 wrote -1."""
    return time_us if math.isfinite(time_us) and time_us > 0 else 0.0


def _matrix_bytes(shape: list[int]) -> int:
    n_rows, n_columns = shape
    if n_rows != n_columns or not 0 < n_rows <= MAX_CHANNELS:
        raise ValueError(f"the matrix has shape {n_rows} × {n_columns}")
    return 8 * n_rows * n_columns


def _on_disk(covariance: NDArray[np.complex128]) -> bytes:
    return np.ascontiguousarray(covariance.T).astype("<c8").tobytes()


def _from_disk(data: bytes, offset: int, shape: list[int]) -> NDArray[np.complex128]:
    matrix = np.frombuffer(data, "<c8", shape[0] * shape[1], offset).reshape(shape)
    return np.ascontiguousarray(matrix.T).astype(np.complex128)
