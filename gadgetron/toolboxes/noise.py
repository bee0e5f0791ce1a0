"""Noise covariance of receive channels, and the transform that makes noise white and of unit variance.

In the units of the result each sample has noise of variance 1 in its real and 1 in its imaginary part.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NoiseCovariance",
    "match_channels",
    "noise_scale",
    "noise_sigmas",
    "prewhitener",
]

DEFAULT_RELATIVE_BANDWIDTH = 0.793


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
    n_samples
        How many samples of each channel it was made of; 0 if unknown.
    """

    covariance: NDArray[np.complex128]
    dwell_time_us: float
    labels: tuple[str, ...] = ()
    n_samples: int = 0


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


def match_channels(noise: NoiseCovariance, labels: tuple[str, ...]) -> NDArray[np.complex128]:
    """Bring a covariance into the order of a scan's channels, by their names.

    Parameters
    ----------
    labels
        Names of the scan's channels, in their order. Channels of the noise that the scan does not have are left out.

    Returns
    -------
        The covariance as it is if names are unknown on either side, or not those of the channels.

    Raises
    ------
    ValueError
        If a channel of the scan is missing in the noise, or a name is not unique.
    """
    if not labels or noise.labels == labels or len(noise.labels) != len(noise.covariance):
        return noise.covariance
    missing = [label for label in labels if noise.labels.count(label) != 1]
    if missing or len(set(labels)) != len(labels):
        raise ValueError(f"{len(missing)} of {len(labels)} channels have no noise of their own name")
    order = [noise.labels.index(label) for label in labels]
    return noise.covariance[np.ix_(order, order)]


def noise_sigmas(covariance: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Give the standard deviation of each channel's noise, real and imaginary part together: shape (channels,)."""
    sigmas: NDArray[np.float64] = np.sqrt(np.maximum(covariance.diagonal().real, 0.0))
    return sigmas
