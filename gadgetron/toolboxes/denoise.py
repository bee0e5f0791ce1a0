"""Denoising of images by patches that look alike, wherever near by they are.

Images may be real or complex, and are periodic: a patch at a border continues at the opposite one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = ["non_local_bayes", "non_local_means"]

Pixel = TypeVar("Pixel", np.float32, np.complex64)

PATCH: Final = 5
HALF: Final = PATCH // 2
N_PIXELS: Final = PATCH * PATCH
MOST_PATCHES: Final = 50
HOMOGENEOUS: Final = 1.1  # up to this part of the noise's variance an area has no structure


def _never() -> bool:
    return False


@quiet
def non_local_bayes(
    image: NDArray[Pixel],
    noise_std: float,
    search_width: int,
    should_stop: Callable[[], bool] = _never,
) -> NDArray[Pixel]:
    """Denoise an image with a Wiener filter for each group of similar patches.

    At each pixel that no group has had at its center yet, the 50 patches (5 × 5) in its neighbourhood that are most
    like its own make a group. If they vary no more than noise does, they become flat; otherwise each is drawn to the
    group's mean as the group's covariance C and the noise say: mean + (C + σ² I)⁻¹ C (patch - mean). A pixel becomes
    the mean of all patches that it is in.

    Parameters
    ----------
    image
        Shape (y, x), float32 or complex64.
    noise_std
        Standard deviation σ of its noise.
    search_width
        Width of the neighbourhood, at least 2: from its half before the pixel to its half, less one, behind it.
    should_stop
        Asked once for each group; when it says so, the rest of the image stays as it is.

    Returns
    -------
        A new array, of the shape and type of the image.

    References
    ----------
    Lebrun M, Buades A, Morel JM, SIAM J Imaging Sci 6:1665 (2013).
    """
    n_y, n_x = image.shape
    patches = sliding_window_view(np.pad(image, HALF, mode="wrap"), (PATCH, PATCH)).reshape(n_y, n_x, N_PIXELS)
    width = n_x + 2 * HALF
    total = np.zeros((n_y + 2 * HALF) * width, image.dtype)
    count = np.zeros(total.shape, np.int64)
    offsets = (np.arange(PATCH)[:, np.newaxis] * width + np.arange(PATCH)).reshape(-1)
    is_open = np.ones((n_y, n_x), bool)
    half = search_width // 2
    for y, x in np.ndindex(n_y, n_x):
        if not is_open[y, x]:
            continue
        if should_stop():
            break
        top, left = max(y - half, 0), max(x - half, 0)
        window = patches[top : y + half, left : x + half]
        group = window.reshape(-1, N_PIXELS)
        centers = np.arange(len(group))
        if len(group) > MOST_PATCHES:
            difference = group - patches[y, x]
            distance = (np.abs(difference) ** 2).sum(axis=1)
            centers = np.argpartition(distance, MOST_PATCHES - 1)[:MOST_PATCHES]
            group = group[centers]
        rows, columns = np.divmod(centers, window.shape[1])
        rows, columns = rows + top, columns + left
        places = (rows * width + columns)[:, np.newaxis] + offsets
        np.add.at(total, places, _denoised(group, noise_std))
        np.add.at(count, places, 1)
        is_open[rows, columns] = False
    return _folded(total, count, image)


def _denoised(group: NDArray[Pixel], noise_std: float) -> NDArray[Pixel]:
    """Filter a group of patches, shape (patches, pixels)."""
    n = len(group)
    mean = group.mean(axis=0)
    if n < 2:
        return group
    structure = group - group.mean(axis=1, keepdims=True)
    spread = float(np.vdot(structure, structure).real) / (N_PIXELS - 1)
    if spread * n / (n - 1) < noise_std * noise_std * HOMOGENEOUS:
        return np.full_like(group, mean.mean())
    deviation = group - mean
    covariance = deviation.T @ deviation.conj() / (n - 1)
    if not np.isfinite(covariance).all():
        return group
    variances, modes = np.linalg.eigh(covariance)  # exact also where the noise is far below the signal's rounding
    variances = np.maximum(variances, 0)
    noisy = variances + np.float32(noise_std * noise_std)
    gains = np.divide(variances, noisy, out=np.ones_like(variances), where=noisy > 0)
    kept = (deviation @ modes.conj() * gains) @ modes.T
    return np.asarray(mean + kept, group.dtype)


def _folded(total: NDArray[Pixel], count: NDArray[np.int64], image: NDArray[Pixel]) -> NDArray[Pixel]:
    """Add what is beyond the borders at the opposite ones, and divide by how many patches came."""
    n_y, n_x = image.shape
    rows = (np.arange(n_y + 2 * HALF) - HALF) % n_y
    columns = (np.arange(n_x + 2 * HALF) - HALF) % n_x
    sums, counts = np.zeros_like(image), np.zeros(image.shape, np.int64)
    where = np.ix_(rows, columns)
    np.add.at(sums, where, total.reshape(len(rows), len(columns)))
    np.add.at(counts, where, count.reshape(len(rows), len(columns)))
    return np.where(counts > 0, sums / np.maximum(counts, 1), image).astype(image.dtype)


@quiet
def non_local_means(
    image: NDArray[Pixel],
    noise_std: float,
    search_radius: int,
    should_stop: Callable[[], bool] = _never,
) -> NDArray[Pixel]:
    """Denoise an image by weighted means of the pixels whose neighbourhoods look alike.

    Parameters
    ----------
    image
        Shape (y, x), float32 or complex64.
    noise_std
        Standard deviation σ of its noise: weights are exp(-d² / (25 σ²)), d the difference of two patches (5 × 5).
    search_radius
        How far away pixels may be, along x and y: from -search_radius to search_radius - 1, periodic.
    should_stop
        Asked for each shift; when it says so, the mean is of what has been seen.

    Returns
    -------
        A new array, of the shape and type of the image.

    References
    ----------
    Buades A, Coll B, Morel JM, CVPR 2:60 (2005).
    """
    weights = np.zeros(image.shape, np.float32)
    values = np.zeros_like(image)
    scale = np.float32(-1.0 / (noise_std * noise_std * N_PIXELS)) if noise_std > 0 else np.float32(-np.inf)
    shifts = range(-search_radius, search_radius)
    for dy in shifts:
        rows = np.roll(image, -dy, axis=0)
        for dx in shifts:
            if should_stop():
                return np.where(weights > 0, values / np.maximum(weights, 1e-30), image).astype(image.dtype)
            shifted = np.roll(rows, -dx, axis=1)
            distance = _patch_sum(np.abs(image - shifted) ** 2)
            exponent = np.multiply(distance, scale, out=np.zeros_like(distance), where=distance > 0)
            weight = np.exp(exponent, out=exponent)
            weights += weight
            values += weight * shifted
    return np.where(weights > 0, values / np.maximum(weights, 1e-30), image).astype(image.dtype)


def _patch_sum(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over the patch around each pixel."""
    padded = np.pad(values, HALF, mode="wrap")
    n_y, n_x = values.shape
    along_x = np.add.reduce([padded[:, k : k + n_x] for k in range(PATCH)])
    return np.asarray(np.add.reduce([along_x[k : k + n_y] for k in range(PATCH)]), np.float32)
