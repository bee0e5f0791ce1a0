"""The queue: order, bounds, the barrier around parameters and the end, and what happens when the consumer is gone."""

from __future__ import annotations

import queue
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gadgetron.errors import QueueClosed
from gadgetron.message import (
    BLOCK_OVERHEAD_BYTES,
    GadgetContainerMessage,
    MessageBlock,
    MessageKind,
    close_message,
    config_message,
)
from gadgetron.message_queue import MessageQueue

GUARD_S = 30.0


class Weight:
    """An object of a declared size."""

    def __init__(self, number: int, nbytes: int = 0) -> None:
        self.number = number
        self.nbytes = nbytes


def data(number: int = 0, nbytes: int = 0) -> GadgetContainerMessage[Weight]:
    return GadgetContainerMessage(Weight(number, nbytes))


def number_of(message: MessageBlock) -> int:
    assert isinstance(message, GadgetContainerMessage)
    number = message.object.number
    assert isinstance(number, int)
    return number


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run a function in a thread; the list gets its result, or what it raised."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def wait_until_waiting(inbox: MessageQueue, attribute: str, count: int = 1) -> None:
    """Wait until so many threads wait in the queue. The counters are guarded by its lock: nothing is missed."""
    guard = threading.Event()
    for _ in range(int(GUARD_S / 0.001)):
        with inbox.mutex:
            if getattr(inbox, attribute) >= count:
                return
        guard.wait(0.001)
    pytest.fail(f"{attribute} is {getattr(inbox, attribute)} of {count}")


@pytest.fixture
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_messages_come_out_in_the_order_in_which_they_went_in() -> None:
    inbox = MessageQueue()
    inbox.put(data(1))
    inbox.put_many([data(2), data(3)])
    assert [number_of(inbox.get()) for _ in range(3)] == [1, 2, 3]


def test_a_full_queue_refuses_without_waiting() -> None:
    inbox = MessageQueue(max_messages=2)
    inbox.put_many([data(), data()])
    with pytest.raises(queue.Full):
        inbox.put(data(), block=False)
    with pytest.raises(queue.Full):
        inbox.put(data(), timeout=0.001)


def test_bytes_fill_a_queue_as_messages_do() -> None:
    inbox = MessageQueue(max_bytes=1000 + BLOCK_OVERHEAD_BYTES)
    inbox.put(data(1, nbytes=999))
    inbox.put(data(2, nbytes=1), block=False)
    with pytest.raises(queue.Full):
        inbox.put(data(3), block=False)


def test_an_empty_queue_admits_one_message_of_any_size() -> None:
    inbox = MessageQueue(max_bytes=10)
    inbox.put(data(1, nbytes=10**9), block=False)
    assert number_of(inbox.get()) == 1


def test_a_large_message_waits_for_an_idle_consumer() -> None:
    inbox = MessageQueue(max_bytes=100_000)

    def put(message: MessageBlock) -> type[BaseException] | None:
        """Put in another thread than the consumer's; what it raised, if it did."""
        thread, outcome = in_thread(lambda: inbox.put(message, block=False))
        thread.join(GUARD_S)
        return type(outcome[0]) if outcome[0] is not None else None

    assert put(data(1, nbytes=50_001)) is None
    inbox.get_many(1)
    assert put(data(2, nbytes=50_001)) is queue.Full
    assert put(data(3)) is None  # a small one need not wait
    inbox.get_many(1)
    inbox.done()
    assert put(data(4, nbytes=50_001)) is queue.Full
    inbox.done()
    assert put(data(5, nbytes=50_001)) is None


def test_small_messages_wait_behind_a_large_one() -> None:
    inbox = MessageQueue(max_bytes=100_000)
    inbox.put(data(1))
    inbox.get_many(1)
    large, _ = in_thread(lambda: inbox.put(data(2, nbytes=60_000)))
    wait_until_waiting(inbox, "_waiting_large")
    small, _ = in_thread(lambda: inbox.put(data(3)))
    wait_until_waiting(inbox, "_waiting_putters", 2)
    assert inbox.qsize() == 0
    inbox.put(data(4), block=False)  # the consumer's own is none of others
    inbox.done()
    assert [number_of(inbox.get(timeout=GUARD_S)) for _ in range(3)] == [4, 2, 3]
    for thread in (large, small):
        thread.join(GUARD_S)


