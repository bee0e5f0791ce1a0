"""Gadgets: matching, hooks, batches, several threads, and how they end and fail."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import structlog
from ismrmrd import AcquisitionHeader, ImageHeader, Meta

from gadgetron import Array, Container, Gadget, Gadget1, Gadget2, Gadget3, Property
from gadgetron.errors import GadgetError, PropertyError, QueueClosed
from gadgetron.gadget import CLOSE_ABORTED, CLOSE_NORMAL, GADGET_FAIL, GADGET_OK
from gadgetron.limits import Limits
from gadgetron.message import (
    GadgetContainerMessage,
    GadgetMessageIdentifier,
    MessageBlock,
    ParametersMessage,
    close_message,
    config_message,
    make_message,
)
from gadgetron.message_queue import MessageQueue
from gadgetron.stream import EndGadget, Stream
from gadgetron.testing import check_gadget_drains, run_gadget

GUARD_S = 30.0


def numbers(count: int, first: int = 0) -> list[MessageBlock]:
    return [GadgetContainerMessage(number) for number in range(first, first + count)]


def values(messages: Sequence[MessageBlock]) -> list[Any]:
    return [message.object for message in messages if isinstance(message, GadgetContainerMessage)]


class Adds(Gadget1[int]):
    amount = Property(1)

    def process(self, m1: Container[int]) -> None:
        m1.object += self.amount
        self.put_next(m1)


class ThreadedAdds(Adds):
    thread_safe = True


class Records(Gadget):
    """Notes every call of a hook."""

    def __init__(self, **properties: object) -> None:
        super().__init__(**properties)
        self.calls: list[object] = []
        self.threads_seen: set[int] = set()

    def process_config(self, parameters: ParametersMessage) -> None:
        self.note(parameters.text)

    def process(self, message: MessageBlock) -> None:
        self.note("data")
        self.put_next(message)

    def close(self, flags: int) -> None:
        self.note(flags)

    def note(self, what: object) -> None:
        self.calls.append(what)
        self.threads_seen.add(threading.get_ident())


def test_a_gadget_takes_and_puts_in_order() -> None:
    assert values(run_gadget(Adds(), numbers(1000))) == list(range(1, 1001))


def test_hooks_run_in_order_in_the_gadget_s_own_thread() -> None:
    gadget = Records()
    run_gadget(gadget, [*numbers(2), config_message("second"), *numbers(1)], "first")
    assert gadget.calls == ["first", "data", "data", "second", "data", CLOSE_NORMAL]
    assert gadget.threads_seen.isdisjoint({threading.get_ident()})
    assert len(gadget.threads_seen) == 1


def test_close_runs_without_any_data_and_before_the_neighbour_s() -> None:
    order: list[str] = []

    class Notes(Gadget):
        def close(self, flags: int) -> None:
            order.append(self.name)
            self.put_next(GadgetContainerMessage(self.name))

        def process(self, message: MessageBlock) -> None:
            order.append(f"{self.name} gets {values([message])[0]}")
            self.put_next(message)

    found = run_gadget([Notes("a"), Notes("b"), Notes("c")], [])
    assert values(found) == ["a", "b", "c"]
    assert order.index("a") < order.index("b gets a") < order.index("b") < order.index("c gets b") < order.index("c")


def test_a_gadget_may_emit_without_input() -> None:
    class Source(Gadget):
        def process_config(self, parameters: ParametersMessage) -> None:
            for message in numbers(200):
                self.put_next(message)

    assert values(run_gadget([Source(), Adds()], [])) == list(range(1, 201))


def test_typed_gadgets_match_first_blocks_and_pass_the_rest_on() -> None:
    seen: list[tuple[object, ...]] = []

    class Two(Gadget2[AcquisitionHeader, Array[np.complex64]]):
        def process(self, m1: Container[Any], m2: Container[Any]) -> None:
            seen.append((type(m1.object), m2.object.dtype))

    class Three(Gadget3[ImageHeader, Array[np.float32] | Array[np.uint16], Meta]):
        def process(self, m1: Container[Any], m2: Container[Any], m3: Container[Any]) -> None:
            seen.append((type(m1.object), m2.object.dtype, m3.object["a"]))

    readout = make_message(AcquisitionHeader(), np.zeros((1, 2), np.complex64), np.zeros((2, 2), np.float32))
    wrong_dtype = make_message(AcquisitionHeader(), np.zeros((1, 2), np.complex128))
    image = make_message(ImageHeader(), np.zeros((1, 1, 1, 1), np.uint16), Meta({"a": "b"}))
    short = make_message(ImageHeader(), np.zeros((1, 1, 1, 1), np.uint16))
    plain = MessageBlock()
    found = run_gadget([Two(), Three()], [readout, wrong_dtype, image, short, plain])
    assert found == [wrong_dtype, short, plain]
    assert seen == [(AcquisitionHeader, np.complex64), (ImageHeader, np.uint16, "b")]


def test_what_a_gadget_accepts_is_derived_from_its_bases() -> None:
    class Derived(Adds):
        pass

    assert Adds.accepts == ((int,),)
    assert Derived.accepts == ((int,),)
    assert Gadget.accepts == ((Any,),)


def test_what_does_not_match_is_an_error_if_it_may_not_pass() -> None:
    with pytest.raises(GadgetError, match=r"Adds: got .*str.*expected int.*pass_on_undesired_data is false"):
        run_gadget(Adds(pass_on_undesired_data=False), [GadgetContainerMessage("text")])


@pytest.mark.parametrize("result", [None, GADGET_OK, 7])
def test_results_that_mean_success(result: object) -> None:
    class Returns(Gadget):
        def process(self, message: MessageBlock) -> object:
            return result

    assert run_gadget(Returns(), numbers(3)) == []


def test_gadget_fail_fails() -> None:
    class Returns(Gadget):
        def process(self, message: MessageBlock) -> int:
            return GADGET_FAIL

    with pytest.raises(GadgetError, match="Returns: returned GADGET_FAIL"):
        run_gadget(Returns(), numbers(3))


@pytest.mark.parametrize("hook", ["process_config", "process", "process_many", "close"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("class_", [Adds, ThreadedAdds])
def test_a_failing_hook_names_the_gadget_and_its_cause(hook: str, threads: int, class_: type[Gadget]) -> None:
    cause = ZeroDivisionError("as the test wants it")

    def fail(*_args: object) -> None:
        raise cause

    gadget = class_("culprit", threads=threads)
    setattr(gadget, hook, fail)
    with pytest.raises(GadgetError, match="culprit: ZeroDivisionError: as the test wants it") as caught:
        run_gadget([Adds("before"), gadget, Adds("after")], numbers(300))
    assert caught.value.__cause__ is cause
    assert caught.value.gadget == "culprit"


def test_close_runs_once_in_every_gadget_when_one_fails() -> None:
    class Fails(Gadget):
        def process(self, message: MessageBlock) -> None:
            raise ValueError("as the test wants it")

    chain: list[Gadget] = [Records(), Records(threads=3), Fails(), Records()]
    with pytest.raises(GadgetError, match="Fails"):
        run_gadget(chain, numbers(500))
    for gadget in chain:
        if isinstance(gadget, Records):
            assert gadget.calls.count(CLOSE_ABORTED) == 1, gadget
            assert CLOSE_NORMAL not in gadget.calls
            assert gadget.calls[-1] == CLOSE_ABORTED


def test_a_close_hook_that_fails_after_a_failure_is_only_logged() -> None:
    class Fails(Gadget):
        def process(self, message: MessageBlock) -> None:
            raise ValueError("first")

        def close(self, flags: int) -> None:
            raise ValueError("second")

    with pytest.raises(GadgetError, match="first"):
        run_gadget(Fails(), numbers(1))


def test_a_queue_of_its_own_that_ends_is_a_gadget_s_failure() -> None:
    """It ended the gadget without a word once, and its session waited for ever."""

    class HasItsOwn(Gadget):
        def process(self, message: MessageBlock) -> None:
            inner = MessageQueue()
            inner.close()
            inner.put(message)

    with pytest.raises(GadgetError, match="HasItsOwn: QueueClosed"):
        run_gadget([Adds(), HasItsOwn("HasItsOwn"), Adds()], numbers(3))


def test_a_blocked_producer_wakes_when_its_consumer_fails() -> None:
    blocked = threading.Event()

    class Floods(Gadget):
        def process_config(self, parameters: ParametersMessage) -> None:
            while True:
                self.put_next(GadgetContainerMessage(0))
                if self.next().inbox.qsize() >= 60:
                    blocked.set()

    class FailsWhenFull(Gadget):
        def process_many(self, messages: Sequence[MessageBlock]) -> None:
            assert blocked.wait(GUARD_S)
            raise ValueError("as the test wants it")

    with pytest.raises(GadgetError, match="FailsWhenFull"):
        run_gadget([Floods(), FailsWhenFull()], [])


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("class_", [Adds, ThreadedAdds])
def test_order_is_kept_however_many_threads(threads: int, class_: type[Gadget]) -> None:
    rng = random.Random(threads)
    gadget = class_(threads=threads)
    pause = threading.Event()
    process = gadget.process

    def slow(message: MessageBlock) -> Any:
        pause.wait(rng.random() * 0.0005)
        return process(message)

    gadget.process = slow  # type: ignore[method-assign]  # this instance only
    messages: list[MessageBlock] = []
    for section in range(10):
        messages += [config_message(str(section)), *numbers(20, section * 20)]
    assert values(run_gadget([gadget, ThreadedAdds(threads=threads)], messages)) == list(range(2, 202))
    assert gadget.messages_in == gadget.messages_out == 200


def test_a_class_that_is_not_thread_safe_processes_one_at_a_time() -> None:
    class OneAtATime(Gadget):
        def __init__(self, **properties: object) -> None:
            super().__init__(**properties)
            self.inside = threading.Lock()

        def process(self, message: MessageBlock) -> None:
            assert self.inside.acquire(blocking=False)
            threading.Event().wait(0.0001)
            self.inside.release()
            self.put_next(message)

    assert values(run_gadget(OneAtATime(threads=8), numbers(300))) == list(range(300))


def test_a_thread_safe_class_does_process_several_at_once() -> None:
    together = threading.Barrier(3)

    class Meets(Gadget):
        thread_safe = True

        def process(self, message: MessageBlock) -> None:
            together.wait(GUARD_S)
            self.put_next(message)

    assert values(run_gadget(Meets(threads=3), numbers(3))) == [0, 1, 2]


def test_a_thread_that_waits_for_its_turn_wakes_when_the_one_before_it_fails() -> None:
    second_is_done = threading.Event()

    class FirstFails(Gadget):
        thread_safe = True

        def process_many(self, messages: Sequence[MessageBlock]) -> None:
            if values(messages)[0] == 0:
                assert second_is_done.wait(GUARD_S)
                raise ValueError("as the test wants it")
            self.put_next(messages[0])
            second_is_done.set()  # and then it waits for its turn, which never comes

    with pytest.raises(GadgetError, match="as the test wants it"):
        run_gadget(FirstFails(threads=2), numbers(2))


def test_the_close_hook_runs_after_an_abort_only_when_no_thread_is_inside() -> None:
    entered, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    class OneIsInside(Gadget):
        thread_safe = True

        def process(self, message: MessageBlock) -> None:
            entered.set()
            assert go_on.wait(GUARD_S)
            order.append("process")

        def close(self, flags: int) -> None:
            order.append("close")

    gadget = OneIsInside(threads=3)
    stream = Stream([gadget], EndGadget(lambda _messages: None, lambda: None))
    stream.open()
    stream.putq(MessageBlock())
    assert entered.wait(GUARD_S)
    stream.abort()
    for thread in gadget.running_threads:
        thread.join(0.05)  # the two that are not inside end
    go_on.set()
    assert stream.wait(GUARD_S)
    assert order == ["process", "close"]


@pytest.mark.parametrize("threads", [1, 4])
def test_output_ready_keeps_the_order_too(threads: int) -> None:
    class Sends(Gadget):
        thread_safe = True

        def process(self, message: MessageBlock) -> None:
            self.controller.output_ready(GadgetContainerMessage(GadgetMessageIdentifier(1), message))

    found = run_gadget(Sends(threads=threads), numbers(50))
    # A test's controller does not hold threads back, the session's does; all the messages are there.
    assert sorted(values([block.cont for block in found if block.cont is not None])) == list(range(50))


def test_a_batch_goes_downstream_in_one_operation_up_to_a_limit() -> None:
    puts: list[int] = []

    class Doubles(Gadget):
        def process_many(self, messages: Sequence[MessageBlock]) -> None:
            for message in messages:
                self.put_next(message)
                self.put_next(GadgetContainerMessage(-1))

    def deliver(messages: Sequence[MessageBlock]) -> None:
        puts.append(len(messages))

    ended = threading.Event()
    gadget = Doubles()
    for message in numbers(64):
        gadget.putq(message)
    gadget.putq(close_message())
    stream = Stream([gadget], EndGadget(deliver, ended.set))
    stream.open()
    assert ended.wait(GUARD_S)
    assert stream.wait(GUARD_S)
    assert puts == [64, 64]


def test_large_outputs_go_on_before_the_batch_is_done() -> None:
    class Large(Gadget):
        def process(self, message: MessageBlock) -> None:
            self.put_next(GadgetContainerMessage(np.zeros(5 << 20, np.uint8)))

    gadget = Large()
    for message in numbers(8):
        gadget.putq(message)
    gadget.putq(close_message())
    puts: list[int] = []
    ended = threading.Event()
    stream = Stream([gadget], EndGadget(lambda messages: puts.append(len(messages)), ended.set))
    stream.open()
    assert ended.wait(GUARD_S)
    assert stream.wait(GUARD_S)
    assert puts == [1] * 8


def test_an_idle_gadget_does_not_keep_its_last_message() -> None:
    import weakref

    class Kept:
        pass

    class Swallows(Gadget):
        def process(self, message: MessageBlock) -> None:
            processed.set()

    processed = threading.Event()
    stream = Stream([Swallows()], EndGadget(lambda _messages: None, lambda: None))
    stream.open()
    kept = Kept()
    is_gone = threading.Event()
    weakref.finalize(kept, is_gone.set)
    stream.putq(GadgetContainerMessage(kept))
    assert processed.wait(GUARD_S)
    del kept
    assert is_gone.wait(GUARD_S)
    stream.abort()
    assert stream.wait(GUARD_S)


def test_properties_are_read_by_the_getters_of_the_c_plus_plus_classes() -> None:
    class Many(Gadget):
        accepts_any_property = True
        number = Property(2.5)
        flag = Property(True)

    gadget = Many(any_name="17")
    assert gadget.get_double_value("number") == 2.5
    assert gadget.get_bool_value("flag") is True
    assert gadget.get_int_value("any_name") == 17
    assert gadget.get_string_value("any_name") == "17"
    assert gadget.get_int_value("never_set") == 0
    assert gadget.get_bool_value("never_set") is False
    with pytest.raises(PropertyError, match="expected true or false"):
        gadget.get_bool_value("any_name")
    with pytest.raises(PropertyError, match="expected a number"):
        Many(word="abc").get_double_value("word")


@pytest.mark.parametrize(
    "use",
    [
        lambda gadget: gadget.put_next(MessageBlock()),
        lambda gadget: gadget.controller.output_ready(MessageBlock()),
        lambda gadget: gadget.working_directory,
    ],
)
def test_a_gadget_outside_a_chain_says_so(use: Callable[[Gadget], object]) -> None:
    with pytest.raises(GadgetError):
        use(Adds())


def test_a_gadget_outside_a_chain_has_no_neighbours() -> None:
    assert Adds().controller.find_gadget("x") is None
    assert Adds().controller.parameter("x") is None


def test_process_must_be_implemented() -> None:
    with pytest.raises(GadgetError, match="does not implement process"):
        run_gadget(Gadget(), numbers(1))


@pytest.mark.parametrize("class_", [Adds, ThreadedAdds])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_conformance_check_accepts_these(class_: type[Gadget], threads: int) -> None:
    check_gadget_drains(lambda: class_(threads=threads), lambda: numbers(100))


def test_the_conformance_check_notices_a_gadget_that_remembers() -> None:
    seen: list[int] = []

    class Remembers(Adds):
        def process(self, m1: Container[int]) -> None:
            seen.append(m1.object)
            self.put_next(GadgetContainerMessage(len(seen)))

    with pytest.raises(AssertionError, match="other results"):
        check_gadget_drains(Remembers, lambda: numbers(3))


def test_aborting_drops_what_waits_and_raises_queue_closed_upstream() -> None:
    gadget = Adds()
    gadget.putq(GadgetContainerMessage(1))
    assert gadget.abort() == 1
    with pytest.raises(QueueClosed):
        gadget.putq(close_message())
    assert gadget.inbox.statistics().is_closed


class Exports(Adds):
    def process(self, m1: Container[int]) -> None:
        self.log.debug("number.came", number=m1.object)
        self.debug_array("a stage/of it", np.full(3, m1.object))
        super().process(m1)


def test_debug_folder_gets_arrays_in_order(tmp_path):
    assert values(run_gadget(Exports("My Gadget", debug_folder="here"), numbers(2), working_directory=tmp_path)) == [
        1,
        2,
    ]
    files = sorted((tmp_path / "here").iterdir())
    assert [file.name for file in files] == [f"test_My%20Gadget_000{i}_a%20stage%2Fof%20it.npy" for i in (1, 2)]
    np.testing.assert_array_equal(np.load(files[1]), [1, 1, 1])
    run_gadget(Exports(), numbers(1), working_directory=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("obstacle", ["limit", "file"])
def test_arrays_that_cannot_be_written_are_one_warning(obstacle, tmp_path, capsys, monkeypatch):
    if obstacle == "limit":
        monkeypatch.setattr("gadgetron.debug_arrays.LIMITS", Limits(max_debug_bytes=20))
    else:
        (tmp_path / "here").write_text("a file")
    run_gadget(Exports(debug_folder="here"), numbers(3), working_directory=tmp_path)
    assert capsys.readouterr().out.count("debug_folder.not_written") == 1
    assert not list(tmp_path.glob("here/*.npy"))


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_shows_the_debug_records_of_that_gadget(verbose, capsys):
    with structlog.testing.capture_logs() as records:
        run_gadget(Exports(verbose=verbose), numbers(1))
    level = "info" if verbose else "debug"
    assert [r["log_level"] for r in records if r["event"] in ("number.came", "array")] == [level, level]
    assert ("gadget.batch" in [r["event"] for r in records]) == verbose
