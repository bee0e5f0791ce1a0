"""R40: close twice, put after close, abort during close, close from one's own thread: in any order, as a model says."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from gadgetron import Gadget
from gadgetron.errors import QueueClosed
from gadgetron.message import MessageBlock, close_message, config_message
from gadgetron.stream import EndGadget, Stream
from tests.unit.test_message_queue import QueueAgainstModel

SAMPLE, FULL = 200, 5_000
GUARD_S = 60.0


@pytest.mark.slow
def test_the_queue_agrees_with_its_model(full_counts: bool) -> None:
    examples = FULL if full_counts else SAMPLE
    run_state_machine_as_test(
        QueueAgainstModel, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )


class Restless(Gadget):
    """Does something to itself in the middle: in its own thread."""

    def __init__(self, deed: str, at: int, **properties: object) -> None:
        super().__init__(**properties)
        self._deed = deed
        self._at = at
        self._count = 0
        self.closes = 0

    def process(self, message: MessageBlock) -> None:
        self._count += 1
        if self._count == self._at:
            if self._deed == "abort":
                self.abort()
            elif self._deed == "close":
                self.putq(close_message())
                self.putq(close_message())
        self.put_next(message)

    def close(self, flags: int) -> None:
        self.closes += 1
        if self._deed == "abort in close":
            self.abort()
        self.put_next(MessageBlock())


@pytest.mark.slow
def test_ends_of_every_kind_at_any_moment(full_counts: bool) -> None:
    """One thread puts, another ends; whatever happens, all threads end, and each close hook has run once."""
    for seed in range((FULL if full_counts else SAMPLE) // 2):
        rng = random.Random(seed)
        gadgets = [
            Restless(rng.choice(("nothing", "nothing", "abort", "close", "abort in close")), rng.randint(1, 10))
            for _ in range(rng.randint(1, 4))
        ]
        failures: list[BaseException] = []

        def failed(_task: object, error: BaseException, failures: list[BaseException] = failures) -> None:
            failures.append(error)

        stream = Stream(gadgets, EndGadget(lambda _messages: None, lambda: None), on_failure=failed)
        stream.open()

        def put(stream: Stream = stream, seed: int = seed) -> None:
            rng = random.Random(seed)
            try:
                for _ in range(rng.randint(0, 30)):
                    stream.putq(rng.choice((MessageBlock(), MessageBlock(), config_message(b"<a/>"))))
                for _ in range(rng.randint(0, 3)):
                    stream.close()
            except QueueClosed:
                return

        putter = threading.Thread(target=put)
        putter.start()
        if rng.random() < 0.5:
            putter.join(GUARD_S)
        for _ in range(rng.randint(1, 3)):
            stream.abort()
        putter.join(GUARD_S)
        assert stream.wait(GUARD_S), f"seed {seed}"
        with pytest.raises(QueueClosed):
            stream.putq(MessageBlock())
        for gadget in gadgets:
            assert gadget.closes == 1, f"seed {seed}"
        # When a gadget is aborted from inside, without a reason, its neighbours may ask what has happened; nobody else.
        assert all("QueueClosed" in str(error) for error in failures), f"seed {seed}: {failures}"
