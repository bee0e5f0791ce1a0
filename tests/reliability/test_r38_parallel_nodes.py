"""R38 and R35 for chains with parallel nodes: random trees of streams, tiny queues, parameters in between, failures."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest

from gadgetron import Branch, Fanout, Gadget, Merge
from gadgetron.errors import QueueClosed
from gadgetron.message import GadgetContainerMessage, MessageBlock, ParametersMessage, config_message
from gadgetron.message_queue import MessageQueue
from gadgetron.nodes import Node, Parallel, PureStream, all_gadgets, running_gadgets
from gadgetron.stream import EndGadget, Stream

SAMPLE, FULL = 300, 10_000
GUARD_S = 60.0


class Watches(Gadget):
    """Notes parameters, and that every message comes in its section."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(f"g{rng.randrange(10**9)}")
        self.rng = rng
        self.inbox = MessageQueue(max_messages=rng.randint(1, 4), max_bytes=rng.choice((1, 2000, 1 << 20)))
        self.sections: list[int] = []
        self.closes: list[int] = []
        self.fails_at = -1
        self._moment = threading.Event()

    def process_config(self, parameters: ParametersMessage) -> None:
        self.sections.append(int(parameters.text))

    def look_at(self, message: MessageBlock) -> int:
        number = number_of(message)
        if number // 1000 != self.sections[-1]:
            raise AssertionError(f"{number} came in section {self.sections[-1]}")
        if number == self.fails_at:
            raise ValueError("as the test wants it")
        if self.rng.random() < 0.05:
            self._moment.wait(self.rng.random() * 0.001)
        return number

    def close(self, flags: int) -> None:
        self.closes.append(flags)


def number_of(message: MessageBlock) -> int:
    if not isinstance(message, GadgetContainerMessage):
        raise TypeError(repr(message))
    number: int = message.object
    return number


class Passes(Watches):
    thread_safe = True

    def process(self, message: MessageBlock) -> None:
        self.look_at(message)
        self.put_next(message)


class HoldsBack(Watches):
    """Holds messages back until there are some, or parameters or the end come."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._held: list[MessageBlock] = []

    def process(self, message: MessageBlock) -> None:
        self.look_at(message)
        self._held.append(message)
        if len(self._held) > 3:
            self._release()

    def process_config(self, parameters: ParametersMessage) -> None:
        self._release()
        super().process_config(parameters)

    def close(self, flags: int) -> None:
        super().close(flags)
        if flags:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self.put_next(message)


class Copies(Watches, Fanout):
    def process(self, message: MessageBlock) -> None:
        self.look_at(message)
        super().process(message)


class Deals(Watches, Branch):
    """Puts each message to one of the streams, mostly the same one as before."""

    last = 0

    def process(self, message: MessageBlock) -> None:
        self.look_at(message)
        if self.rng.random() < 0.2:
            self.last = self.rng.randrange(len(self.stream_keys))
        self.put_to(self.stream_keys[self.last], message)


class Joins(Watches, Merge):
    """Puts a message when every stream has brought its copy."""

    n_streams = 0

    def process(self, key: str, message: MessageBlock) -> None:
        self.look_at(message)
        self.stash(key, message)
        if all(self.n_stashed(name) for name in map(str, range(self.n_streams))):
            first, *others = [self.take(name) for name in map(str, range(self.n_streams))]
            if first is None or any(other is None or number_of(other) != number_of(first) for other in others):
                raise AssertionError("the copies of a message do not come in the same order")
            self.put_next(first)


class Sorts(Watches, Merge):
    """Puts messages in the order of their numbers."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._waiting: dict[int, MessageBlock] = {}
        self._next_number = 0

    def process_config(self, parameters: ParametersMessage) -> None:
        if self._waiting:
            raise AssertionError("parameters came before messages that were put before them")
        super().process_config(parameters)
        self._next_number = int(parameters.text) * 1000

    def process(self, key: str, message: MessageBlock) -> None:
        self._waiting[self.look_at(message)] = message
        while self._next_number in self._waiting:
            self.put_next(self._waiting.pop(self._next_number))
            self._next_number += 1


def draw(rng: random.Random) -> random.Random:
    return random.Random(rng.random())


def random_nodes(rng: random.Random, depth: int = 0, *, gets_all: bool = True) -> list[Node]:
    return [random_node(rng, depth, gets_all) for _ in range(rng.randint(0, 3))]