def test_a_consumer_may_put_a_large_message_to_itself() -> None:
    inbox = MessageQueue(max_bytes=100_000)
    inbox.put(data(1))
    inbox.get_many(1)
    inbox.put(data(2, nbytes=60_000), block=False)
    inbox.done()
    assert number_of(inbox.get()) == 2


def test_done_wakes_who_waits_with_a_large_message() -> None:
    inbox = MessageQueue(max_bytes=100_000)
    inbox.put(data(1, nbytes=60_000))
    inbox.get_many(1)
    thread, outcome = in_thread(lambda: inbox.put(data(2, nbytes=60_000)))
    wait_until_waiting(inbox, "_waiting_putters")
    inbox.done()
    assert number_of(inbox.get(timeout=GUARD_S)) == 2
    thread.join(GUARD_S)
    assert outcome == [None]


def test_a_second_idle_consumer_takes_a_large_message() -> None:
    inbox = MessageQueue(max_bytes=100_000)
    inbox.put(data(1, nbytes=60_000))
    inbox.get_many(1)  # the first consumer is at work
    producer, put = in_thread(lambda: inbox.put(data(2, nbytes=60_000)))
    wait_until_waiting(inbox, "_waiting_putters")
    consumer, taken = in_thread(lambda: number_of(inbox.get_many(1)[0]))
    for thread in (producer, consumer):
        thread.join(GUARD_S)
    assert (put, taken) == ([None], [2])


def test_parameters_and_the_end_are_always_admitted() -> None:
    inbox = MessageQueue(max_messages=1)
    inbox.put(data())
    inbox.put(config_message(b"<a/>"), block=False)
    inbox.put(close_message(), block=False)
    assert [message.kind for message in (inbox.get(), inbox.get(), inbox.get())] == list(MessageKind)


def test_an_empty_queue_gives_nothing() -> None:
    inbox = MessageQueue()
    with pytest.raises(queue.Empty):
        inbox.get(block=False)
    with pytest.raises(queue.Empty):
        inbox.get_many(1, timeout=0.001)
    assert inbox.get_nowait_many(4) == []


def test_get_wakes_a_blocked_producer() -> None:
    inbox = MessageQueue(max_messages=1)
    inbox.put(data(1))
    thread, outcome = in_thread(lambda: inbox.put(data(2)))
    wait_until_waiting(inbox, "_waiting_putters")
    assert number_of(inbox.get()) == 1
    assert number_of(inbox.get(timeout=GUARD_S)) == 2
    thread.join(GUARD_S)
    assert outcome == [None]


@pytest.mark.parametrize("n_producers", [1, 8])
def test_close_wakes_every_blocked_producer_with_queue_closed(n_producers: int) -> None:
    inbox = MessageQueue(max_messages=1)
    inbox.put(data())
    threads = [in_thread(lambda: inbox.put(data())) for _ in range(n_producers)]
    wait_until_waiting(inbox, "_waiting_putters", n_producers)
    assert inbox.close() == 1
    for thread, outcome in threads:
        thread.join(GUARD_S)
        assert isinstance(outcome[0], QueueClosed)


@pytest.mark.parametrize("n_consumers", [1, 8])
def test_close_wakes_every_blocked_consumer_with_queue_closed(n_consumers: int) -> None:
    inbox = MessageQueue()
    threads = [in_thread(lambda: inbox.get_many(4)) for _ in range(n_consumers)]
    wait_until_waiting(inbox, "_waiting_getters", n_consumers)
    inbox.close()
    for thread, outcome in threads:
        thread.join(GUARD_S)
        assert isinstance(outcome[0], QueueClosed)


def test_get_many_stops_before_parameters_and_the_end() -> None:
    inbox = MessageQueue()
    inbox.put_many([data(1), data(2), config_message(b"<a/>"), data(3), close_message()])
    kinds = []
    while True:
        batch = inbox.get_many(10)
        inbox.done()
        kinds.append([message.kind.name for message in batch])
        if batch[0].kind is MessageKind.CLOSE:
            break
    assert kinds == [["DATA", "DATA"], ["CONFIG"], ["DATA"], ["CLOSE"]]


