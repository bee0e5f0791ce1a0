"""The parts on their own: a hop from queue to queue, and the toolboxes next to NumPy."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.workload import MATRIX, N_COILS, N_SAMPLES, centred_fft, centred_ifft
from gadgetron.message import MessageBlock, close_message, make_message
from gadgetron.message_queue import MessageQueue
from gadgetron.toolboxes.coils import rss_image
from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.readout import crop_readouts

BATCH = 64


def interleaved(n_pairs: int, first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Time two things in turn; medians [s]."""
    first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(n_pairs):
        for function, list_of_times in zip((first, second), times, strict=True):
            began = perf_counter()
            function()
            list_of_times.append(perf_counter() - began)
    return median(times[0]), median(times[1])


def hop(n_messages: int) -> None:
    """Put messages into a MessageQueue in batches, as a reader does; take them in another thread, as a gadget does."""
    inbox = MessageQueue()
    end = close_message()

    def consume() -> None:
        while True:
            batch = inbox.get_many(BATCH)
            inbox.done()
            if batch[0] is end:
                return

    consumer = threading.Thread(target=consume)
    consumer.start()
    batch: list[MessageBlock] = [make_message(1) for _ in range(BATCH)]
    for _ in range(n_messages // BATCH):
        inbox.put_many(batch)
    inbox.put(end)
    consumer.join()


def plain_hop(n_messages: int) -> None:
    """Do the same with queue.Queue, message by message."""
    inbox: queue.Queue[Any] = queue.Queue(BATCH)

    def consume() -> None:
        while inbox.get() is not None:
            continue

    consumer = threading.Thread(target=consume)
    consumer.start()
    message = make_message(1)
    for _ in range(n_messages):
        inbox.put(message)
    inbox.put(None)
    consumer.join()


def toolbox_cases() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Name each comparison: ours, then NumPy's."""
    rng = np.random.default_rng(1)

    def noise(*shape: int) -> Any:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)

    readouts = list(noise(BATCH, N_COILS, N_SAMPLES))
    kspace = noise(N_COILS, 1, MATRIX, MATRIX)
    volume = noise(4, 64, 96, 96)
    first = (N_SAMPLES - MATRIX) // 2

    def crop_with_numpy() -> None:
        for readout in readouts:
            centred_fft(centred_ifft(readout, (1,))[:, first : first + MATRIX], (1,))

    return {
        "crop of 64 readouts (16, 512)": (lambda: crop_readouts(readouts, MATRIX), crop_with_numpy),
        "image (16, 256, 256) to root sum of squares": (
            lambda: rss_image(kspace),
            lambda: np.sqrt(np.sum(np.abs(centred_ifft(kspace, (1, 2, 3))) ** 2, axis=0)),
        ),
        "ifft along (512,) of (64, 16, 512)": (
            lambda: ifft(np.asarray(readouts), (2,)),
            lambda: centred_ifft(np.asarray(readouts), (2,)),
        ),
        "ifft (16, 256, 256) along 2 axes": (lambda: ifft(kspace, (2, 3)), lambda: centred_ifft(kspace, (2, 3))),
        "fft (4, 64, 96, 96) along 3 axes": (lambda: fft(volume, (1, 2, 3)), lambda: centred_fft(volume, (1, 2, 3))),
    }
