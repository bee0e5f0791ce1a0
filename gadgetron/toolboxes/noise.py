"""Noise covariance of receive channels, and the transform that makes noise white and of unit variance.

In the units of the result each sample has noise of variance 1 in its real and 1 in its imaginary part.
"""

from __future__ import annotations

import json
import math
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NoiseCovariance", "noise_scale", "parse_noise_covariance", "prewhitener"]

DEFAULT_RELATIVE_BANDWIDTH = 0.793

_MAGIC = b"SFNDAM"
_COMPLEX64 = 7
_MAX_CHANNELS = 65_535


class NoiseCovariance(NamedTuple):
    """What is known about the noise of a scan.

    Attributes
    ----------
    covariance
        Shape (channels, channels), complex128, Hermitian: mean of conj(n[i]) * n[j].
    dwell_time_us
        Sampling interval of the noise readouts [µs]; 0 if unknown.
    labels
        Names of the channels, or empty.
    """

    covariance: NDArray[np.complex128]
    dwell_time_us: float
    labels: tuple[str, ...] = ()


def prewhitener(covariance: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Find the matrix that makes noise white.

    Parameters
    ----------
    covariance
        Shape (channels, channels), Hermitian. All zero stands for unknown.

    Returns
    -------
        Upper triangular P, shape (channels, channels): `samples @ P`, samples (samples, channels), has unit
        covariance. P is the inverse of the upper Cholesky factor; the identity if the covariance is zero.

    Raises
    ------
    ValueError
        If the covariance is not that of noise: not finite, or not positive. Channels without any noise are not
        counted as such (they are not connected); they are left unscaled.
    """
    covariance = np.array(covariance, np.complex128)
    if not np.isfinite(covariance).all():
        raise ValueError("the noise covariance is not finite")
    if not covariance.any():
        return np.eye(len(covariance), dtype=np.complex128)
    is_silent = covariance.diagonal().real == 0
    covariance[is_silent, is_silent] = 1.0
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "the noise covariance is not positive: too few noise samples, or channels that are copies"
        ) from error
    inverse: NDArray[np.complex128] = np.triu(np.linalg.inv(lower.conj().T))
    return inverse


def noise_scale(acquisition_dwell_us: float, noise_dwell_us: float, relative_bandwidth: float | None) -> float:
    """Give the factor between noise of two bandwidths.

    Parameters
    ----------
    acquisition_dwell_us, noise_dwell_us
        Sampling intervals [µs]; if either is 0 nothing is known, and the factor 1.
    relative_bandwidth
        Part of the noise readouts' bandwidth that the receiver passes; None for the usual 0.793.

    Returns
    -------
        sqrt(2 * acquisition_dwell / noise_dwell * bandwidth).
    """
    if acquisition_dwell_us <= 0 or noise_dwell_us <= 0:
        return 1.0
    bandwidth = DEFAULT_RELATIVE_BANDWIDTH if relative_bandwidth is None else relative_bandwidth
    return math.sqrt(2.0 * acquisition_dwell_us / noise_dwell_us * bandwidth)


def parse_noise_covariance(data: bytes) -> NoiseCovariance:
    """Read a stored noise covariance (the C++ Gadgetron's SFNDAM file).

    Raises
    ------
    ValueError
        If the data is not such a file.
    """
    try:
        return _parse(data)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a noise covariance file: {error}") from error


def _parse(data: bytes) -> NoiseCovariance:
    magic, version, type_code, n_dimensions = struct.unpack_from("<6sIII", data)
    if (magic, version, type_code, n_dimensions) != (_MAGIC, 1, _COMPLEX64, 2):
        raise ValueError("SFNDAM version 1 with a complex64 matrix expected")
    n_rows, n_columns, n_meta = struct.unpack_from("<QQQ", data, 18)
    if n_rows != n_columns or not 0 < n_rows <= _MAX_CHANNELS:
        raise ValueError(f"the matrix has shape {n_rows} × {n_columns}")
    count = n_rows * n_columns
    matrix = np.frombuffer(data, np.complex64, count, offset=42).reshape(n_rows, n_columns)
    meta = json.loads(data[42 + 8 * count : 42 + 8 * count + n_meta])
    labels = tuple(str(label) for label in meta.get("labels", ()))
    # On disk the first index runs fastest.
    return NoiseCovariance(matrix.T.astype(np.complex128), float(meta["noiseDwellTimeUs"]), labels)