def test_a_batch_of_messages_wakes_as_many_consumers_as_there_is_work_for() -> None:
    """None of them waits until another one is done."""
    inbox = MessageQueue()
    threads = [in_thread(lambda: inbox.get_many(1)) for _ in range(4)]
    wait_until_waiting(inbox, "_waiting_getters", 4)
    inbox.put_many([data(number) for number in range(4)])
    for thread, _ in threads:
        thread.join(GUARD_S)
    taken = [outcome[0] for _, outcome in threads if outcome]
    assert sorted(number_of(batch[0]) for batch in taken if isinstance(batch, list)) == [0, 1, 2, 3]


def test_parameters_wait_until_every_batch_before_them_is_done() -> None:
    inbox = MessageQueue()
    inbox.put_many([data(1), data(2), config_message(b"<a/>"), data(3)])
    inbox.get_many(1)
    inbox.get_many(1)
    thread, outcome = in_thread(lambda: inbox.get_many(4))
    wait_until_waiting(inbox, "_waiting_getters")
    inbox.done()
    assert not outcome
    inbox.done()
    thread.join(GUARD_S)
    assert isinstance(outcome[0], list)
    assert outcome[0][0].kind is MessageKind.CONFIG
    assert inbox.get_nowait_many(4) == []  # what follows waits for the parameters to be done
    inbox.done()
    assert [number_of(message) for message in inbox.get_nowait_many(4)] == [3]


@pytest.mark.parametrize("n_threads", [1, 2, 8])
def test_the_barrier_holds_with_many_threads(n_threads: int, switch_often: None) -> None:
    inbox = MessageQueue(max_messages=4)
    n_sections, n_data = 40, 7
    lock = threading.Lock()
    log: list[tuple[str, int]] = []
    active: set[int] = set()

    def serve() -> None:
        while True:
            try:
                batch = inbox.get_many(3)
            except QueueClosed:
                return
            kind = batch[0].kind
            with lock:
                if kind is not MessageKind.DATA:
                    assert not active, "parameters were handed out while data was in flight"
                active.add(threading.get_ident())
                log.extend((kind.name, getattr(getattr(message, "_object", None), "number", -1)) for message in batch)
            with lock:
                active.discard(threading.get_ident())
            inbox.done()
            if kind is MessageKind.CLOSE:
                inbox.close()

    threads = [in_thread(serve) for _ in range(n_threads)]
    for section in range(n_sections):
        inbox.put(config_message(b"<a/>"))
        for number in range(n_data):
            inbox.put(data(section * n_data + number))
    inbox.put(close_message())
    for thread, outcome in threads:
        thread.join(GUARD_S)
        assert outcome == [None]
    sections: list[list[int]] = []
    for kind, number in log:
        if kind == "CONFIG":
            sections.append([])
        elif kind == "DATA":
            sections[-1].append(number)
    assert [sorted(section) for section in sections] == [
        list(range(section * n_data, (section + 1) * n_data)) for section in range(n_sections)
    ]


def test_a_timeout_that_races_with_a_put_loses_nothing(switch_often: None) -> None:
    """A getter that is notified while its timeout passes must still hand the message on or take it."""
    inbox = MessageQueue()
    n_messages = 2000
    received: list[int] = []
    lock = threading.Lock()

    def consume() -> None:
        while True:
            try:
                message = inbox.get(timeout=0.0001)
            except queue.Empty:
                continue
            except QueueClosed:
                return
            with lock:
                received.append(number_of(message))
                if len(received) == n_messages:
                    inbox.close()

    threads = [in_thread(consume) for _ in range(4)]
    for number in range(n_messages):
        inbox.put(data(number))
    for thread, outcome in threads:
        thread.join(GUARD_S)
        assert outcome == [None]
    assert sorted(received) == list(range(n_messages))


def test_every_message_arrives_once_with_many_producers_and_consumers(switch_often: None) -> None:
    inbox = MessageQueue(max_messages=3)
    n_producers, n_each = 8, 250
    lock = threading.Lock()
    received: list[int] = []

    def produce(first: int) -> None:
        rng = random.Random(first)
        number = first
        while number < first + n_each:
            size = min(rng.randint(1, 5), first + n_each - number)
            inbox.put_many([data(n) for n in range(number, number + size)])
            number += size

    def consume() -> None:
        while True:
            try:
                batch = inbox.get_many(4)
            except QueueClosed:
                return
            with lock:
                received.extend(map(number_of, batch))
                if len(received) == n_producers * n_each:
                    inbox.close()
            inbox.done()

    consumers = [in_thread(consume) for _ in range(8)]
    producers = [in_thread(lambda first=first: produce(first)) for first in range(0, n_producers * n_each, n_each)]
    for thread, outcome in [*producers, *consumers]:
        thread.join(GUARD_S)
        assert outcome == [None]
    assert sorted(received) == list(range(n_producers * n_each))


