"""Coil compression: combinations of coils in the order of the signal they carry (Karhunen-Loève transform)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = ["apply_coil_matrix", "eigen_channels", "n_energetic_channels", "n_modes_above"]


@quiet
def eigen_channels(kspace: NDArray[np.complex64]) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
    """Find the combinations of coils that carry most of the signal.

    Parameters
    ----------
    kspace
        Shape (coils, …), complex64.

    Returns
    -------
        Matrix, shape (modes, coils), complex64, rows orthonormal: `apply_coil_matrix(kspace, matrix)` are the modes;
        and the eigenvalues, in falling order. The weight of coil 0 in each mode is real. What is not finite gives the
        coils as they are.

    Notes
    -----
    Each coil's mean is subtracted before the covariance is formed.
    """
    n_coils = len(kspace)
    samples = kspace.reshape(n_coils, -1)
    n_samples = max(1, samples.shape[1])
    mean = samples.mean(axis=1, dtype=np.complex128)
    covariance = (samples @ samples.conj().T).astype(np.complex128) - n_samples * np.outer(mean, mean.conj())
    if not np.isfinite(covariance).all():
        return np.eye(n_coils, dtype=np.complex64), np.ones(n_coils)
    values, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1]
    first = vectors[0]
    magnitude = np.abs(first)
    vectors = vectors * np.divide(first.conj(), magnitude, out=np.ones_like(first), where=magnitude > 0)
    return np.ascontiguousarray(vectors.conj().T, np.complex64), np.maximum(values[::-1], 0.0)


def n_modes_above(values: NDArray[np.float64], threshold: float) -> int:
    """Count the leading eigenvalues that are at least threshold times the first; all, if threshold is not positive."""
    if threshold <= 0:
        return len(values)
    below = np.flatnonzero(values[1:] < threshold * values[0])
    return int(below[0]) + 1 if below.size else len(values)


@quiet
def n_energetic_channels(kspace: NDArray[np.complex64], threshold: float) -> int:
    """Count the channels of (channels, …) up to the last whose energy is at least threshold times that of the first.

    Channels are expected in falling order of energy. If they are not, a weak one leaves out none of those behind it.
    """
    channels = kspace.reshape(len(kspace), -1)
    energies = np.array([np.vdot(channel, channel).real for channel in channels], np.float64)
    return int(np.flatnonzero(energies >= max(threshold, 0.0) * energies[0])[-1]) + 1


@quiet
def apply_coil_matrix(kspace: NDArray[np.complex64], matrix: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Replace the coils of (coils, …) by combinations of them, matrix of shape (channels out, coils). A new array."""
    mixed: NDArray[np.complex64] = np.matmul(matrix, kspace.reshape(len(kspace), -1))
    return mixed.reshape(len(matrix), *kspace.shape[1:])
