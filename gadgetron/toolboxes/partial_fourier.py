"""K-space that was sampled on one side further than on the other: filters, and projection onto convex sets (POCS)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.kspace_filters import apply_filters, asymmetric_filter, reference_filter

__all__ = ["partial_fourier_filter", "pocs", "sampled_extent"]

AXES = (-3, -2, -1)

Extent = tuple[int, int]  # first and last sampled index


def sampled_extent(n: int, first: int, last: int, acceleration: int) -> Extent:
    """Give the sampled range of a phase encoding axis if it is asymmetric by more than the acceleration explains.

    Parameters
    ----------
    n
        Length of the axis.
    first, last
        First and last sampled index, as the header says; anything impossible stands for all.
    acceleration
        Distance of acquired lines.

    Returns
    -------
        The range; all of the axis if it is symmetric.
    """
    if not 0 <= first <= last < n:
        return 0, n - 1
    center = n // 2
    is_asymmetric = abs((last - center) - (center - first)) > acceleration
    return (first, last) if is_asymmetric else (0, n - 1)


def partial_fourier_filter(
    n: int, extent: Extent, relative_width: float, *, density_compensation: bool
) -> NDArray[np.float32] | None:
    """Make the filter that tapers the sides where sampling ends early; None if it ends early nowhere.

    Parameters
    ----------
    n
        Length of the axis.
    extent
        First and last sampled index.
    relative_width
        Part of the axis that the taper takes.
    density_compensation
        Double what has no counterpart on the other side.
    """
    first, last = extent
    if (first, last) == (0, n - 1):
        return None
    if first == 0 or last == n - 1:
        return asymmetric_filter(
            n, first, last, width=int(n * relative_width), density_compensation=density_compensation
        )
    # both sides are cut: the later one as if the axis ended there
    n_sampled = last - first + 1
    at_end, at_start = 2 * (last - n // 2 + 1), 2 * (n // 2 - first + 1)
    length = max(at_end, at_start, n_sampled)
    start, end = (length - n_sampled, length - 1) if at_end > at_start else (0, n_sampled - 1)
    values = asymmetric_filter(
        length, start, end, width=int(length * relative_width), density_compensation=density_compensation
    )
    result = np.zeros(n, np.float32)
    result[first : last + 1] = values[start : end + 1]
    return result


@quiet
def pocs(
    kspace: NDArray[np.complex64],
    extents: Sequence[Extent],
    transition: Sequence[int],
    n_iterations: int = 6,
    threshold: float = 0.01,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.complex64]:
    """Fill in what was not sampled so that the image has a smooth phase.

    The phase comes from the symmetric center of k-space. In each iteration the image gets that phase, and its k-space
    what was acquired.

    Parameters
    ----------
    kspace
        Shape (…, z, y, x), complex64, zero where nothing was acquired. Not changed.
    extents
        First and last acquired index along z, y, x.
    transition
        Samples along z, y, x over which acquired k-space is blended into what was filled in; all 0 to just put it in.
    n_iterations
        Iterations at most.
    threshold
        Relative change of all images at which iterations end.
    should_stop
        Asked in every iteration.

    Returns
    -------
        A new array.
    """
    shape = kspace.shape[-3:]
    if all(extent == (0, n - 1) for extent, n in zip(extents, shape, strict=True)):
        return kspace.copy()
    filters = [reference_filter(n, *extent) if n > 1 else None for n, extent in zip(shape, extents, strict=True)]
    low_pass = ifft(apply_filters(kspace.copy(), filters), AXES)
    magnitude = np.abs(low_pass)
    phase = np.divide(low_pass, magnitude, out=np.ones_like(low_pass), where=magnitude > 0)
    acquired: Any = (..., *(slice(first, last + 1) for first, last in extents))
    image = ifft(kspace, AXES)
    filled = kspace
    for _ in range(max(1, n_iterations)):
        filled = fft(np.abs(image) * phase, AXES)
        restored = filled.copy()
        restored[acquired] = kspace[acquired]
        previous, image = image, ifft(restored, AXES)
        norm = float(np.linalg.norm(previous))
        if norm == 0 or np.linalg.norm(image - previous) / norm < threshold or should_stop():
            break
    if not any(transition):
        filled[acquired] = kspace[acquired]
        return filled
    weight = _blend(shape, extents, transition)
    filled += weight * (kspace - filled)
    return filled


def _blend(shape: Sequence[int], extents: Sequence[Extent], transition: Sequence[int]) -> NDArray[np.float32]:
    """Give the weight of acquired k-space: 1 at its center, falling to 0 where sampling ended early."""
    weight = np.ones(tuple(shape), np.float32)
    values = []
    for n, (first, last), width in zip(shape, extents, transition, strict=True):
        if (first, last) == (0, n - 1):
            values.append(np.ones(n, np.float32))
            continue
        center = n // 2
        usable = max(1, min(width, center - first, last - center))
        taper = asymmetric_filter(n, first, last, width=usable)
        values.append((taper / taper[center]).astype(np.float32) if taper[center] > 0 else taper)
    weight *= values[0][:, None, None]
    weight *= values[1][:, None]
    weight *= values[2]
    return weight
