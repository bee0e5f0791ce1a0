"""Receive sensitivities, estimated from images of the single coils.

Maps have unit norm over the coils, and carry the phase of the coils relative to their combination, so that
`(conj(maps) * images).sum(axis=coils)` is the combined image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = ["coil_map_inati", "coil_map_inati_iterative"]

POWER_ITERATIONS = 3
BAND_PIXELS = 1 << 14  # what is worked on at a time: stays in the second level cache


@quiet
def coil_map_inati(images: NDArray[np.complex64], kernel: int = 7, kernel_z: int = 5) -> NDArray[np.complex64]:
    """Estimate coil maps from the local covariance of the coils (the method of Inati).

    At each pixel the neighbourhood's covariance matrix C of the coils is formed; three power iterations that begin with
    the neighbourhood's sum find its main eigenvector v. The map is conj(v), with the phase of what v combines the
    neighbourhood to.

    Parameters
    ----------
    images
        Shape (coils, z, y, x), complex64.
    kernel, kernel_z
        Edge lengths of the neighbourhood along x and y, and along z; even ones are made odd. One slice has no
        neighbours along z. Neighbourhoods continue at the opposite border.

    Returns
    -------
        Shape (coils, z, y, x), complex64, of unit norm over the coils; zero where the images are zero.

    Notes
    -----
    The C++ Gadgetron gives the image itself as the map of a single coil, which squares the image; here the map of a
    single coil has unit norm as any other. Where all coils are zero it gives values that are not numbers.
    """
    _, n_z, n_y, n_x = images.shape
    widths = (kernel_z | 1 if n_z > 1 else 1, kernel | 1, kernel | 1)
    maps = np.empty_like(images)
    n_rows = max(1, min(n_y, BAND_PIXELS // (n_z * n_x)))
    half = widths[1] // 2
    for first in range(0, n_y, n_rows):
        rows = np.arange(first - half, min(first + n_rows, n_y) + half) % n_y
        band = np.ascontiguousarray(images[:, :, rows])
        maps[:, :, first : first + n_rows] = _band_maps(band, widths)
    return maps


def _band_maps(band: NDArray[np.complex64], widths: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Estimate the maps of some rows; the band has the rows around them, too."""
    n_coils = len(band)
    sums = np.stack([_box_sum(image, widths) for image in band])
    covariance = np.empty((n_coils, n_coils, *sums.shape[1:]), np.complex64)
    conjugate = band.conj()
    for i in range(n_coils):
        for j in range(i, n_coils):
            covariance[i, j] = _box_sum(conjugate[i] * band[j], widths)
            if j > i:
                np.conjugate(covariance[i, j], out=covariance[j, i])
    vector = _normalised(sums)
    for _ in range(POWER_ITERATIONS):
        vector = _normalised(np.einsum("ij...,j...->i...", covariance, vector))
    phase = (sums * vector).sum(axis=0)
    magnitude = np.abs(phase)
    phase = np.divide(phase, magnitude, out=np.zeros_like(phase), where=magnitude > 0)
    np.conjugate(vector, out=vector)
    vector *= phase
    return vector


def _normalised(vector: NDArray[np.complex64]) -> NDArray[np.complex64]:
    parts = vector.view(np.float32)
    norm = np.sqrt(np.square(parts).sum(axis=0, dtype=np.float32).reshape(*vector.shape[1:], 2).sum(axis=-1))
    inverse = np.divide(np.float32(1.0), norm, out=np.zeros_like(norm), where=norm > 0)
    return np.asarray(vector * inverse, np.complex64)


def _box_sum(image: NDArray[np.complex64], widths: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Sum over neighbourhoods: periodic along z and x; along y only where all neighbours are there."""
    n_z, _, n_x = image.shape
    total = _window_sum(image, widths[1], 1)
    if widths[2] > 1:
        half = widths[2] // 2
        total = _window_sum(np.take(total, np.arange(-half, n_x + half) % n_x, axis=2), widths[2], 2)
    if widths[0] > 1:
        half = widths[0] // 2
        total = _window_sum(np.take(total, np.arange(-half, n_z + half) % n_z, axis=0), widths[0], 0)
    return total


def _window_sum(values: NDArray[np.complex64], width: int, axis: int) -> NDArray[np.complex64]:
    """Sum `width` (odd) neighbours along an axis, which gets shorter by width - 1: by doubling."""
    n_out = values.shape[axis] - width + 1
    total = _cut(values, 0, n_out, axis)
    start, n_summed, block = 1, 1, values
    while 2 * n_summed <= width:
        n = block.shape[axis] - n_summed
        block = _cut(block, 0, n, axis) + _cut(block, n_summed, n, axis)
        n_summed *= 2
        if width & n_summed:
            total = total + _cut(block, start, n_out, axis)
            start += n_summed
    return total


def _cut(values: NDArray[np.complex64], start: int, n: int, axis: int) -> NDArray[np.complex64]:
    return values[(slice(None),) * axis + (slice(start, start + n),)]


@quiet
def coil_map_inati_iterative(
    images: NDArray[np.complex64], kernel: int = 7, kernel_z: int = 5, n_iterations: int = 10, threshold: float = 1e-4
) -> NDArray[np.complex64]:
    """Estimate coil maps by alternating between the combined image and smooth maps (the iterative method of Inati).

    Parameters
    ----------
    images
        Shape (coils, z, y, x), complex64.
    kernel, kernel_z
        Edge lengths of the smoothing box, as of `coil_map_inati`; beyond the border there are zeros.
    n_iterations
        Iterations at most.
    threshold
        Relative change of the combined image at which iterations end.

    Returns
    -------
        Shape (coils, z, y, x), complex64.
    """
    n_z = images.shape[1]
    widths = (kernel_z | 1 if n_z > 1 else 1, kernel | 1, kernel | 1)
    padding = [(width // 2, width // 2) for width in widths]
    scale = np.float32(1.0 / (widths[0] * widths[1] * widths[2]))
    weights = _unit(images.sum(axis=(1, 2, 3)))
    combined = np.einsum("c,c...->...", weights.conj(), images)
    maps = np.zeros_like(images)
    for _ in range(n_iterations):
        previous = combined
        for image, out in zip(images, maps, strict=True):
            smooth = np.pad(image * combined.conj(), padding)
            for axis, width in enumerate(widths):
                smooth = _window_sum(smooth, width, axis)
            out[...] = smooth * scale
        norm = np.sqrt((np.abs(maps) ** 2).sum(axis=0))
        maps *= np.divide(np.float32(1.0), norm, out=np.zeros_like(norm), where=norm > 0)
        combined = (images * maps.conj()).sum(axis=0)
        weights = _unit((maps * combined).sum(axis=(1, 2, 3)))
        phase = np.einsum("c,c...->...", weights.conj(), maps)
        magnitude = np.abs(phase)
        phase = np.divide(phase, magnitude, out=np.zeros_like(phase), where=magnitude > 0)
        combined = combined * phase
        maps *= phase.conj()
        norm_combined = float(np.linalg.norm(combined))
        if norm_combined == 0 or np.linalg.norm(previous - combined) / norm_combined < threshold:
            break
    return maps


def _unit(vector: NDArray[np.complex64]) -> NDArray[np.complex64]:
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm > 0 else vector
