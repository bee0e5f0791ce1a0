"""R38: random chains with random threads, delays and tiny queues: every message once, in order, to the end."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest

from gadgetron import Container, Gadget, Gadget1
from gadgetron.message import GadgetContainerMessage, MessageBlock, ParametersMessage, config_message
from gadgetron.message_queue import MessageQueue
from gadgetron.stream import EndGadget, Stream

SAMPLE, FULL = 500, 10_000
GUARD_S = 60.0


class Passes(Gadget1[int]):
    """Passes numbers on, now and then after a moment; notes parameters, and what came between them."""

    def __init__(self, name: str, rng: random.Random, **properties: object) -> None:
        super().__init__(name, **properties)
        self._rng = rng
        self._moment = threading.Event()
        self.closes = 0
        self.sections: list[int] = []

    def process_config(self, parameters: ParametersMessage) -> None:
        self.sections.append(int(parameters.text))

    def process(self, m1: Container[int]) -> None:
        if self._rng.random() < 0.05:
            self._moment.wait(self._rng.random() * 0.001)
        self.put_next(m1)

    def close(self, flags: int) -> None:
        self.closes += 1
        assert flags == 1


class ThreadedPasses(Passes):
    thread_safe = True


class Batches(Passes):
    """Works on batches, and holds the last one back until the next comes, or the end."""

    def __init__(self, name: str, rng: random.Random, **properties: object) -> None:
        super().__init__(name, rng, **properties)
        self._held: list[MessageBlock] = []

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        held, self._held = self._held, list(messages)
        for message in held:
            self.put_next(message)

    def close(self, flags: int) -> None:
        super().close(flags)
        for message in self._held:
            self.put_next(message)


def run_random_chain(seed: int) -> None:
    rng = random.Random(seed)
    gadgets: list[Passes] = []
    for index in range(rng.randint(1, 8)):
        class_ = rng.choice((Passes, ThreadedPasses, ThreadedPasses, Batches))
        gadget = class_(f"g{index}", random.Random(rng.random()), threads=rng.randint(1, 4))
        gadget.inbox = MessageQueue(max_messages=rng.randint(1, 4), max_bytes=rng.choice((1, 2000, 1 << 20)))
        gadgets.append(gadget)
    found: list[int] = []
    failures: list[BaseException] = []
    ended = threading.Event()

    def deliver(messages: Sequence[MessageBlock]) -> None:
        found.extend(message.object for message in messages if isinstance(message, GadgetContainerMessage))

    def failed(_task: object, error: BaseException) -> None:
        failures.append(error)
        ended.set()

    stream = Stream(gadgets, EndGadget(deliver, ended.set), on_failure=failed)
    stream.open()
    n_sections = rng.randint(1, 4)
    count = 0
    for section in range(n_sections):
        stream.putq(config_message(str(section)))
        for _ in range(rng.randint(0, 40)):
            stream.putq(GadgetContainerMessage(count))
            count += 1
    stream.close()
    assert ended.wait(GUARD_S), f"seed {seed}: {stream!r} hangs: {gadgets}"
    assert stream.wait(GUARD_S), f"seed {seed}"
    assert not failures, f"seed {seed}: {failures}"
    assert found == list(range(count)), f"seed {seed}"
    for gadget in gadgets:
        assert gadget.closes == 1, f"seed {seed}"
        assert gadget.sections == list(range(n_sections)), f"seed {seed}"
        assert gadget.messages_in == count, f"seed {seed}"


@pytest.mark.slow
def test_every_message_arrives_once_and_in_order(full_counts: bool) -> None:
    for seed in range(FULL if full_counts else SAMPLE):
        run_random_chain(seed)


def test_a_chain_that_loses_a_message_would_be_noticed() -> None:
    class Loses(Gadget):
        def process(self, message: MessageBlock) -> None:
            if isinstance(message, GadgetContainerMessage) and message.object != 3:
                self.put_next(message)

    found: list[int] = []
    ended = threading.Event()

    def deliver(messages: Sequence[MessageBlock]) -> None:
        found.extend(message.object for message in messages if isinstance(message, GadgetContainerMessage))

    stream = Stream([Loses()], EndGadget(deliver, ended.set))
    stream.open()
    for number in range(5):
        stream.putq(GadgetContainerMessage(number))
    stream.close()
    assert ended.wait(GUARD_S)
    assert stream.wait(GUARD_S)
    assert found == [0, 1, 2, 4]
