"""The chain: connected, opened, drained and aborted as one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gadgetron import Gadget
from gadgetron.errors import ConfigurationError, QueueClosed
from gadgetron.limits import LIMITS
from gadgetron.message import GadgetContainerMessage, MessageBlock, close_message, config_message
from gadgetron.stream import EndGadget, Stream

GUARD_S = 30.0


class Pass(Gadget):
    def process(self, message: MessageBlock) -> None:
        self.put_next(message)


class Collector:
    def __init__(self) -> None:
        self.messages: list[MessageBlock] = []
        self.closed = 0
        self.ended = threading.Event()

    def end(self) -> EndGadget:
        return EndGadget(self.deliver, self.close)

    def deliver(self, messages: Sequence[MessageBlock]) -> None:
        self.messages.extend(messages)

    def close(self) -> None:
        self.closed += 1
        self.ended.set()


@pytest.mark.parametrize("n_gadgets", [0, 1, 2, 20])
def test_messages_and_the_end_pass_through_a_chain_of_any_length(n_gadgets: int) -> None:
    collector = Collector()
    stream = Stream([Pass(f"g{number}") for number in range(n_gadgets)], collector.end(), session_name="s")
    stream.open()
    messages = [GadgetContainerMessage(number) for number in range(200)]
    stream.putq(config_message(b"<a/>"))
    for message in messages:
        stream.putq(message)
    stream.close()
    assert collector.ended.wait(GUARD_S)
    assert stream.wait(GUARD_S)
    assert collector.messages == messages
    assert collector.closed == 1


def test_gadgets_are_found_by_name_and_connected_in_order() -> None:
    gadgets = [Pass("a"), Pass("b"), Pass("a")]
    stream = Stream(gadgets, Collector().end(), session_name="session-3")
    assert stream.find("a") is gadgets[0]
    assert stream.find("x") is None
    assert gadgets[0].next() is gadgets[1]
    assert stream.head is gadgets[0]
    assert gadgets[2].session_name == "session-3"
    assert repr(stream) == "<Stream a > b > a>"
    assert repr(Stream([], Collector().end())) == "<Stream (a plain wire)>"


def test_abort_drops_what_waits_and_ends_every_thread() -> None:
    go_on = threading.Event()
    entered = threading.Event()

    class Waits(Gadget):
        def process(self, message: MessageBlock) -> None:
            entered.set()
            go_on.wait(GUARD_S)

    stream = Stream([Pass(), Waits(), Pass()], Collector().end())
    stream.open()
    for _ in range(10):
        stream.putq(MessageBlock())
    assert entered.wait(GUARD_S)
    stream.abort()
    assert not stream.wait(0.001)
    go_on.set()
    assert stream.wait(GUARD_S)
    with pytest.raises(QueueClosed):
        stream.close()


def test_too_many_threads_are_refused_before_any_starts() -> None:
    limits = replace(LIMITS, max_threads_per_session=4)
    Stream([Pass(threads=2), Pass(threads=2)], Collector().end(), limits=limits)
    with pytest.raises(ConfigurationError, match="asks for 5 threads, the limit is 4"):
        Stream([Pass(threads=2), Pass(threads=3)], Collector().end(), limits=limits)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_chain_that_cannot_start_leaves_no_thread(monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith(f"g{which}-1"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stream = Stream([Pass(f"g{number}", threads=2) for number in range(3)], Collector().end())
    with pytest.raises(RuntimeError, match="can't start"):
        stream.open()
    assert not any(gadget.running_threads for gadget in stream.gadgets)


def test_the_end_takes_batches_with_the_close_message_among_them() -> None:
    collector = Collector()
    data = [MessageBlock(), MessageBlock()]
    collector.end().put_many([data[0], config_message(b""), data[1], close_message()])
    assert collector.messages == data
    assert collector.closed == 1
