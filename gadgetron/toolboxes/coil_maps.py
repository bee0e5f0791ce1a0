"""Receive sensitivities, estimated from images of the single coils.

Maps have unit norm over the coils, and carry the phase of the coils relative to their combination, so that
`(conj(maps) * images).sum(axis=coils)` is the combined image.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import empty_aligned, quiet, shared_pool

try:
    from gadgetron.toolboxes import _coil_maps
except ImportError:  # installed where there was no C compiler: NumPy computes the same, more slowly
    IS_COMPILED = False
else:
    IS_COMPILED = True

__all__ = ["IS_COMPILED", "coil_map_inati", "coil_map_inati_iterative"]

POWER_ITERATIONS = 3
IN_PLACE_ROWS = 4  # more than a neighbourhood has: maps can then take the place of flat images one after another
BLOCK = (4, 16, 256)  # pixels along z, y, x that are worked on at a time: stays in the cache
ROWS = 1  # of the covariance matrix that are worked on at a time


@quiet
def coil_map_inati(
    images: NDArray[np.complex64],
    kernel: int = 7,
    kernel_z: int = 5,
    iterations: int = POWER_ITERATIONS,
    *,
    out: NDArray[np.complex64] | None = None,
) -> NDArray[np.complex64]:
    """Estimate coil maps from the local covariance of the coils (the method of Inati).

    At each pixel the neighbourhood's covariance matrix C of the coils is formed; a few power iterations that begin with
    the neighbourhood's sum find its main eigenvector v. The map is conj(v), with the phase of what v combines the
    neighbourhood to.

    Parameters
    ----------
    images
        Shape (coils, z, y, x), complex64.
    kernel, kernel_z
        Edge lengths of the neighbourhood along x and y, and along z; even ones are made odd. One slice has no
        neighbours along z. Neighbourhoods continue at the opposite border.
    iterations
        Number of power iterations.
    out
        Where the maps go, of the shape of images; may be the images.

    Returns
    -------
        `out`, or a new array: shape (coils, z, y, x), complex64, of unit norm over the coils; zero where the images
        are zero.

    Notes
    -----
    The C++ Gadgetron gives the image itself as the map of a single coil, which squares the image; here the map of a
    single coil has unit norm as any other. Where all coils are zero it gives values that are not numbers.

    Where there is a compiled function (`IS_COMPILED`) it does the work. NumPy's maps differ from its by rounding.
    """
    widths = (kernel_z | 1 if images.shape[1] > 1 else 1, kernel | 1, kernel | 1)
    maps = np.empty(images.shape, np.complex64) if out is None else out
    if images.size:
        (_compiled_maps if IS_COMPILED else _numpy_maps)(images, widths, iterations, maps)
    return maps


def _compiled_maps(
    images: NDArray[np.complex64], widths: tuple[int, int, int], iterations: int, maps: NDArray[np.complex64]
) -> None:
    target = maps if maps.flags.carray else np.empty(maps.shape, np.complex64)
    source = np.require(images, np.complex64, ("C", "A"))  # what has arrived over a socket is aligned to nothing
    is_in_place = source.ctypes.data == target.ctypes.data
    can_be_in_place = widths[0] == 1 and images.shape[2] >= widths[1] + IN_PLACE_ROWS
    if np.may_share_memory(source, target) and not (is_in_place and can_be_in_place):
        source = shared_pool.take(images.shape, np.complex64)
        source[...] = images
    _coil_maps.estimate_maps(source, target, widths, iterations)
    if target is not maps:
        maps[...] = target


def _numpy_maps(
    images: NDArray[np.complex64], widths: tuple[int, int, int], iterations: int, maps: NDArray[np.complex64]
) -> None:
    _, n_z, n_y, n_x = images.shape
    continued = _continued(images, widths)
    scratch = _Scratch()
    sizes = [min(n, size) for n, size in zip((n_z, n_y, n_x), BLOCK, strict=True)]
    for z, y, x in product(*(range(0, n, size) for n, size in zip((n_z, n_y, n_x), sizes, strict=True))):
        inner = (slice(None), slice(z, z + sizes[0]), slice(y, y + sizes[1]), slice(x, x + sizes[2]))
        outer = tuple(
            slice(start, start + size + width - 1) for start, size, width in zip((z, y, x), sizes, widths, strict=True)
        )
        block = np.ascontiguousarray(continued[(slice(None), *outer)])
        maps[inner] = _block_maps(block, widths, iterations, scratch)


def _continued(images: NDArray[np.complex64], widths: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Put around images (coils, z, y, x) what is at the opposite border, as often as it takes."""
    halves = [width // 2 for width in widths]
    shape = tuple(n + 2 * half for n, half in zip(images.shape[1:], halves, strict=True))
    continued = np.empty((len(images), *shape), np.complex64)
    z, y, x = (slice(half, half + n) for n, half in zip(images.shape[1:], halves, strict=True))
    continued[:, z, y, x] = images
    for axis, (n, half) in enumerate(zip(images.shape[1:], halves, strict=True), start=1):
        at_axis = np.moveaxis(continued, axis, 0)
        for i in range(half):
            at_axis[half - 1 - i] = at_axis[half + (n - 1 - i) % n]
            at_axis[half + n + i] = at_axis[half + i % n]
    return continued


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


def _block_maps(
    block: NDArray[np.complex64], widths: tuple[int, int, int], iterations: int, scratch: _Scratch
) -> NDArray[np.complex64]:
    """Estimate the maps of a block of images (coils, z, y, x), which has its neighbours around it.

    The last three axes are one here: a neighbour is a fixed distance away. What lies where rows meet is computed in
    vain, which costs less than short rows.
    """
    n_coils, *outer = block.shape
    coils = block.reshape(n_coils, -1)
    window = _Window(widths, (outer[1] * outer[2], outer[2], 1))
    n = coils.shape[1] - window.reach
    sums = window.sum(coils, scratch, np.empty((n_coils, n), np.complex64))
    covariance = scratch.take("covariance", (n_coils, n_coils, n))
    conjugate = np.conjugate(coils, out=scratch.take("conjugate", coils.shape))
    for i in range(0, n_coils, ROWS):
        n_rows = min(ROWS, n_coils - i)
        products = scratch.take("products", (n_rows, n_coils - i, coils.shape[1]))
        np.multiply(conjugate[i : i + n_rows, np.newaxis], coils[i:], out=products)
        window.sum(products, scratch, covariance[i : i + n_rows, i:])
        np.conjugate(
            covariance[i : i + n_rows, i + n_rows :].swapaxes(0, 1), out=covariance[i + n_rows :, i : i + n_rows]
        )
    vector = _normalised(sums.copy())
    products = scratch.take("products", (ROWS, n_coils, n))
    image = scratch.take("image", sums.shape)
    for _ in range(iterations):
        for i in range(0, n_coils, ROWS):
            rows = np.multiply(covariance[i : i + ROWS], vector, out=products[: n_coils - i])
            np.add.reduce(rows, axis=1, out=image[i : i + ROWS])
        vector, image = _normalised(image), vector
    phase = np.add.reduce(sums * vector, axis=0)
    magnitude = np.abs(phase)
    phase = np.divide(phase, magnitude, out=np.zeros_like(phase), where=magnitude > 0)
    maps = scratch.take("conjugate", (n_coils, math.prod(outer)))
    np.multiply(np.conjugate(vector, out=vector), phase, out=maps[:, :n])
    inner = tuple(slice(0, n_outer - width + 1) for n_outer, width in zip(outer, widths, strict=True))
    return maps.reshape(n_coils, *outer)[(slice(None), *inner)]


def _normalised(vector: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Give a vector (coils, pixels) unit norm at each pixel, in place; zero stays zero."""
    power = np.square(vector.view(np.float32)).sum(axis=0)
    norm = np.sqrt(power[0::2] + power[1::2])
    vector *= np.divide(np.float32(1.0), norm, out=np.zeros_like(norm), where=norm > 0)
    return vector


class _Window:
    """Sums over neighbourhoods of arrays whose last axis holds several axes.

    Parameters
    ----------
    widths
        Edge lengths of the neighbourhood, odd.
    strides
        Distance of neighbours along each of its axes.

    Attributes
    ----------
    reach
        By how much the last axis gets shorter.
    """

    def __init__(self, widths: tuple[int, int, int], strides: tuple[int, int, int]) -> None:
        self._edges = [(width, stride) for width, stride in zip(widths, strides, strict=True) if width > 1]
        self.reach = sum((width - 1) * stride for width, stride in self._edges)

    def sum(
        self, values: NDArray[np.complex64], scratch: _Scratch, out: NDArray[np.complex64]
    ) -> NDArray[np.complex64]:
        """Sum over neighbourhoods that begin at each position, into out."""
        if not self._edges:
            out[...] = values
        for i, (width, stride) in enumerate(self._edges):
            n_out = values.shape[-1] - (width - 1) * stride
            is_last = i == len(self._edges) - 1
            target = out if is_last else scratch.take(f"sum {i}", (*values.shape[:-1], n_out))
            values = _sum_neighbours(values, width, stride, scratch, target)
        return out


def _sum_neighbours(
    values: NDArray[np.complex64], width: int, stride: int, scratch: _Scratch, out: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Sum `width` (odd, above 1) neighbours: by doubling, nothing is ever subtracted."""
    n_out = out.shape[-1]
    total = values[..., :n_out]
    block, start, n_summed, slots = values, 1, 1, ["even", "odd"]
    while 2 * n_summed <= width:
        n = block.shape[-1] - n_summed * stride
        doubled = scratch.take(slots[0], (*values.shape[:-1], n))
        block = np.add(block[..., :n], block[..., n_summed * stride :], out=doubled)
        slots.reverse()
        n_summed *= 2
        if width & n_summed:
            first = start * stride
            total = np.add(total, block[..., first : first + n_out], out=out)
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
    rows = [n + width - 1 for n, width in zip(images.shape[1:], widths, strict=True)]
    window = _Window(widths, (rows[1] * rows[2], rows[2], 1))
    for _ in range(n_iterations):
        previous = combined
        for image, out in zip(images, maps, strict=True):
            padded = np.pad(image * combined.conj(), padding)
            smooth = scratch.take("smooth", padded.shape)
            window.sum(padded.ravel(), scratch, smooth.ravel()[: padded.size - window.reach])
            np.multiply(smooth[tuple(slice(0, n) for n in out.shape)], scale, out=out)
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
