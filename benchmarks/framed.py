"""The framed protocol next to the classic one: the same scan through the same daemon, in turn."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.client import RECEIVE_BYTES, SEND_BYTES, TIMEOUT_S, BenchmarkError, Outcome
from benchmarks.measures import CONFIGURATION, PASS_THROUGH, Plan, Row, progress
from benchmarks.processes import Daemon, Peer
from benchmarks.workload import MATRIX, N_COILS, N_SAMPLES, Workload, make_workload

COMMAND, ACQUISITION, IMAGE, ERROR = 1, 2, 4, 6
STOP, DONE, CONFIG_COMMAND, CONFIG_FILE = 1001, 1002, 1004, 701
FLOAT, NOT_APPLICABLE = 7, 100
GOAL = 1.1


def frame(entity_type: int, stream: int, body: bytes, storage: int = NOT_APPLICABLE) -> bytes:
    return struct.pack("<Q4I", 16 + len(body), 2, entity_type, storage, stream) + body


def start_of_session(configuration: str, header: bytes) -> bytes:
    handshake = frame(0, 65536, struct.pack("<Q3I", 0, 201, 0, 0))
    name = configuration.encode()
    command = struct.pack("<4I", CONFIG_COMMAND, 1, CONFIG_FILE, len(name)) + name + struct.pack("<I", 0)
    return handshake + frame(COMMAND, 65537, command) + frame(5, 1, header)


def end_of_session() -> bytes:
    return frame(COMMAND, 65537, struct.pack("<5I", STOP, 2, 700, 0, 0))


def acquisitions(workload: Workload) -> bytearray:
    """Give all readouts as frames, one after another: the same numbers as the classic ones."""
    messages = bytearray()
    directions = struct.pack("<15f", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    for repetition, lines in enumerate(workload.readouts):
        for line, readout in enumerate(lines):
            body = struct.pack("<2Q4I", 0, 0, repetition * MATRIX + line, 0, 0, 0)
            body += struct.pack("<3I", N_SAMPLES, N_COILS, N_COILS) + bytes(128)
            body += struct.pack("<6I", 0, 0, N_SAMPLES // 2, 0, 0, 5000) + directions
            body += struct.pack("<18I", 0, line, 0, 0, 0, 0, 0, repetition, *[0] * 10) + bytes(64)
            messages += frame(ACQUISITION, 0, body + readout.tobytes(), FLOAT)
    return messages


class FrameCounter:
    """Counts the frames of data in a stream of bytes, and keeps the content of the others."""

    def __init__(self) -> None:
        self.n_data = 0
        self.is_done = False
        self.errors: list[str] = []
        self._head = bytearray()
        self._left = 0
        self._is_control = False
        self._control = bytearray()

    def feed(self, data: memoryview) -> None:
        position = 0
        while position < len(data):
            if self._left:
                end = min(position + self._left, len(data))
                if self._is_control:
                    self._control += data[position:end]
            else:
                end = min(position + 24 - len(self._head), len(data))
                self._head += data[position:end]
                position = end
                if len(self._head) == 24:
                    self._begin()
                continue
            self._left -= end - position
            position = end
            if not self._left:
                self._finish()

    def _begin(self) -> None:
        size, _version, self._entity_type = struct.unpack_from("<Q2I", self._head)
        self._head = bytearray()
        self._left = size - 16
        self._is_control = self._entity_type not in (ACQUISITION, IMAGE)
        self._control = bytearray()

    def _finish(self) -> None:
        if not self._is_control:
            self.n_data += 1
        elif self._entity_type == ERROR:
            self.errors.append(self._control[20:].decode())
        elif self._entity_type == COMMAND:
            self.is_done = struct.unpack_from("<I", self._control)[0] == DONE


def run_framed_session(port: int, parts: Sequence[Any]) -> Outcome:
    """Send parts as fast as they are taken, and count what comes back until the server ends the connection."""
    outcome = Outcome()
    counter = FrameCounter()
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    began = perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sender = threading.Thread(target=_send, args=(connection, parts))
        sender.start()
        while received := connection.recv_into(buffer):
            outcome.n_bytes += received
            counter.feed(buffer[:received])
            if counter.n_data and not outcome.first_s:
                outcome.first_s = perf_counter() - began
        outcome.total_s = perf_counter() - began
        sender.join()
    outcome.n_messages, outcome.texts = counter.n_data, counter.errors
    if counter.errors or not counter.is_done:
        raise BenchmarkError(f"the session failed: {counter.errors or 'it ended without DONE'}")
    return outcome


def _send(connection: socket.socket, parts: Sequence[Any]) -> None:
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), SEND_BYTES):
            connection.sendall(view[start : start + SEND_BYTES])


def framed_main(connection: Connection, n_repetitions: int) -> None:
    """Run framed sessions, whenever asked: (port, configuration)."""
    workload = make_workload(n_repetitions)
    header = workload.header()
    readouts = acquisitions(workload)
    del workload
    connection.send(None)
    while True:
        port, configuration = connection.recv()
        try:
            parts = [start_of_session(configuration, header), readouts, end_of_session()]
            connection.send(run_framed_session(port, parts))
        except (BenchmarkError, OSError) as error:
            connection.send(BenchmarkError(f"{type(error).__name__}: {error}"))


def both_protocols(plan: Plan, client: Peer) -> list[Row]:
    """Framed and classic sessions in turn, on one daemon."""
    rows = []
    with Daemon() as daemon, Peer(framed_main, plan.n_repetitions) as framed:
        for configuration, n_expected in (
            (CONFIGURATION, plan.n_repetitions),
            (PASS_THROUGH, 256 * plan.n_repetitions),
        ):
            samples: dict[str, list[float]] = {"ratio": [], "framed_s": [], "classic_s": []}
            client.ask("count", daemon.port, configuration, 1)
            framed.ask(daemon.port, configuration)
            for _ in range(plan.n_pairs):
                classic = client.ask("count", daemon.port, configuration, 1)
                entities = framed.ask(daemon.port, configuration)
                if {classic.n_messages, entities.n_messages} != {n_expected}:
                    raise BenchmarkError(f"{classic.n_messages} and {entities.n_messages} messages came back")
                samples["classic_s"].append(classic.total_s)
                samples["framed_s"].append(entities.total_s)
                samples["ratio"].append(entities.total_s / classic.total_s)
                progress(f"  {configuration}: framed {entities.total_s:.3f} s, classic {classic.total_s:.3f} s")
            goal = GOAL if configuration == CONFIGURATION else None
            ratio = float(median(samples["framed_s"]) / median(samples["classic_s"]))
            rows.append(Row(f"{configuration}, framed / classic protocol", ratio, goal=goal, samples=samples))
    return rows