def random_node(rng: random.Random, depth: int = 0, gets_all: bool = True) -> Node:
    """Make a node. Messages can be dealt out, and sorted again, only where all of them come along."""
    kind = rng.random()
    if kind < 0.4 and depth < 2:
        deals = gets_all and rng.random() < 0.5
        streams = {
            str(key): random_nodes(rng, depth + 1, gets_all=gets_all and not deals) for key in range(rng.randint(1, 3))
        }
        if deals:
            return Parallel(Deals(draw(rng)), streams, Sorts(draw(rng)))
        join = Joins(draw(rng))
        join.n_streams = len(streams)
        return Parallel(Copies(draw(rng)), streams, join)
    if kind < 0.6:
        pure = PureStream([Passes(draw(rng)) for _ in range(rng.randint(0, 3))], rng.randint(1, 4))
        pure.inbox = MessageQueue(max_messages=rng.randint(1, 4))
        return pure
    gadget = (Passes if rng.random() < 0.7 else HoldsBack)(draw(rng))
    gadget.threads = rng.randint(1, 3)
    return gadget


class Run:
    """A random tree of nodes, and what comes out of it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.nodes = [*random_nodes(self.rng), random_node(self.rng), *random_nodes(self.rng)]
        self.found: list[int] = []
        self.failures: list[BaseException] = []
        self.ended = threading.Event()
        self.stream = Stream(self.nodes, EndGadget(self.deliver, self.ended.set), on_failure=self.failed)

    def deliver(self, messages: Sequence[MessageBlock]) -> None:
        self.found.extend(map(number_of, messages))

    def failed(self, _task: object, error: BaseException) -> None:
        self.failures.append(error)
        self.stream.abort()
        self.ended.set()

    def feed(self) -> list[int]:
        """Put parameters, messages and the end; gives the numbers."""
        numbers = []
        for section in range(self.rng.randint(1, 4)):
            self.stream.putq(config_message(str(section)))
            for index in range(self.rng.randint(0, 40)):
                self.stream.putq(GadgetContainerMessage(section * 1000 + index))
                numbers.append(section * 1000 + index)
        self.stream.close()
        return numbers

    @property
    def watching(self) -> list[Watches]:
        return [gadget for gadget in all_gadgets(self.nodes) if isinstance(gadget, Watches)]


def run_to_the_end(seed: int) -> None:
    run = Run(seed)
    run.stream.open()
    numbers = feed_while_possible(run)
    assert run.ended.wait(GUARD_S), f"seed {seed}: hangs: {run.stream.gadgets}"
    assert run.stream.wait(GUARD_S), f"seed {seed}"
    assert not run.failures, f"seed {seed}: {run.failures}"
    assert run.found == numbers, f"seed {seed}"
    n_sections = max((number // 1000 for number in numbers), default=0) + 1
    for gadget in run.watching:
        assert gadget.sections[:n_sections] == list(range(n_sections)), f"seed {seed}: {gadget}"
        assert gadget.sections == list(range(len(gadget.sections))), f"seed {seed}: {gadget}"
        assert gadget.closes == [1], f"seed {seed}: {gadget}"


def run_to_a_failure(seed: int) -> None:
    run = Run(seed)
    watching = run.watching
    if not watching:
        return
    sinner = run.rng.choice(watching)
    sinner.fails_at = run.rng.randint(0, 5)
    run.stream.open()
    feeder = threading.Thread(target=feed_while_possible, args=(run,))
    feeder.start()
    assert run.ended.wait(GUARD_S), f"seed {seed}: hangs: {run.stream.gadgets}"
    feeder.join(GUARD_S)
    assert not feeder.is_alive(), f"seed {seed}: who puts at the head was not woken"
    assert run.stream.wait(GUARD_S), f"seed {seed}: {run.stream.gadgets}"
    if run.failures:
        assert sinner.name in str(run.failures[0]), f"seed {seed}: {run.failures[0]}"
    for gadget in running_gadgets(run.nodes):
        assert not gadget.running_threads, f"seed {seed}"


def feed_while_possible(run: Run) -> list[int]:
    """Feed until nobody takes any more."""
    with suppress(QueueClosed):
        return run.feed()
    return []


@pytest.mark.slow
def test_every_message_arrives_once_and_in_order_through_parallel_nodes(full_counts: bool) -> None:
    for seed in range(FULL if full_counts else SAMPLE):
        run_to_the_end(seed)


@pytest.mark.slow
def test_a_failure_anywhere_ends_parallel_nodes(full_counts: bool) -> None:
    for seed in range(FULL if full_counts else SAMPLE):
        run_to_a_failure(seed)
