"""GRAPPA: calibration of the kernels, and their application as unmixing coefficients in image space.

Arrays are (coils, z, y, x); one slice has z of length 1. Acceleration is (along z, along y).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.fft import ifft

__all__ = [
    "CalibrationError",
    "GrappaKernel",
    "apply_unmixing",
    "calibrate",
    "g_factor",
    "source_offsets",
    "unmix",
    "unmixing_coefficients",
]

CHUNK_BYTES = 4 * 1024 * 1024
IMAGE_BYTES = 512 * 1024
IMAGE_AXES = (1, 2, 3)
SINGLE_PRECISION = 1e-6  # what the normal equations are computed in


class CalibrationError(ValueError):
    """The calibration data cannot determine a kernel."""


class GrappaKernel(NamedTuple):
    """Weights of a GRAPPA kernel.

    Attributes
    ----------
    weights
        Shape (targets, sources, shifts z, shifts y, shifts x), complex64: target coil t at position p is the sum of
        weights times source coils at p - shift.
    shifts
        The shifts along z, y and x, integers.
    """

    weights: NDArray[np.complex64]
    shifts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def source_offsets(n: int, acceleration: int) -> NDArray[np.int64]:
    """Give the distances of n acquired lines around a target: of 4 lines and R = 2, -2, 0, 2, 4."""
    first = -(n // 2 - 1) if n % 2 == 0 else -(n // 2)
    return acceleration * np.arange(first, first + n)


@quiet
def calibrate(
    source: NDArray[np.complex64],
    target: NDArray[np.complex64],
    acceleration: tuple[int, int],
    kernel: tuple[int, int, int] = (4, 4, 5),
    regularization: float = 5e-4,
    overdetermination: float = 45.0,
) -> GrappaKernel:
    """Fit the kernel that gives each target sample from the acquired lines around it.

    Parameters
    ----------
    source, target
        Fully sampled calibration data, shapes (sources, z, y, x) and (targets, z, y, x), complex64.
    acceleration
        Along z and y.
    kernel
        Lines along z and along y, and samples along x (odd), that a target is made of.
    regularization
        Tikhonov's, in units of the mean diagonal element of the normal equations.
    overdetermination
        In 3D, the number of equations per unknown that suffices: no more samples along x are used, those around the
        strongest. Not above 1: all are used.

    Raises
    ------
    CalibrationError
        If there are fewer lines or samples than the kernel spans.
    """
    n_z, n_y, n_x = source.shape[1:]
    offsets_z = source_offsets(kernel[0], acceleration[0]) if n_z > 1 else np.zeros(1, np.int64)
    offsets_y = source_offsets(kernel[1], acceleration[1])
    offsets_x = np.arange(-(kernel[2] // 2), kernel[2] // 2 + 1)
    targets_z = np.arange(acceleration[0] if n_z > 1 else 1)
    targets_y = np.arange(acceleration[1])
    ranges = []
    for axis, n, offsets in (("z", n_z, offsets_z), ("y", n_y, offsets_y), ("x", n_x, offsets_x)):
        first, last = int(-offsets[0]), int(n - 1 - offsets[-1])
        if last < first:
            raise CalibrationError(
                f"calibration data has {n} samples along {axis}, the kernel needs {n - last + first}"
            )
        ranges.append((first, last))
    if n_z > 1:
        ranges[2] = _strongest_samples(source[0], ranges, source.shape[0], kernel, overdetermination)

    n_unknowns = len(source) * len(offsets_z) * len(offsets_y) * len(offsets_x)
    n_results = len(targets_z) * len(targets_y) * len(target)
    normal = np.zeros((n_unknowns, n_unknowns), np.complex128)
    right = np.zeros((n_unknowns, n_results), np.complex128)
    (first_x, last_x) = ranges[2]
    for z, rows in _chunks(ranges, n_unknowns):
        equations = _gather(source, z, rows, (first_x, last_x), (offsets_z, offsets_y, offsets_x))
        results = _gather(target, z, rows, (first_x, last_x), (targets_z, targets_y, np.zeros(1, np.int64)))
        conjugate = equations.conj()
        normal += conjugate @ equations.T
        right += conjugate @ results.T
    weights = _solve(normal, right, regularization)
    # unknowns are (source, z, y, x), results (target, target z, target y)
    shape = (len(source), len(offsets_z), len(offsets_y), len(offsets_x), len(target), len(targets_z), len(targets_y))
    weights = weights.reshape(shape).transpose(4, 0, 5, 1, 6, 2, 3)
    return _as_convolution(weights, (offsets_z, offsets_y, offsets_x), (targets_z, targets_y))


def _strongest_samples(
    image: NDArray[np.complex64],
    ranges: Sequence[tuple[int, int]],
    n_sources: int,
    kernel: tuple[int, int, int],
    overdetermination: float,
) -> tuple[int, int]:
    """Cut the samples along x to as many as are needed, around the strongest of the first coil."""
    first, last = ranges[2]
    if overdetermination <= 1:
        return first, last
    n_unknowns = n_sources * math.prod(kernel)
    n_lines = math.prod(last - first + 1 for first, last in ranges[:2])
    n_used = max(1, math.ceil(overdetermination * n_unknowns) // n_lines)
    if n_used >= last - first + 1:
        return first, last
    strongest = int(np.argmax(np.abs(image.sum(axis=(0, 1)))))
    start = strongest - n_used // 2 if strongest > n_used // 2 + first else first
    return start, min(start + n_used - 1, last)


def _chunks(ranges: Sequence[tuple[int, int]], n_unknowns: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Cut the calibration region into blocks (z, (first y, last y)) of equations that fit the cache."""
    n_samples = ranges[2][1] - ranges[2][0] + 1
    n_lines = max(1, CHUNK_BYTES // (n_samples * n_unknowns * 8))
    for z in range(ranges[0][0], ranges[0][1] + 1):
        for y in range(ranges[1][0], ranges[1][1] + 1, n_lines):
            yield z, (y, min(y + n_lines - 1, ranges[1][1]))


def _gather(
    data: NDArray[np.complex64],
    z: int,
    rows: tuple[int, int],
    samples: tuple[int, int],
    offsets: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.complex64]:
    """Give the samples at each offset from each point of a block, shape (coils * offsets, points)."""
    n_y, n_x = rows[1] - rows[0] + 1, samples[1] - samples[0] + 1
    gathered = np.empty((len(data), *(len(o) for o in offsets), n_y, n_x), np.complex64)
    for (i, dz), (j, dy), (k, dx) in (
        (a, b, c) for a in enumerate(offsets[0]) for b in enumerate(offsets[1]) for c in enumerate(offsets[2])
    ):
        y, x = rows[0] + dy, samples[0] + dx
        gathered[:, i, j, k] = data[:, z + dz, y : y + n_y, x : x + n_x]
    return gathered.reshape(-1, n_y * n_x)


def _solve(
    normal: NDArray[np.complex128], right: NDArray[np.complex128], regularization: float
) -> NDArray[np.complex128]:
    mean = float(np.trace(normal).real) / len(normal)
    if not math.isfinite(mean) or mean <= 0:
        raise CalibrationError("calibration data is zero, or not finite")
    normal = normal + regularization * mean * np.eye(len(normal))
    try:
        weights: Any = solve(normal, right, assume_a="pos", check_finite=False)
    except np.linalg.LinAlgError:  # hardly any regularization, and hardly any noise
        weights = np.linalg.lstsq(normal, right, rcond=SINGLE_PRECISION)[0]
    return np.asarray(weights, np.complex128)


def _as_convolution(
    weights: NDArray[np.complex128],
    offsets: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    targets: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> GrappaKernel:
    """Merge the kernels of all target positions into one; weights are (target, source, tz, oz, ty, oy, ox)."""
    shifts_z, shifts_y = (
        np.subtract.outer(target, offset).ravel() for target, offset in zip(targets, offsets[:2], strict=True)
    )
    n_targets, n_sources = weights.shape[:2]
    merged = weights.reshape(n_targets, n_sources, len(shifts_z), len(shifts_y), len(offsets[2]))
    return GrappaKernel(np.ascontiguousarray(merged, np.complex64), (shifts_z, shifts_y, -offsets[2]))


def _phases(n: int, shifts: NDArray[np.int64]) -> NDArray[np.complex64]:
    """Give exp(2πi shift (p - center) / n), shape (n, shifts): shifts of k-space, seen in image space."""
    angles = 2.0 * math.pi / n * np.outer(np.arange(n) - n // 2, shifts)
    phases: NDArray[np.complex64] = np.exp(1j * angles).astype(np.complex64)
    return phases


@quiet
def unmixing_coefficients(kernel: GrappaKernel, maps: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Combine kernel and coil maps: what aliased images of the sources are multiplied with, and summed.

    Parameters
    ----------
    kernel
        From `calibrate`.
    maps
        Coil maps of the targets, shape (targets, z, y, x), complex64.

    Returns
    -------
        Shape (sources, z, y, x), complex64. Signal is preserved times the acceleration: the sources' images lack lines.
    """
    _, n_z, n_y, n_x = maps.shape
    n_sources = kernel.weights.shape[1]
    phases_z, phases_y, phases_x = (_phases(n, s) for n, s in zip((n_z, n_y, n_x), kernel.shifts, strict=True))
    unmixing = np.empty((n_sources, n_z, n_y, n_x), np.complex64)
    conjugate = maps.conj()
    along_x = kernel.weights @ phases_x.T  # (targets, sources, shifts z, shifts y, x)
    for z in range(n_z):
        lines = np.einsum("tszyx,z->styx", along_x, phases_z[z])
        for source in range(n_sources):
            image_kernel = np.matmul(phases_y, lines[source])  # (targets, y, x)
            np.multiply(image_kernel, conjugate[:, z], out=image_kernel)
            image_kernel.sum(axis=0, out=unmixing[source, z])
    return unmixing


@quiet
def g_factor(unmixing: NDArray[np.complex64], acceleration: tuple[int, int]) -> NDArray[np.float32]:
    """Give the noise amplification of unmixing coefficients (sources, z, y, x), for white noise: shape (z, y, x)."""
    power = np.square(unmixing.view(np.float32)).sum(axis=0).reshape(*unmixing.shape[1:], 2).sum(axis=-1)
    factor: NDArray[np.float32] = np.sqrt(power) * np.float32(1.0 / (acceleration[0] * acceleration[1]))
    return factor


@quiet
def apply_unmixing(images: NDArray[np.complex64], unmixing: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Sum images times coefficients over coils; both (coils, z, y, x). Images beyond the coefficients' are ignored."""
    total: NDArray[np.complex64] = images[0] * unmixing[0]
    for image, coefficients in zip(images[1:], unmixing[1:], strict=False):
        total += image * coefficients
    return total


@quiet
def unmix(kspace: NDArray[np.complex64], unmixing: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Transform k-space to images, and sum them times coefficients over coils.

    Parameters
    ----------
    kspace
        Shape (coils, z, y, x), complex64. Coils beyond those that have coefficients are ignored.
    unmixing
        Coefficients, of the same shape.

    Returns
    -------
        Shape (z, y, x), complex64. A new array.

    Notes
    -----
    Coils are taken few at a time, so that their images stay in the cache.
    """
    shape = unmixing.shape[1:]
    n_at_once = max(1, min(len(unmixing), IMAGE_BYTES // max(1, math.prod(shape) * 8)))
    total = np.zeros(shape, np.complex64)
    images = np.empty((n_at_once, *shape), np.complex64)
    for first in range(0, len(unmixing), n_at_once):
        coefficients = unmixing[first : first + n_at_once]
        part = ifft(kspace[first : first + len(coefficients)], IMAGE_AXES, out=images[: len(coefficients)])
        np.multiply(part, coefficients, out=part)
        for image in part:
            np.add(total, image, out=total)
    return total
