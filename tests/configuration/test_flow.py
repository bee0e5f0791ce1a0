"""Whether neighbours in a chain fit, before data arrives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gadgetron.configuration.flow import FlowStep, check_flow
from gadgetron.gadget import Gadget, Gadget1, Gadget2
from gadgetron.message_types import Array


class Header:
    """Stands for any header."""


class Other:
    """Stands for another."""


READOUT = (Header, Array[np.complex64])
WAVEFORM = (Other, Array[np.uint32])


class Filter(Gadget2[Header, Array[np.complex64]]):
    """Takes and emits readouts."""


class ToFloat(Gadget2[Header, Array[np.complex64]]):
    """Emits floats."""

    emits = ((Header, Array[np.float32]),)


class TakesFloat(Gadget2[Header, Array[np.float32]]):
    """Takes floats."""


class TakesAny(Gadget2[Header, Array[Any]]):
    """Takes any array with a header."""


class Sink(Gadget1[Header]):
    """Emits nothing."""

    emits = ()


class Everything(Gadget):
    """Takes anything, and emits a string."""

    emits = ((str,),)


def test_what_may_come_or_not_is_no_notice():
    anything = FlowStep("x", Gadget, True, (READOUT,), (READOUT, WAVEFORM, (str,)), emits_anything=True)
    report = check_flow((READOUT,), [anything], ())
    assert report.notices == []
    assert set(report.at_end) == {READOUT, WAVEFORM, (str,)}
    assert "type str fall off" in "".join(check_flow((READOUT,), [anything, step(Everything)], ()).notices)
    by_pass = check_flow((READOUT, WAVEFORM), [anything], ())
    assert len(by_pass.notices) == 1
    assert "Other + Array[uint32] fall off the end" in by_pass.notices[0]


def step(cls):
    return FlowStep(cls.__name__, cls)


def check(*classes, readers=(READOUT, WAVEFORM), writers=(), strict=()):
    steps = [FlowStep(cls.__name__, cls, cls not in strict) for cls in classes]
    return check_flow(readers, steps, writers)


def test_a_chain_that_fits_has_nothing_to_say():
    report = check(Filter, ToFloat, TakesFloat, writers=[(Header, Array[np.float32]), WAVEFORM])
    assert (report.errors, report.warnings, report.notices) == ([], [], [])
    assert report.at_end == [WAVEFORM, (Header, Array[np.float32])]


def test_a_gadget_that_nothing_can_reach_is_a_warning():
    report = check(TakesFloat, Filter)
    assert report.errors == []
    expected = (
        "gadget TakesFloat (1 in the chain) takes Header + Array[float32], "
        "but only Header + Array[complex64] or Other + Array[uint32] can reach it: it will do nothing"
    )
    assert report.warnings == [expected]


def test_it_is_an_error_where_it_may_not_pass_on():
    report = check(ToFloat, Filter, strict=[Filter])
    assert len(report.errors) == 1
    assert "may not pass on" in report.errors[0]


def test_a_gadget_that_takes_some_but_may_not_pass_on_the_others_is_a_warning():
    report = check(Filter, strict=[Filter])
    assert report.errors == []
    assert "Other + Array[uint32] will fail the session" in report.warnings[0]


def test_what_is_passed_on_reaches_gadgets_further_down():
    class TakesWaveforms(Gadget1[Other]):
        """Takes waveforms."""

    assert check(ToFloat, Sink, TakesWaveforms).warnings == []
    assert len(check(Everything, TakesWaveforms).warnings) == 1


def test_any_fits_anything():
    assert check(ToFloat, TakesAny, TakesFloat).warnings == []
    assert check(TakesFloat, readers=[(Any, Any)]).warnings == []


def test_fewer_blocks_than_wanted_do_not_fit():
    assert len(check(Filter, readers=[(Header,)]).warnings) == 1
    assert check(Sink, readers=[READOUT]).warnings == []


def test_a_chain_without_readers_is_not_followed():
    report = check(Filter, readers=())
    assert (report.errors, report.warnings) == ([], [])
    assert "no reader" in report.notices[0]


def test_what_no_writer_takes_is_noticed():
    report = check(ToFloat, writers=[(Header, Array[np.float32])])
    assert report.notices == [
        "messages of type Other + Array[uint32] fall off the end of the chain, and no writer takes them"
    ]
