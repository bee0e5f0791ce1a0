"""GRAPPA: calibration of the kernels, and their application as unmixing coefficients in image space.

Arrays are (coils, z, y, x); one slice has z of length 1. Acceleration is (along z, along y).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.calibration import CalibrationError, CalibrationRegion, image_phases, solve_regularized
from gadgetron.toolboxes.fft import ifft

__all__ = [
    "CalibrationError",
    "GrappaKernel",
    "calibrate",
    "fill_lines",
    "g_factor",
    "source_offsets",
    "unmix",
    "unmixing_coefficients",
    "wrapped_lines",
]

IMAGE_BYTES = 512 * 1024
IMAGE_AXES = (1, 2, 3)


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
    lines: NDArray[np.bool_] | None = None,
) -> GrappaKernel:
    """Fit the kernel that gives each target sample from the acquired lines around it.

    Parameters
    ----------
    source, target
        Calibration data, shapes (sources, z, y, x) and (targets, z, y, x), complex64.
    acceleration
        Along z and y.
    kernel
        Lines along z and along y, and samples along x (odd), that a target is made of.
    regularization
        Tikhonov's, in units of the mean diagonal element of the normal equations.
    overdetermination
        In 3D, the number of equations per unknown that suffices: no more samples along x are used, those around the
        strongest. Not above 1: all are used.
    lines
        Which lines of it were acquired, shape (z, y); None for all.

    Raises
    ------
    CalibrationError
        If there are fewer lines or samples than the kernel spans, or hardly any without gaps between them.
    """
    is_volume = source.shape[1] > 1
    offsets_z = source_offsets(kernel[0], acceleration[0]) if is_volume else np.zeros(1, np.int64)
    offsets_y = source_offsets(kernel[1], acceleration[1])
    offsets_x = np.arange(-(kernel[2] // 2), kernel[2] // 2 + 1)
    targets_z = np.arange(acceleration[0] if is_volume else 1)
    targets_y = np.arange(acceleration[1])
    offsets = (offsets_z, offsets_y, offsets_x)
    targets = (targets_z, targets_y, np.zeros(1, np.int64))
    region = CalibrationRegion(source, offsets, overdetermination if is_volume else 0.0, targets, lines)
    normal, right = region.normal_equations(target)
    weights = solve_regularized(normal, right, regularization)
    # unknowns are (source, z, y, x), results (target, target z, target y)
    shape = (len(source), len(offsets_z), len(offsets_y), len(offsets_x), len(target), len(targets_z), len(targets_y))
    weights = weights.reshape(shape).transpose(4, 0, 5, 1, 6, 2, 3)
    return _as_convolution(weights, offsets, (targets_z, targets_y))


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


@quiet
def fill_lines(
    source: NDArray[np.complex64], kernel: GrappaKernel, acceleration: tuple[int, int], lines: NDArray[np.bool_]
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Make lines that are missing in calibration data of those around them.

    Parameters
    ----------
    source
        Calibration data, shape (sources, z, y, x), complex64.
    kernel, acceleration
        From `calibrate`, and what it was made with. Targets are the first sources.
    lines
        Which lines were acquired, shape (z, y).

    Returns
    -------
        The targets' calibration data, (targets, z, y, x), a new array; and which lines are there now. A line stays
        missing if one of those is missing that it would be made of.
    """
    filled, is_there = source[: len(kernel.weights)].copy(), lines.copy()
    groups = [_groups(shifts, factor) for shifts, factor in zip(kernel.shifts[:2], acceleration, strict=True)]
    for z, y in np.argwhere(~lines).tolist():
        for group_z, group_y in itertools.product(*groups):
            rows_z, rows_y = z - kernel.shifts[0][group_z], y - kernel.shifts[1][group_y]
            if not (_are_inside(rows_z, lines.shape[0]) and _are_inside(rows_y, lines.shape[1])):
                continue
            if not lines[np.ix_(rows_z, rows_y)].all():
                continue
            around = source[:, rows_z[:, np.newaxis], rows_y]
            weights = kernel.weights[:, :, group_z, group_y]
            filled[:, z, y] = sum(
                np.einsum("tszy,szyx->tx", weights[..., i], np.roll(around, shift, axis=-1))
                for i, shift in enumerate(kernel.shifts[2])
            )
            is_there[z, y] = True
            break
    return filled, is_there


def _groups(shifts: NDArray[np.int64], acceleration: int) -> list[slice]:
    """Cut the shifts of a kernel into those of each target position."""
    n = max(1, len(shifts) // acceleration)
    return [slice(first, first + n) for first in range(0, len(shifts), n)]


def _are_inside(rows: NDArray[np.int64], n: int) -> bool:
    return bool(rows.min() >= 0 and rows.max() < n)


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
    phases_z, phases_y, phases_x = (image_phases(n, s) for n, s in zip((n_z, n_y, n_x), kernel.shifts, strict=True))
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
def wrapped_lines(kspace: NDArray[np.complex64], kernel: GrappaKernel) -> NDArray[np.complex64]:
    """Compute what a kernel that is applied in image space, where k-space is periodic, adds beyond the ends of k-space.

    On a matrix that is a multiple of the acceleration acquired lines keep their distance where k-space begins anew, and
    little harm is done. On others what would be lines beyond one end is added to lines at the other.

    Parameters
    ----------
    kspace
        What the kernel is applied to, shape (coils, z, y, x), complex64. Coils beyond its sources are ignored.
    kernel
        From `calibrate`.

    Returns
    -------
        What is to be subtracted from k-space of the targets, (targets, z, y, x), complex64.
    """
    n_targets, n_sources = kernel.weights.shape[:2]
    kspace = kspace[:n_sources]
    _, n_z, n_y, _ = kspace.shape
    wrapped = np.zeros((n_targets, *kspace.shape[1:]), np.complex64)
    is_acquired = kspace.any(axis=(0, 3))
    for i, shift_z in enumerate(kernel.shifts[0]):
        for j, shift_y in enumerate(kernel.shifts[1]):
            z, y = np.nonzero(is_acquired)
            to_z, to_y = z + shift_z, y + shift_y
            is_beyond = (to_y < 0) | (to_y >= n_y) | (to_z < 0) | (to_z >= n_z)
            if not is_beyond.any():
                continue
            lines = kspace[:, z[is_beyond], y[is_beyond]]
            made = sum(
                np.einsum("ts,slx->tlx", kernel.weights[:, :, i, j, k], np.roll(lines, shift, axis=-1))
                for k, shift in enumerate(kernel.shifts[2])
            )
            wrapped[:, to_z[is_beyond] % n_z, to_y[is_beyond] % n_y] += made
    return wrapped


@quiet
def g_factor(unmixing: NDArray[np.complex64], acceleration: tuple[int, int]) -> NDArray[np.float32]:
    """Give the noise amplification of unmixing coefficients (sources, z, y, x), for white noise: shape (z, y, x)."""
    power = np.square(unmixing.view(np.float32)).sum(axis=0).reshape(*unmixing.shape[1:], 2).sum(axis=-1)
    factor: NDArray[np.float32] = np.sqrt(power) * np.float32(1.0 / (acceleration[0] * acceleration[1]))
    return factor


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