def test_statistics_and_repr_tell_the_state() -> None:
    inbox = MessageQueue(max_messages=4, max_bytes=100_000)
    inbox.put_many([data(1, 1000), data(2, 2000)])
    inbox.get()
    statistics = inbox.statistics()
    assert (statistics.messages, statistics.nbytes) == (1, 2000 + BLOCK_OVERHEAD_BYTES)
    assert (statistics.peak_nbytes, statistics.put) == (3000 + 2 * BLOCK_OVERHEAD_BYTES, 2)
    assert not statistics.is_closed
    assert repr(inbox) == f"<MessageQueue 1/4 messages, {2000 + BLOCK_OVERHEAD_BYTES}/100000 bytes, open>"
    inbox.close()
    assert inbox.is_closed
    assert inbox.nbytes == 0
    assert "closed" in repr(inbox)


class QueueAgainstModel(RuleBasedStateMachine):
    """Random operations of one thread, against a list and three numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = MessageQueue(max_messages=3, max_bytes=3 * BLOCK_OVERHEAD_BYTES + 100)
        self.model: deque[MessageBlock] = deque()
        self.in_flight: list[list[MessageBlock]] = []
        self.closed = False

    def has_room(self) -> bool:
        nbytes = sum(message.nbytes for message in self.model)
        return not self.model or (len(self.model) < 3 and nbytes < self.inbox.max_bytes)

    def expected_batch(self, limit: int) -> list[MessageBlock]:
        if not self.model or any(batch[0].kind is not MessageKind.DATA for batch in self.in_flight):
            return []
        if self.model[0].kind is not MessageKind.DATA:
            return [] if self.in_flight else [self.model[0]]
        batch: list[MessageBlock] = []
        for message in self.model:
            if message.kind is not MessageKind.DATA or len(batch) == limit:
                break
            batch.append(message)
        return batch

    @rule(nbytes=st.integers(0, 200))
    def put_data(self, nbytes: int) -> None:
        message = data(0, nbytes)
        if not self.closed and not self.has_room():
            with pytest.raises(queue.Full):
                self.inbox.put(message, block=False)
        else:
            self.put(message)

    @rule(is_close=st.booleans())
    def put_control(self, is_close: bool) -> None:
        self.put(close_message() if is_close else config_message(b"<a/>"))

    def put(self, message: MessageBlock) -> None:
        if self.closed:
            with pytest.raises(QueueClosed):
                self.inbox.put(message, block=False)
        else:
            self.inbox.put(message, block=False)
            self.model.append(message)

    @rule(limit=st.integers(1, 4))
    def get(self, limit: int) -> None:
        if self.closed:
            with pytest.raises(QueueClosed):
                self.inbox.get_many(limit, 0.0)
            return
        expected = self.expected_batch(limit)
        assert self.inbox.get_nowait_many(limit) == expected
        if expected:
            self.in_flight.append(expected)
            for _ in expected:
                self.model.popleft()

    @precondition(lambda self: self.in_flight)
    @rule(index=st.integers(0, 9))
    def done(self, index: int) -> None:
        self.in_flight.pop(index % len(self.in_flight))
        self.inbox.done()

    @rule()
    def close(self) -> None:
        dropped = sum(message.kind is MessageKind.DATA for message in self.model)
        assert self.inbox.close() == dropped
        self.model.clear()
        self.closed = True

    @invariant()
    def counts_agree(self) -> None:
        statistics = self.inbox.statistics()
        assert statistics.messages == len(self.model) == self.inbox.qsize()
        assert statistics.nbytes == sum(message.nbytes for message in self.model)
        assert statistics.is_closed is self.closed


QueueAgainstModel.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_random_operations_agree_with_a_model = QueueAgainstModel.TestCase
