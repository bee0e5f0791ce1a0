"""Calibration data with gaps: whether it can be of use, which lines are missing, and those that others tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.calibration import CalibrationError
from gadgetron.toolboxes.grappa import calibrate, fill_lines

__all__ = ["has_neighbours", "list_lines", "regular_spacing", "repair_lines", "tell_dense_lines", "tell_spacing"]

KERNEL = (1, 4, 5)
REGULARIZATION = 1e-5  # what is found here is fitted again: bias would add up, noise does not
FEWEST_LINES = 8
SHOWN = 12


def has_neighbours(lines: NDArray[np.bool_], acceleration: tuple[int, int]) -> bool:
    """Tell whether lines lie side by side along each accelerated axis, wherever there are any.

    Parameters
    ----------
    lines
        Which lines were acquired, shape (…, z, y).
    acceleration
        Along z and y.
    """
    for place in lines.reshape(-1, *lines.shape[-2:]):
        if not place.any():
            continue
        if acceleration[0] > 1 and not (place[1:] & place[:-1]).any():
            return False
        if acceleration[1] > 1 and not (place[:, 1:] & place[:, :-1]).any():
            return False
    return bool(lines.any())


def repair_lines(
    data: NDArray[np.complex64], lines: NDArray[np.bool_], acceleration: int
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Find lines that are missing among calibration data by GRAPPA, from those around them.

    Parameters
    ----------
    data
        Shape (coils, z, y, x), complex64, zero where nothing was acquired. Not changed.
    lines
        Which lines were acquired, shape (z, y).
    acceleration
        The largest distance along y of lines that a missing one is found from.

    Returns
    -------
        Data, and the lines that are in it. What cannot be found stays missing.
    """
    for distance in range(2, max(2, acceleration) + 1):
        if lines.all():
            break
        try:
            kernel = calibrate(data, data, (1, distance), KERNEL, REGULARIZATION, lines=lines)
        except CalibrationError:
            continue
        data, lines = fill_lines(data, kernel, (1, distance), lines)
    return data, lines


def regular_spacing(steps: NDArray[np.int64], calibration: tuple[int, int] | None = None) -> int:
    """Give the distance of lines that are evenly spaced; 1 if they are few, or are not.

    Parameters
    ----------
    steps
        Numbers of the lines, ascending.
    calibration
        First and last line of a range that may be sampled more densely. If hardly any line is outside, it is no matter.
    """
    distances = np.diff(steps)
    if calibration is not None:
        outside = distances[(steps[1:] < calibration[0]) | (steps[:-1] > calibration[1])]
        distances = outside if outside.size >= FEWEST_LINES // 2 else distances
    if len(steps) < FEWEST_LINES or distances.size < FEWEST_LINES // 2:
        return 1
    spacing = int(distances.min())
    return spacing if np.median(distances) == spacing and not (distances % spacing).any() else 1


def tell_spacing(spacing: int, said: int) -> str:
    """Say that the distance of the lines is not the acceleration that the header says."""
    header = f"acceleration {said}" if said > 1 else "no acceleration"
    return f"one of {spacing} lines was measured, and the header says {header}"


def tell_dense_lines(steps: NDArray[np.int64]) -> str:
    """Say that imaging lines lie side by side where the others are apart: calibration lines that lost their flag.

    Parameters
    ----------
    steps
        Numbers of the imaging lines of one image, ascending.

    Returns
    -------
        A sentence for people; empty if lines are everywhere alike, or few.
    """
    distances = np.diff(steps)
    apart = np.sort(distances[distances > 1])
    breaks = np.flatnonzero(np.concatenate(([True], distances > 1, [True])))  # runs begin and end there
    lengths = np.diff(breaks)
    if apart.size < FEWEST_LINES // 2 or int(lengths.max()) <= FEWEST_LINES // 2:
        return ""
    longest = int(np.argmax(lengths))
    first, last = int(steps[breaks[longest]]), int(steps[breaks[longest + 1] - 1])
    return (
        f"imaging lines {first} to {last} lie side by side, others are {int(np.median(apart))} apart: if they are "
        "for calibration alone, their flag (20) is missing, and images of GRAPPA are wrong"
    )


def list_lines(steps: Sequence[int]) -> str:
    """List line numbers for people, the first few of them."""
    shown = ", ".join(str(step) for step in steps[:SHOWN])
    return f"{shown}, … ({len(steps)} in all)" if len(steps) > SHOWN else shown
