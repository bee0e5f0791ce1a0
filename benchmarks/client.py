"""A client that costs next to nothing, so that it is not what is measured: it sends ready-made bytes, and counts."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from benchmarks.workload import ACQUISITION_ID, CLOSE_ID

IMAGE_ID = 1022
TEXT_ID = 5
HEAD_BYTES = {IMAGE_ID: 2 + 198 + 8, ACQUISITION_ID: 2 + 340, CLOSE_ID: 2, TEXT_ID: 2 + 4}
PIXEL_BYTES = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 16}

SEND_BYTES = 4 * 1024 * 1024
RECEIVE_BYTES = 1024 * 1024
TIMEOUT_S = 120.0


class BenchmarkError(Exception):
    """What came back is not what was expected."""


@dataclass
class Outcome:
    """What one session took, in seconds from before the connection was made, and what came back."""

    total_s: float = 0.0
    first_s: float = 0.0
    n_messages: int = 0
    n_bytes: int = 0
    texts: list[str] = field(default_factory=list)
    kept: bytes = b""


class Counter:
    """Counts messages in a stream of bytes by their headers alone."""

    def __init__(self, *, keep_first: bool = False) -> None:
        self.n_messages = 0
        self.is_closed = False
        self.texts: list[str] = []
        self.first = bytearray()
        self._keep_first = keep_first
        self._head = bytearray()
        self._body_bytes = 0
        self._text = bytearray()
        self._message_id = 0

    def feed(self, data: memoryview) -> None:
        position = 0
        while position < len(data):
            if self._body_bytes:
                end = min(position + self._body_bytes, len(data))
                self._take_body(data[position:end])
                self._body_bytes -= end - position
                position = end
                if not self._body_bytes:
                    self._message_complete()
                continue
            wanted = 2 if len(self._head) < 2 else HEAD_BYTES[self._message_id]
            end = min(position + wanted - len(self._head), len(data))
            self._head += data[position:end]
            position = end
            if len(self._head) == 2:
                (self._message_id,) = struct.unpack("<H", self._head)
                if self._message_id not in HEAD_BYTES:
                    raise BenchmarkError(f"the server sent a message with id {self._message_id}")
            if len(self._head) == HEAD_BYTES[self._message_id]:
                self._head_complete()

    def _take_body(self, data: memoryview) -> None:
        if self._message_id == TEXT_ID:
            self._text += data
        elif self._keep_first and self.n_messages == 0:
            self.first += data

    def _head_complete(self) -> None:
        head, message_id = self._head, self._message_id
        self._head = bytearray()
        if message_id == IMAGE_ID:
            (data_type,) = struct.unpack_from("<H", head, 2 + 2)
            x, y, z = struct.unpack_from("<3H", head, 2 + 16)
            (channels,) = struct.unpack_from("<H", head, 2 + 34)
            (attribute_bytes,) = struct.unpack_from("<Q", head, 2 + 198)
            self._body_bytes = attribute_bytes + x * y * z * channels * PIXEL_BYTES[data_type]
        elif message_id == ACQUISITION_ID:
            (n_samples,) = struct.unpack_from("<H", head, 2 + 34)
            (n_coils,) = struct.unpack_from("<H", head, 2 + 38)
            self._body_bytes = 8 * n_samples * n_coils
        elif message_id == TEXT_ID:
            (self._body_bytes,) = struct.unpack_from("<I", head, 2)
        if not self._body_bytes:
            self._message_complete()

    def _message_complete(self) -> None:
        if self._message_id == CLOSE_ID:
            self.is_closed = True
        elif self._message_id == TEXT_ID:
            self.texts.append(self._text.decode())
            self._text = bytearray()
        else:
            self.n_messages += 1


def run_session(port: int, parts: Sequence[Any], *, keep_first: bool = False, is_echo: bool = False) -> Outcome:
    """Send parts as fast as they are taken, and count what comes back until the server ends the connection."""
    outcome = Outcome()
    counter = Counter(keep_first=keep_first)
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    began = perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = threading.Thread(target=_send, args=(connection, parts, is_echo))
        sender.start()
        while received := connection.recv_into(buffer):
            outcome.n_bytes += received
            if is_echo:
                continue
            counter.feed(buffer[:received])
            if counter.n_messages and not outcome.first_s:
                outcome.first_s = perf_counter() - began
        outcome.total_s = perf_counter() - began
        sender.join()
    outcome.n_messages, outcome.texts, outcome.kept = counter.n_messages, counter.texts, bytes(counter.first)
    if counter.texts or not (counter.is_closed or is_echo):
        raise BenchmarkError(f"the session failed: {counter.texts or 'it ended without CLOSE'}")
    return outcome


def _send(connection: socket.socket, parts: Sequence[Any], is_echo: bool) -> None:
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), SEND_BYTES):
            connection.sendall(view[start : start + SEND_BYTES])
    if is_echo:
        connection.shutdown(socket.SHUT_WR)


def run_at_once(n_sessions: int, run: Callable[[], Outcome]) -> tuple[float, list[Outcome]]:
    """Run sessions at the same time.

    Returns
    -------
        Seconds from the start of the first to the end of the last, and the outcomes.
    """
    outcomes: list[Outcome] = []
    start = threading.Barrier(n_sessions + 1)

    def one() -> None:
        start.wait()
        outcomes.append(run())

    threads = [threading.Thread(target=one) for _ in range(n_sessions)]
    for thread in threads:
        thread.start()
    start.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    elapsed_s = perf_counter() - began
    if len(outcomes) != n_sessions:
        raise BenchmarkError(f"{n_sessions - len(outcomes)} of {n_sessions} sessions failed")
    return elapsed_s, outcomes


def serve_echo(announce: Callable[[int], None]) -> None:
    """Send back what comes, one connection after another: what two bare sockets can do."""
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        announce(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while received := connection.recv_into(buffer):
                    connection.sendall(buffer[:received])
