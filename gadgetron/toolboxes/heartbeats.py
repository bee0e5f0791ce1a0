"""Heartbeats in the time stamps of images: where they begin, how long they are, and when in one an image was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Heartbeats", "find_heartbeats"]

LENGTH_TOLERANCE = 0.5  # a trigger that was missed, or one too many, makes a beat of half or twice the length


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """What time stamps since the last trigger say.

    Attributes
    ----------
    times
        Number of the beat plus the part of it that has passed, for each image; increasing. Beat 0 is what was seen of
        the beat before the first trigger.
    kept
        Indices of the images that `times` are of: of several at one time, the first.
    lengths
        Length of each beat, in the time stamps' units; beats that are not complete have the median.
    complete
        Numbers of the beats that were seen from trigger to trigger, and last as long as others do.
    """

    times: NDArray[np.float64]
    kept: NDArray[np.int64]
    lengths: NDArray[np.float64]
    complete: tuple[int, ...]


def find_heartbeats(time_stamps: NDArray[np.float64], *, first_beat_on_trigger: bool = False) -> Heartbeats | None:
    """Find the heartbeats in time stamps that begin anew at each trigger.

    Parameters
    ----------
    time_stamps
        Time since the last trigger for each image, in the order of acquisition, shape (images,).
    first_beat_on_trigger
        Whether the first image is the first of a beat. Otherwise the beat it belongs to is taken for an ordinary one
        that was joined in the middle.

    Returns
    -------
        The beats, or None if no time stamp is less than the one before: there is no second beat.
    """
    stamps = np.asarray(time_stamps, np.float64)
    steps = np.diff(stamps)
    starts = (np.flatnonzero(steps < 0) + 1).tolist()
    if not starts:
        return None
    if first_beat_on_trigger:
        starts.insert(0, 0)
    forward = steps[steps >= 0]
    interval = float(np.median(forward)) if forward.size else 0.0
    measured = [stamps[end - 1] + interval - stamps[end] for end in starts[1:]]
    usual = float(np.median(measured)) if measured else stamps[: starts[-1]].max() + interval
    if not usual > 0:
        return None
    lengths = np.array([usual, *measured, usual])
    lengths[lengths <= 0] = usual
    beats = np.searchsorted(starts, np.arange(len(stamps)), side="right")
    shifted = stamps.copy()
    if not first_beat_on_trigger:
        shifted[: starts[0]] += (usual - interval) - (stamps[starts[0] - 1] - stamps[starts[0]])
    times = beats + shifted / lengths[beats]
    kept = [0]
    for index in range(1, len(times)):
        if times[index] > times[kept[-1]]:
            kept.append(index)
    indices = np.array(kept, np.int64)
    complete = tuple(
        number
        for number, length in enumerate(measured, start=1)
        if (1 - LENGTH_TOLERANCE) * usual < length < (1 + LENGTH_TOLERANCE) * usual
    )
    return Heartbeats(times[indices], indices, lengths, complete)
