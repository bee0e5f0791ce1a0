"""Calibration data of parallel imaging: which lines there are, their average, and low-pass images for coil maps.

Buffers are (LOC, S, N, CHA, E2, E1, E0), as in ReconBuffer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet, shared_pool
from gadgetron.toolboxes.kspace_filters import Filter, apply_filters, reference_filter

__all__ = [
    "Range",
    "average_lines",
    "low_pass_kspace",
    "noise_of_averages",
    "sampled_lines",
    "sampled_range",
    "snr_scale",
]


class Range(NamedTuple):
    """First and last sampled index along an axis, and that of k-space center, which may lie beside."""

    first: int
    center: int
    last: int

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.last - self.first + 1


def sampled_lines(data: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Tell which lines were acquired, shape (LOC, S, N, E2, E1): those that are not zero in every channel."""
    lines: NDArray[np.bool_] = np.asarray(data[:, :, :, 0].any(axis=-1))
    for channel in range(1, data.shape[3]):
        missing = ~lines
        if not missing.any():
            break
        lines[missing] = data[:, :, :, channel][missing].any(axis=-1)
    return lines


def sampled_range(lines: NDArray[np.bool_], axis: int) -> tuple[int, int] | None:
    """Give first and last index along an axis at which there is a line anywhere; None if there is none."""
    other = tuple(i for i in range(lines.ndim) if i != axis % lines.ndim)
    present = np.flatnonzero(lines.any(axis=other))
    return (int(present[0]), int(present[-1])) if present.size else None


@quiet
def average_lines(
    data: NDArray[np.complex64], lines: NDArray[np.bool_], *, average_n: bool, average_s: bool
) -> NDArray[np.complex64]:
    """Average a buffer over N, and over S, each line over those that were acquired.

    Parameters
    ----------
    data
        Buffer.
    lines
        From `sampled_lines`.
    average_n, average_s
        Which axes become 1.

    Returns
    -------
        A new buffer, or the data itself if nothing is averaged.
    """
    for wanted, axis in ((average_n, 2), (average_s, 1)):
        if not wanted or data.shape[axis] == 1:
            continue
        counts = lines.sum(axis=axis, keepdims=True)
        weights = (1.0 / np.maximum(counts, 1)).astype(np.float32)
        data = data.sum(axis=axis, keepdims=True)
        data *= weights[:, :, :, np.newaxis, :, :, np.newaxis]
        lines = counts > 0
    return data


@quiet
def low_pass_kspace(
    reference: NDArray[np.complex64], ranges: tuple[Range, Range, Range], shape: tuple[int, int, int], *, cut: bool
) -> NDArray[np.complex64]:
    """Make k-space for coil maps from calibration data: symmetric, with a Hanning filter, padded with zeros.

    Parameters
    ----------
    reference
        Buffer whose axes E2, E1, E0 have just the sampled range.
    ranges
        Along E2, E1, E0: in the first two, first is 0 in the buffer; along E0 the positions are those of the readout
        before it was cut to the range.
    shape
        Sizes of the result along E2, E1, E0.
    cut
        Whether calibration lines that have no counterpart on the other side of the center are left out. If not, the
        middle of the lines is the center.

    Returns
    -------
        Buffer, complex64. A new array.
    """
    places = [
        _phase_encoding_place(n, axis_range, n_out, cut=cut)
        for n, axis_range, n_out in zip(reference.shape[-3:-1], ranges[:2], shape[:2], strict=True)
    ]
    places.append(_readout_place(reference.shape[-1], ranges[2], shape[2]))
    kspace = shared_pool.take((*reference.shape[:-3], *shape), np.complex64)
    if any(place.target.stop - place.target.start < n for place, n in zip(places, shape, strict=True)):
        kspace[...] = 0
    source: Any = (..., *(place.source for place in places))
    target: Any = (..., *(place.target for place in places))
    kspace[target] = reference[source]
    apply_filters(kspace[target], [place.filter for place in places])
    return kspace


class _Place(NamedTuple):
    """Which part of an axis goes where, and the filter for it."""

    source: slice
    target: slice
    filter: Filter | None


def _phase_encoding_place(n: int, lines: Range, n_out: int, *, cut: bool) -> _Place:
    if n == 1:
        return _Place(slice(0, 1), slice(n_out // 2, n_out // 2 + 1), None)
    center = min(max(lines.center, 0), n - 1) if cut else n // 2  # beyond the lines it has no other side at all
    length = max(1, min(2 * min(center, n - center) - 1 if cut else n, n_out))
    first = max(center - length // 2, 0)
    start = n_out // 2 - length // 2
    values = reference_filter(length, 0, length - 1) if length > 1 else None
    return _Place(slice(first, first + length), slice(start, start + length), values)


def _readout_place(n: int, readout: Range, n_out: int) -> _Place:
    """Put the echo into the middle; samples that do not fit are left out."""
    length = 2 * readout.center
    if readout.first > 0 or readout.last < length - 1:
        length = 2 * max(readout.center - readout.first, readout.last - readout.center + 1)
    length = max(1, min(length if length > 1 else n_out, n_out))
    start = length // 2 - readout.center + readout.first
    first, last = max(start, 0), min(start + n, length)
    values = reference_filter(length, first, last - 1)[first:last] if length > 1 else None
    offset = n_out // 2 - length // 2
    return _Place(slice(first - start, last - start), slice(offset + first, offset + last), values)


def snr_scale(lines: NDArray[np.bool_], n_e0: int, first_e0: int, last_e0: int) -> tuple[float, float]:
    """Find how undersampled a buffer is, and the factor that keeps the level of white noise nevertheless.

    Parameters
    ----------
    lines
        Which lines of the buffer were acquired.
    n_e0, first_e0, last_e0
        Length of the readout, and its sampled range.

    Returns
    -------
        The effective acceleration, lines of the buffer over lines acquired; and sqrt(that times the readout's length
        over its sampled length). Both are 1 if there are no lines.
    """
    n_lines = int(lines.sum())
    if n_lines == 0:
        return 1.0, 1.0
    n_sampled = last_e0 - first_e0 + 1 if 0 <= first_e0 <= last_e0 < n_e0 else n_e0
    acceleration = lines.size / n_lines
    return acceleration, float(np.sqrt(n_e0 / n_sampled * acceleration))


def noise_of_averages(averages: NDArray[np.uint16]) -> float:
    """Give the standard deviation of an image's noise, when its lines are means, relative to that without averaging.

    Parameters
    ----------
    averages
        How many readouts each line is the mean of; 0 where there is none.
    """
    counts = averages[averages > 0].astype(np.float64)
    return float(np.sqrt((1 / counts).mean())) if counts.size else 1.0
