"""R39: however many threads serve a gadget, each of them sees the end, once, and none is left."""

from __future__ import annotations

import threading

import pytest

from gadgetron import Gadget
from gadgetron.message import MessageBlock
from gadgetron.stream import EndGadget, Stream

SAMPLE, FULL = 500, 10_000
N_THREADS = (1, 2, 8, 64)
GUARD_S = 60.0


class Passes(Gadget):
    def __init__(self, **properties: object) -> None:
        super().__init__(**properties)
        self.closes = 0
        self.ended_threads: list[int] = []

    def process(self, message: MessageBlock) -> None:
        self.put_next(message)

    def close(self, flags: int) -> None:
        self.closes += 1

    def svc(self) -> None:
        super().svc()
        self.ended_threads.append(threading.get_ident())


class ThreadSafePasses(Passes):
    thread_safe = True


@pytest.mark.slow
@pytest.mark.parametrize("class_", [Passes, ThreadSafePasses])
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("n_threads", N_THREADS)
def test_every_thread_ends_once(full_counts: bool, n_threads: int, how: str, class_: type[Passes]) -> None:
    cycles = (FULL if full_counts else SAMPLE) // (4 * len(N_THREADS))
    before = threading.active_count()
    for _ in range(cycles):
        gadget = class_(threads=n_threads)
        ended = threading.Event()
        stream = Stream([gadget], EndGadget(lambda _messages: None, ended.set))
        stream.open()
        stream.putq(MessageBlock())
        if how == "close":
            stream.close()
            assert ended.wait(GUARD_S)
        else:
            stream.abort()
        assert stream.wait(GUARD_S), gadget
        assert gadget.closes == 1
        assert len(set(gadget.ended_threads)) == len(gadget.ended_threads) == n_threads
        assert threading.active_count() == before
