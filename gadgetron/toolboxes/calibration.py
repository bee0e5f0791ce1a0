"""Fits of k-space kernels to fully sampled calibration data, and kernels seen in image space.

Calibration data is (coils, z, y, x); one slice has z of length 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

__all__ = ["CalibrationError", "CalibrationRegion", "image_phases", "solve_regularized"]

CHUNK_BYTES = 4 * 1024 * 1024
SINGLE_PRECISION = 1e-6  # what the normal equations are computed in

Offsets = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class CalibrationError(ValueError):
    """The calibration data cannot determine a kernel."""


class CalibrationRegion:
    """The points of calibration data that have all their neighbours: one equation for each.

    Parameters
    ----------
    source
        Calibration data of the unknowns' coils, complex64.
    offsets
        Where the neighbours are, along z, y and x, ascending.
    overdetermination
        Equations per unknown that suffice: no more samples along x are used, those around the strongest. Not above 1:
        all are used.
    targets
        Where the results are, along z, y and x.
    lines
        Which lines were acquired, shape (z, y); None for all. Points that others take part in are left out.

    Raises
    ------
    CalibrationError
        If there are fewer lines or samples than the kernel spans, or, with gaps, fewer equations than unknowns.
    """

    def __init__(
        self,
        source: NDArray[np.complex64],
        offsets: Offsets,
        overdetermination: float,
        targets: Offsets,
        lines: NDArray[np.bool_] | None = None,
    ) -> None:
        self._source = source
        self._offsets = offsets
        self._targets = targets
        self._ranges: list[tuple[int, int]] = []
        for axis, n, around, wanted in zip("zyx", source.shape[1:], offsets, targets, strict=True):
            first, last = int(-around[0]), int(n - 1 - max(around[-1], wanted[-1]))
            if last < first:
                raise CalibrationError(
                    f"calibration data has {n} samples along {axis}, the kernel needs {n - last + first}"
                )
            self._ranges.append((first, last))
        self._n_unknowns = len(source) * math.prod(len(around) for around in offsets)
        self._is_used = self._complete_points(lines)
        if overdetermination > 1:
            self._ranges[2] = self._strongest_samples(overdetermination)

    def _complete_points(self, lines: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Tell at which (z, y) of the region all lines were acquired that an equation is made of."""
        (first_z, last_z), (first_y, last_y), (first_x, last_x) = self._ranges
        is_used = np.ones((last_z - first_z + 1, last_y - first_y + 1), bool)
        if lines is None or lines.all():
            return is_used
        places = {*itertools.product(*self._offsets[:2]), *itertools.product(*self._targets[:2])}
        for dz, dy in places:
            is_used &= lines[first_z + dz : last_z + dz + 1, first_y + dy : last_y + dy + 1]
        n_equations = int(is_used.sum()) * (last_x - first_x + 1)
        if n_equations < self._n_unknowns:
            raise CalibrationError(
                f"calibration data has gaps: lines that lie together give {n_equations} equations, the kernel needs "
                f"{self._n_unknowns}"
            )
        return is_used

    def _strongest_samples(self, overdetermination: float) -> tuple[int, int]:
        """Cut the samples along x to as many as are needed, around the strongest of the first coil."""
        first, last = self._ranges[2]
        n_lines = int(self._is_used.sum())
        n_used = max(1, math.ceil(overdetermination * self._n_unknowns) // n_lines)
        if n_used >= last - first + 1:
            return first, last
        strongest = int(np.argmax(np.abs(self._source[0].sum(axis=(0, 1)))))
        start = strongest - n_used // 2 if strongest > n_used // 2 + first else first
        return start, min(start + n_used - 1, last)

    def normal_equations(
        self, target: NDArray[np.complex64], is_unknown: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Give A^H A and A^H B of the equations A X = B.

        Parameters
        ----------
        target
            Calibration data of the results' coils.
        is_unknown
            Which neighbours count, of (coils, offsets z, y, x) flattened; None for all.

        Returns
        -------
            Shapes (unknowns, unknowns) and (unknowns, results); results are (coils, targets z, y, x) flattened.
        """
        n_unknowns = self._n_unknowns if is_unknown is None else int(is_unknown.sum())
        n_results = len(target) * math.prod(len(around) for around in self._targets)
        normal = np.zeros((n_unknowns, n_unknowns), np.complex128)
        right = np.zeros((n_unknowns, n_results), np.complex128)
        for z, rows in self._chunks():
            equations = _gather(self._source, z, rows, self._ranges[2], self._offsets)
            if is_unknown is not None:
                equations = equations[is_unknown]
            results = _gather(target, z, rows, self._ranges[2], self._targets)
            conjugate = equations.conj()
            normal += conjugate @ equations.T
            right += conjugate @ results.T
        return normal, right

    def _chunks(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Cut the region into blocks (z, (first y, last y)) of equations that fit the cache."""
        (first_z, last_z), (first_y, _), (first_x, last_x) = self._ranges
        n_lines = max(1, CHUNK_BYTES // ((last_x - first_x + 1) * self._n_unknowns * 8))
        for z in range(first_z, last_z + 1):
            for first, last in _runs(self._is_used[z - first_z]):
                for y in range(first_y + first, first_y + last + 1, n_lines):
                    yield z, (y, min(y + n_lines - 1, first_y + last))


def _runs(is_there: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Give first and last index of each run of what is there."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_there, [False]))))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _gather(
    data: NDArray[np.complex64], z: int, rows: tuple[int, int], samples: tuple[int, int], offsets: Offsets
) -> NDArray[np.complex64]:
    """Give the samples at each offset from each point of a block, shape (coils * offsets, points)."""
    n_y, n_x = rows[1] - rows[0] + 1, samples[1] - samples[0] + 1
    gathered = np.empty((len(data), *(len(around) for around in offsets), n_y, n_x), np.complex64)
    for (i, dz), (j, dy), (k, dx) in (
        (a, b, c) for a in enumerate(offsets[0]) for b in enumerate(offsets[1]) for c in enumerate(offsets[2])
    ):
        y, x = rows[0] + dy, samples[0] + dx
        gathered[:, i, j, k] = data[:, z + dz, y : y + n_y, x : x + n_x]
    return gathered.reshape(-1, n_y * n_x)


def solve_regularized(
    normal: NDArray[np.complex128], right: NDArray[np.complex128], regularization: float
) -> NDArray[np.complex128]:
    """Solve normal equations with Tikhonov regularization, in units of their mean diagonal element.

    Raises
    ------
    CalibrationError
        If the equations are zero, or not finite.
    """
    mean = float(np.trace(normal).real) / len(normal)
    if not math.isfinite(mean) or mean <= 0:
        raise CalibrationError("calibration data is zero, or not finite")
    normal = normal + regularization * mean * np.eye(len(normal))
    try:
        weights: Any = solve(normal, right, assume_a="pos", check_finite=False)
    except np.linalg.LinAlgError:  # hardly any regularization, and hardly any noise
        weights = np.linalg.lstsq(normal, right, rcond=SINGLE_PRECISION)[0]
    return np.asarray(weights, np.complex128)


def image_phases(n: int, shifts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.complex64]:
    """Give exp(2πi shift (p - center) / n), shape (n, shifts): shifts of k-space, seen in image space."""
    angles = 2.0 * math.pi / n * np.outer(np.arange(n) - n // 2, shifts)
    phases: NDArray[np.complex64] = np.exp(1j * angles).astype(np.complex64)
    return phases
