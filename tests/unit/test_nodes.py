"""Branches, merges and pure streams: what passes, in which order, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import ismrmrd
import numpy as np
import pytest

from gadgetron import Branch, Fanout, Gadget, Merge, copy_message
from gadgetron.errors import ConfigurationError, GadgetError, LimitExceeded
from gadgetron.gadget import Gadget1
from gadgetron.limits import LIMITS
from gadgetron.message import Container, MessageBlock, ParametersMessage, make_message
from gadgetron.message_queue import MessageQueue
from gadgetron.nodes import Parallel, PureStream
from gadgetron.testing import run_gadget

GUARD_S = 30.0


class Numbers(Fanout):
    accepts = ((int,),)


class Collects(Merge):
    """Puts what comes, with the key it came by."""

    def process(self, key: str, message: Any) -> None:
        message.object = (key, message.object)
        self.put_next(message)


class Adds(Gadget1[int]):
    thread_safe = True

    def __init__(self, what: int = 1) -> None:
        super().__init__(f"adds{what}")
        self.what = what

    def process(self, m1: Container[int]) -> None:
        m1.object += self.what
        self.put_next(m1)


def numbers(n: int) -> list[MessageBlock]:
    return [make_message(number) for number in range(n)]


def objects(messages: Sequence[MessageBlock]) -> list[Any]:
    return [message.object for message in messages if isinstance(message, Container)]


def test_every_stream_gets_its_own_copy_and_an_empty_stream_is_a_wire():
    node = Parallel(Numbers(), {"a": [Adds(10)], "b": [], "c": [Adds(1), Adds(2)]}, Collects())
    found = objects(run_gadget(node, numbers(300)))
    for key, added in (("a", 10), ("b", 0), ("c", 3)):
        assert [value for name, value in found if name == key] == [number + added for number in range(300)]


def test_what_the_branch_does_not_accept_passes_by():
    node = Parallel(Numbers(), {"a": [Adds()]}, Collects())
    assert set(objects(run_gadget(node, [make_message("text"), make_message(1)]))) == {"text", ("a", 2)}


def test_what_the_branch_may_not_pass_on_is_an_error():
    node = Parallel(Numbers(pass_on_undesired_data=False), {"a": []}, Collects())
    with pytest.raises(GadgetError, match="Numbers: got"):
        run_gadget(node, [make_message("text")])


def test_what_the_merge_does_not_take_from_a_stream_is_passed_on():
    class Picky(Collects):
        inputs: ClassVar = {"a": ((int,),)}

    class Names(Gadget1[int]):
        def process(self, m1: Container[int]) -> None:
            self.put_next(make_message(str(m1.object)))
            self.put_next(m1)

    found = objects(run_gadget(Parallel(Numbers(), {"a": [Names()]}, Picky()), numbers(2)))
    assert found == ["0", ("a", 0), "1", ("a", 1)]


def test_a_key_without_a_stream_is_an_error():
    class Lost(Branch):
        def process(self, message: MessageBlock) -> None:
            self.put_to("nowhere", message)

    with pytest.raises(GadgetError, match="Lost: there is no stream with the key 'nowhere' — streams: a, b"):
        run_gadget(Parallel(Lost(), {"a": [], "b": []}, Collects()), numbers(1))


def test_no_stream_waits_for_another_one():
    """One stream holds everything back until the end; meanwhile the other one brings more than any queue can hold."""

    class HoldsBack(Gadget):
        held: ClassVar[list[MessageBlock]] = []

        def process(self, message: MessageBlock) -> None:
            self.held.append(message)

        def close(self, flags: int) -> None:
            for message in self.held:
                self.put_next(message)

    class Pairs(Merge):
        def process(self, key: str, message: MessageBlock) -> None:
            self.stash(key, message)
            if self.n_stashed("slow") and self.n_stashed("fast"):
                slow, fast = objects([self.take("slow"), self.take("fast")])  # type: ignore[list-item]  # both are there
                self.put_next(make_message(slow == fast))

    n = 20 * LIMITS.queue_messages
    found = objects(run_gadget(Parallel(Numbers(), {"slow": [HoldsBack()], "fast": []}, Pairs()), numbers(n)))
    assert found == [True] * n


def test_what_is_stashed_is_bounded(monkeypatch):
    class Stashes(Merge):
        def process(self, key: str, message: MessageBlock) -> None:
            self.stash(key, message)

    class Half(Container[int]):
        @property
        def own_nbytes(self) -> int:
            return LIMITS.max_session_bytes // 2 - 1

    merge = Stashes()
    merge.stash("a", Half(1))
    merge.stash("b", Half(1))
    with pytest.raises(LimitExceeded, match="bytes that wait in Stashes for another stream"):
        merge.stash("a", Half(1))
    assert merge.take("a") is not None
    merge.stash("a", Half(1))
    assert (merge.n_stashed("a"), merge.n_stashed("b"), merge.n_stashed("c")) == (1, 1, 0)
    assert merge.take("c") is None


def test_parameters_and_the_end_come_once_and_in_order():
    events: list[object] = []
    slow_has_parameters = threading.Event()

    class Slow(Gadget):
        def process_config(self, parameters: ParametersMessage) -> None:
            slow_has_parameters.wait(0.05)  # the fast stream is ahead now

        def process(self, message: MessageBlock) -> None:
            self.put_next(message)

    class Notes(Collects):
        def process_config(self, parameters: ParametersMessage) -> None:
            events.append("parameters")

        def process(self, key: str, message: MessageBlock) -> None:
            events.append(key)

        def close(self, flags: int) -> None:
            events.append(f"close {flags}")

    run_gadget(Parallel(Numbers(), {"slow": [Slow()], "fast": []}, Notes()), numbers(3))
    assert events[0] == "parameters"
    assert events[-1] == "close 1"
    assert sorted(map(str, events[1:-1])) == ["fast"] * 3 + ["slow"] * 3


@pytest.mark.parametrize("place", ["branch", "stream", "merge", "behind"])
def test_a_failure_anywhere_ends_everything(place):
    class Fails(Gadget):
        def process(self, message: MessageBlock) -> None:
            raise ValueError("as the test wants it")

    class FailingBranch(Fails, Branch):
        pass

    class FailingMerge(Merge):
        def process(self, key: str, message: MessageBlock) -> None:
            raise ValueError("as the test wants it")

    node = Parallel(
        FailingBranch() if place == "branch" else Numbers(),
        {"a": [Adds(), Fails()] if place == "stream" else [], "b": [Adds()]},
        FailingMerge() if place == "merge" else Collects(),
    )
    for gadget in (node.branch, *node.streams["b"], node.merge):
        assert isinstance(gadget, Gadget)
        gadget.inbox = MessageQueue(max_messages=1)
    with pytest.raises(GadgetError, match="as the test wants it"):
        run_gadget([node, Fails()] if place == "behind" else node, numbers(5000), timeout_s=GUARD_S)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_pure_stream_keeps_the_order(workers):
    class Dawdles(Adds):
        def process(self, m1: Container[int]) -> None:
            threading.Event().wait(0.002 if m1.object % 5 == 0 else 0)
            number = m1.object
            if number % 3:  # some messages become none, some two
                super().process(m1)
                self.put_next(make_message(number + 0.5))

    stream = PureStream([Dawdles(), Adds(1)], workers)
    expected = [value for number in range(200) if number % 3 for value in (number + 2, number + 0.5)]
    assert objects(run_gadget(stream, numbers(200))) == expected
    assert stream.n_threads == workers


def test_the_gadgets_of_a_pure_stream_see_its_controller_and_are_named_when_they_fail():
    class Fails(Adds):
        def process(self, m1: Container[int]) -> None:
            if m1.object == 63:
                raise ValueError("as the test wants it")

    stream = PureStream([Adds(0), Fails()], 4)
    with pytest.raises(GadgetError, match="gadget adds1: ValueError: as the test wants it"):
        run_gadget(stream, numbers(64))
    # Whose output waits for the turn of the thread that took the message.
    assert {id(gadget.controller) for gadget in stream.gadgets} == {id(stream.controller)}


def test_a_pure_stream_takes_only_what_is_pure_and_may_be_empty():
    class Counts(Gadget1[int]):
        pass

    with pytest.raises(ConfigurationError, match="gadget Counts cannot be part of a purestream"):
        PureStream([Counts()])
    assert objects(run_gadget(PureStream([], 0), numbers(10))) == list(range(10))


def test_a_copy_shares_nothing():
    header = ismrmrd.AcquisitionHeader(scan_counter=3)
    meta = ismrmrd.Meta()
    meta["a"] = ["b", "c"]
    data = np.arange(6, dtype=np.complex64).reshape(2, 3)
    message = make_message(header, data[:, ::2], meta, {"x": [1]})
    found = objects([copy := copy_message(message), copy.cont, copy.cont.cont, copy.cont.cont.cont])  # type: ignore[union-attr,list-item]
    assert found[0].scan_counter == 3
    np.testing.assert_array_equal(found[1], [[0, 2], [3, 5]])
    assert not np.shares_memory(found[1], data)
    header.scan_counter = 4
    meta["a"] = "d"
    assert (found[0].scan_counter, found[2]["a"], found[3]) == (3, ["b", "c"], {"x": [1]})
