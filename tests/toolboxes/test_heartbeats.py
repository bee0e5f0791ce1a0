"""Heartbeats from time stamps."""

import numpy as np
import pytest

from gadgetron.toolboxes.heartbeats import find_heartbeats


def stamps(lengths, step=50.0, start=0.0, offset=3.0):
    """Time since the last trigger, every `step`, through beats of these lengths."""
    triggers = np.concatenate([[0.0], np.cumsum(lengths)])
    t = np.arange(start, triggers[-1], step) + offset
    t = t[t < triggers[-1]]
    return t - triggers[np.searchsorted(triggers, t, side="right") - 1]


def test_beats_have_their_own_lengths():
    lengths = [900, 1000, 800, 1100, 950]
    beats = find_heartbeats(stamps(lengths, start=400))
    assert beats is not None
    assert beats.complete == (1, 2, 3)
    np.testing.assert_allclose(beats.lengths[1:4], lengths[1:4], atol=1)
    assert (np.diff(beats.times) > 0).all()
    assert beats.times[0] == pytest.approx(0.5, abs=0.06)  # 500 before the end of a beat of the usual 1000
    assert beats.times[-1] < 5


def test_the_first_beat_counts_when_it_began_with_a_trigger():
    beats = find_heartbeats(stamps([900, 1000, 800]), first_beat_on_trigger=True)
    assert beats is not None
    assert beats.complete == (1, 2)
    assert beats.times[0] == pytest.approx(1.0, abs=0.01)
    assert beats.lengths[1] == pytest.approx(900, abs=1)


def test_a_missed_trigger_is_no_beat():
    beats = find_heartbeats(stamps([900, 900, 950, 1900, 920, 300, 900, 900]))
    assert beats is not None
    assert beats.complete == (1, 2, 4, 6)


@pytest.mark.parametrize("times", [[], [5.0], [1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
def test_without_a_second_beat_there_is_none(times):
    assert find_heartbeats(np.array(times)) is None


@pytest.mark.parametrize("times", [[5.0, 0.0], [0.0, 5.0, 0.0, 0.0], [9.0, 8.0, 7.0, 6.0], [0.0, 1.0, 0.0, 1.0, 0.0]])
def test_strange_time_stamps_give_increasing_times(times):
    for on_trigger in (False, True):
        beats = find_heartbeats(np.array(times), first_beat_on_trigger=on_trigger)
        if beats is not None:
            assert (np.diff(beats.times) > 0).all()
            assert np.isfinite(beats.times).all()
            assert len(beats.times) == len(beats.kept)
