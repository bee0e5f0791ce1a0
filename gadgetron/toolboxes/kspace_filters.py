"""One-dimensional filters of k-space, k-space center at n // 2, scaled so that they keep the level of white noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.resize import pad_centred

__all__ = [
    "FILTER_KINDS",
    "FilterKind",
    "apply_filters",
    "asymmetric_filter",
    "reference_filter",
    "sampled_filter",
    "symmetric_filter",
]

FilterKind = Literal["Gaussian", "Hanning", "TaperedHanning", "None"]
FILTER_KINDS: tuple[FilterKind, ...] = ("Gaussian", "Hanning", "TaperedHanning", "None")

Filter = NDArray[np.float32]


def symmetric_filter(n: int, kind: FilterKind, sigma: float = 1.0, width: int = 1) -> Filter:
    """Make a filter that is symmetric around k-space center, of mean square 1.

    Parameters
    ----------
    n
        Length. An even filter, other than `None`, has a zero at index 0, which has no counterpart.
    kind
        `Gaussian` exp(-sigma²x²/2), x from -1 to 1; `Hanning`; `TaperedHanning`, 1 but for its ends; `None`, 1.
    sigma
        Of the Gaussian.
    width
        Samples in each tapered end.

    Returns
    -------
        Shape (n,).
    """
    n_odd = n - 1 if n % 2 == 0 and kind != "None" and n > 1 else n
    if kind == "Gaussian":
        x = np.linspace(-1.0, 1.0, n_odd) if n_odd > 1 else np.zeros(1)
        values = np.exp(-0.5 * (sigma * x) ** 2)
    elif kind == "Hanning":
        values = _hanning(n_odd)
    elif kind == "TaperedHanning":
        taper = _taper(_usable_width(width, n))
        n_taper = min(len(taper), n_odd)
        values = np.ones(n_odd)
        values[:n_taper] = taper[:n_taper]
        values[n_odd - n_taper :] = taper[:n_taper][::-1]
    else:
        values = np.ones(n_odd)
    values = np.concatenate([np.zeros(n - n_odd), values])
    return _normalised(values, n)


def asymmetric_filter(
    n: int,
    start: int,
    end: int,
    *,
    width: int,
    is_tapered: bool = True,
    density_compensation: bool = False,
) -> Filter:
    """Make a filter for k-space that was sampled from start to end only.

    Parameters
    ----------
    n
        Length.
    start, end
        First and last sampled index. The filter is zero beyond, and its mean square is 1 in between.
    width
        Samples in each taper.
    is_tapered
        Whether the sides where sampling ends early are tapered; both sides if it ends early nowhere.
    density_compensation
        Double what has no counterpart on the other side of the center.

    Returns
    -------
        Shape (n,).
    """
    if not 0 <= start <= end < n:
        start, end = 0, n - 1
    is_full = start == 0 and end == n - 1
    width = min(_usable_width(width, n), end - start + 1)
    taper = _taper(width) if is_tapered else np.ones(width)
    values = np.zeros(n)
    values[start : end + 1] = 1.0
    if density_compensation:
        _double_unpaired(values, start, end, taper)
    if start > 0 or is_full:
        values[start : start + width] *= taper
    if end < n - 1 or is_full:
        values[end + 1 - width : end + 1] *= taper[::-1]
    return _normalised(values, end - start + 1)


def reference_filter(n: int, start: int, end: int) -> Filter:
    """Make a Hanning filter around the center, as long as it can be within start to end on both sides.

    For low-pass images of calibration lines, and for the phase of partially sampled k-space.

    Returns
    -------
        Shape (n,), zero outside of the symmetric part.
    """
    if start == 0 and end == n - 1:
        return symmetric_filter(n, "Hanning") if n > 1 else np.ones(1, np.float32)
    center = n // 2
    at_start, at_end = 2 * (center - start) + 1, 2 * (end - center) + 1
    if start == 0:
        length = at_end
    elif end == n - 1:
        length = at_start
    else:
        length = min(at_start, at_end)
    values = np.zeros(n, np.float32)
    if length < 1:
        return values
    half = length // 2
    values[center - half : center + half + 1] = symmetric_filter(length, "Hanning")
    return values


def sampled_filter(n: int, first: int, last: int, kind: FilterKind, sigma: float, relative_width: float) -> Filter:
    """Make a symmetric filter as long as the sampled range needs, of mean square 1 within that range.

    Parameters
    ----------
    n
        Length.
    first, last
        First and last sampled index.
    kind, sigma
        As of `symmetric_filter`.
    relative_width
        Part of the filter that each taper takes.

    Returns
    -------
        Shape (n,).
    """
    if first == 0 or last == n - 1:
        length = n
    else:
        length = min(n, 2 * max(last - n // 2, n // 2 - first) + 1)
    values = pad_centred(symmetric_filter(length, kind, sigma, math.ceil(relative_width * length)), (n,))
    if (first, last) == (0, n - 1):
        return values
    level = math.sqrt(float(np.mean(values[first : last + 1].astype(np.float64) ** 2)))
    return values if level == 0 else (values / np.float32(level)).astype(np.float32)


@quiet
def apply_filters(kspace: NDArray[np.complex64], filters: Sequence[Filter | None]) -> NDArray[np.complex64]:
    """Multiply the last axes of k-space by filters, in place.

    Parameters
    ----------
    kspace
        Any shape. Changed.
    filters
        One for each of the last axes, the last axis last; None leaves an axis alone.

    Returns
    -------
        kspace.
    """
    for axis, values in enumerate(reversed(filters)):
        if values is not None:
            np.multiply(kspace, values.reshape((-1,) + (1,) * axis), out=kspace)
    return kspace


def _hanning(n: int) -> NDArray[np.float64]:
    return 0.5 * (1.0 - np.cos(2.0 * math.pi * np.arange(1, n + 1) / (n + 1)))


def _taper(width: int) -> NDArray[np.float64]:
    return 0.5 * (1.0 - np.cos(2.0 * math.pi * np.arange(1, width + 1) / (2 * width + 1)))


def _usable_width(width: int, n: int) -> int:
    return width if 0 < width < n else 1


def _normalised(values: NDArray[np.float64], n: int) -> Filter:
    power = float((values**2).sum())
    return (values * (math.sqrt(n / power) if power > 0 else 1.0)).astype(np.float32)


def _double_unpaired(values: NDArray[np.float64], start: int, end: int, taper: NDArray[np.float64]) -> None:
    """Double what has no mirror image in the sampled range, with a taper from 1 to 2 before it."""
    center, width = len(values) // 2, len(taper)
    half = min(center - start, end - center)
    first, last = center - half, center + half
    if end > last >= width:
        values[last + 1 : end + 1] = 2.0
        values[last + 1 - width : last + 1] = 1.0 + taper
    elif start < first <= len(values) - width:
        values[start:first] = 2.0
        values[first : first + width] = 1.0 + taper[::-1]
