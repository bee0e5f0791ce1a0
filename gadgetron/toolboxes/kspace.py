"""Where lines go in a k-space buffer: sizes, offsets and sampled ranges, as the C++ Gadgetron has them.

Mended against it: a Cartesian buffer is never smaller than the encoded matrix, so that a partially sampled scan without
`parallelImaging` keeps all its lines; counters that begin above 0 are counted from the smallest one received instead of
being clamped, so that no line overwrites another's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from gadgetron.header import Encoding, Limit

__all__ = ["AxisGrid", "ReadoutPlace", "Received", "phase_encoding_grid", "place_readout", "usable_center"]


class Received(NamedTuple):
    """Smallest and largest value of a counter among the lines of a buffer."""

    minimum: int
    maximum: int

    @property
    def span(self) -> int:
        """Number of values from the smallest to the largest."""
        return self.maximum - self.minimum + 1


@dataclass(frozen=True, slots=True)
class AxisGrid:
    """One phase encoding axis of a buffer.

    Attributes
    ----------
    size
        Number of lines.
    offset
        What is added to an encoding step to give the line's index.
    first, center, last
        Sampled range of indices, and the one of k-space center.
    """

    size: int
    offset: int
    first: int
    center: int
    last: int


def phase_encoding_grid(
    encoding: Encoding, axis: Literal[1, 2], received: Received, *, for_reference: bool, center: int | None = None
) -> AxisGrid:
    """Lay out one phase encoding axis of a buffer.

    Parameters
    ----------
    encoding
        The encoding space of the lines.
    axis
        1 for kspace_encode_step_1, 2 for kspace_encode_step_2.
    received
        What was received of that counter.
    for_reference
        Whether the lines are parallel imaging calibration.
    center
        The counter's value at k-space center, where that is not what the header says; see `usable_center`.
    """
    matrix, limit = _matrix_and_limit(encoding, axis)
    if limit is not None and center is not None:
        limit = replace(limit, center=center)
    mode = (encoding.parallelImaging.calibrationMode if encoding.parallelImaging else None) or "embedded"
    is_separate = for_reference and mode in ("separate", "external")
    is_centred = encoding.is_cartesian and (not for_reference or mode == "embedded")
    size, offset = _size_and_offset(
        encoding, axis, matrix, limit, received, is_separate=is_separate, is_centred=is_centred
    )
    first, last = (limit.minimum, limit.maximum) if limit is not None else (0, matrix - 1)
    if is_centred and (encoding.trajectory == "cartesian" or not for_reference):
        first, last, middle = first + offset, last + offset, matrix // 2
    else:
        middle = limit.center if limit is not None else matrix // 2
    return AxisGrid(size, offset, *(min(max(index, 0), size - 1) for index in (first, middle, last)))


def usable_center(encoding: Encoding, axis: Literal[1, 2], received: Received) -> int | None:
    """Find out whether lines find room if the header's center comes into the middle of the matrix.

    Parameters
    ----------
    encoding, axis
        As of `phase_encoding_grid`.
    received
        What was received of the counter, in the data.

    Returns
    -------
        The middle of the matrix, if that is not so, and they find room without; None if the header's center is usable,
        or nothing helps.
    """
    matrix, limit = _matrix_and_limit(encoding, axis)
    if limit is None or not encoding.is_cartesian or matrix <= 1:
        return None
    size, offset = _matrix_size(encoding, matrix, limit), matrix // 2 - limit.center
    has_room = received.minimum + offset >= 0 and received.maximum + offset < size
    return matrix // 2 if not has_room and limit.maximum < size else None


def _matrix_and_limit(encoding: Encoding, axis: Literal[1, 2]) -> tuple[int, Limit | None]:
    size, limits = encoding.encodedSpace.matrixSize, encoding.encodingLimits
    return (size.y, limits.kspace_encoding_step_1) if axis == 1 else (size.z, limits.kspace_encoding_step_2)


def _matrix_size(encoding: Encoding, matrix: int, limit: Limit | None) -> int:
    return matrix if encoding.parallelImaging or limit is None else max(limit.size, matrix)


def _size_and_offset(
    encoding: Encoding,
    axis: int,
    matrix: int,
    limit: Limit | None,
    received: Received,
    *,
    is_separate: bool,
    is_centred: bool,
) -> tuple[int, int]:
    if not encoding.is_cartesian:
        first = limit.minimum if limit is not None else received.minimum
        return (limit.size if limit is not None else received.span), -first
    if is_separate:
        return (limit.size if axis == 2 and limit is not None else received.span), -received.minimum
    size = _matrix_size(encoding, matrix, limit)
    if not is_centred or limit is None or (axis == 2 and matrix <= 1):
        return size, 0
    return size, matrix // 2 - limit.center


class ReadoutPlace(NamedTuple):
    """Which samples of a readout are copied to where: `row[start : start + n] = readout[skip : skip + n]`."""

    start: int
    skip: int
    n: int


def place_readout(
    n_e0: int,
    center_e0: int,
    number_of_samples: int,
    discard_pre: int,
    discard_post: int,
    center_sample: int,
    *,
    is_cartesian: bool,
) -> ReadoutPlace | None:
    """Find the place of a readout in a row of a buffer, so that its echo is at the row's center.

    Parameters
    ----------
    n_e0, center_e0
        Length of the row, and where its k-space center is.
    number_of_samples, discard_pre, discard_post, center_sample
        From the acquisition's header. A readout that fills the row stays where it is if its center_sample would move it
        out of the row: some vendors do not set it.

    Returns
    -------
        The place, or None if the readout does not fit.
    """
    count = number_of_samples - discard_pre - discard_post
    if count < 0:
        return None
    fills_row = number_of_samples == n_e0
    has_center = center_sample < number_of_samples
    if not is_cartesian:
        start = 0
    elif not has_center or (fills_row and center_sample == number_of_samples // 2):
        start = discard_pre
    else:
        start = center_e0 - center_sample
        if fills_row and not 0 <= start <= n_e0 - count:
            start = discard_pre
    if not 0 <= start <= n_e0 - count:
        return None
    return ReadoutPlace(start, discard_pre, count)
