"""Receive sensitivities, estimated from images of the single coils.

Maps have unit norm over the coils, and carry the phase of the coils relative to their combination, so that
`(conj(maps) * images).sum(axis=coils)` is the combined image.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import empty_aligned, quiet

__all__ = ["coil_map_inati", "coil_map_inati_iterative"]

POWER_ITERATIONS = 3
BLOCK_PIXELS = 1 << 12  # what is worked on at a time: stays in the cache
BLOCK_PLANES = 8


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
    halves = tuple(width // 2 for width in widths)
    maps = np.empty_like(images)
    scratch = _Scratch()
    n_planes = min(n_z, BLOCK_PLANES)
    n_rows = max(1, min(n_y, BLOCK_PIXELS // (n_planes * n_x)))
    continued = images
    for axis, half in enumerate(halves, start=1):
        continued = _continued(continued, half, axis)
    for z in range(0, n_z, n_planes):
        for y in range(0, n_y, n_rows):
            block = continued[:, z : z + n_planes + 2 * halves[0], y : y + n_rows + 2 * halves[1]]
            maps[:, z : z + n_planes, y : y + n_rows] = _block_maps(np.ascontiguousarray(block), widths, scratch)
    return maps


def _continued(images: NDArray[np.complex64], half: int, axis: int) -> NDArray[np.complex64]:
    """Add to both ends of an axis what is at the opposite one, as often as it takes."""
    if half == 0:
        return images
    n = images.shape[axis]
    if half > n:
        return np.asarray(np.take(images, np.arange(-half, n + half) % n, axis=axis))
    before, after = ((slice(None),) * axis + (part,) for part in (slice(n - half, n), slice(0, half)))
    return np.concatenate((images[before], images, images[after]), axis=axis)


class _Scratch:
    """Memory that is used again for every block: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.complex64]] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.complex64]:
        """Give an array; it is the one that was last taken under this name."""
        n = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < n:
            buffer = self._buffers[name] = empty_aligned((n,), np.complex64)
        return buffer[:n].reshape(shape)


def _block_maps(block: NDArray[np.complex64], widths: tuple[int, int, int], scratch: _Scratch) -> NDArray[np.complex64]:
    """Estimate the maps of a block of images (coils, z, y, x), which has its neighbours around it."""
    n_coils = len(block)
    sums = _box_sum(block, widths, scratch).copy()
    shape = sums.shape[1:]
    covariance = scratch.take("covariance", (n_coils, n_coils, *shape))
    conjugate = np.conjugate(block, out=scratch.take("conjugate", block.shape))
    for i in range(n_coils):
        products = scratch.take("products", (n_coils - i, *block.shape[1:]))
        np.multiply(conjugate[i], block[i:], out=products)
        _box_sum(products, widths, scratch, out=covariance[i, i:])
        np.conjugate(covariance[i, i + 1 :], out=covariance[i + 1 :, i])
    vector = _normalised(sums.copy())
    products = scratch.take("products", sums.shape)
    product = scratch.take("product", sums.shape)
    for _ in range(POWER_ITERATIONS):
        for i in range(n_coils):
            np.multiply(covariance[i], vector, out=products)
            np.add.reduce(products, axis=0, out=product[i])
        vector[...] = product
        _normalised(vector)
    phase = np.add.reduce(np.multiply(sums, vector, out=products), axis=0)
    magnitude = np.abs(phase)
    phase = np.divide(phase, magnitude, out=np.zeros_like(phase), where=magnitude > 0)
    np.conjugate(vector, out=vector)
    vector *= phase
    return vector


def _normalised(vector: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Give a vector (coils, z, y, x) unit norm at each pixel, in place; zero stays zero."""
    parts = vector.view(np.float32)
    power = np.square(parts).sum(axis=0)
    norm = np.sqrt(power[..., 0::2] + power[..., 1::2])
    vector *= np.divide(np.float32(1.0), norm, out=np.zeros_like(norm), where=norm > 0)
    return vector


def _box_sum(
    values: NDArray[np.complex64],
    widths: tuple[int, int, int],
    scratch: _Scratch,
    *,
    out: NDArray[np.complex64] | None = None,
) -> NDArray[np.complex64]:
    """Sum over neighbourhoods along the last three axes, each of which gets shorter by its width - 1."""
    last = max((axis for axis, width in enumerate(widths) if width > 1), default=-1)
    if last < 0 and out is not None:
        out[...] = values
    for axis, width in enumerate(widths):
        if width > 1:
            shape = list(values.shape)
            shape[axis + 1] -= width - 1
            target = out if axis == last and out is not None else scratch.take(f"sum {axis}", tuple(shape))
            values = _window_sum(values, width, axis + 1, scratch, target)
    return values


def _window_sum(
    values: NDArray[np.complex64], width: int, axis: int, scratch: _Scratch, out: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Sum `width` (odd, above 1) neighbours along an axis: by doubling, nothing is ever subtracted."""
    n_out = out.shape[axis]

    def cut(array: NDArray[np.complex64], start: int, n: int) -> NDArray[np.complex64]:
        return array[(slice(None),) * axis + (slice(start, start + n),)]

    total = cut(values, 0, n_out)
    block, start, n_summed, slots = values, 1, 1, ["even", "odd"]
    while 2 * n_summed <= width:
        n = block.shape[axis] - n_summed
        doubled = scratch.take(slots[0], (*values.shape[:axis], n, *values.shape[axis + 1 :]))
        block = np.add(cut(block, 0, n), cut(block, n_summed, n), out=doubled)
        slots.reverse()
        n_summed *= 2
        if width & n_summed:
            total = np.add(total, cut(block, start, n_out), out=out)
            start += n_summed
    return total


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
    scratch = _Scratch()
    for _ in range(n_iterations):
        previous = combined
        for image, out in zip(images, maps, strict=True):
            smooth = _box_sum(np.pad(image * combined.conj(), padding)[np.newaxis], widths, scratch)[0]
            np.multiply(smooth, scale, out=out)
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
