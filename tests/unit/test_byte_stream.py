"""Streams of bytes: exact reads, deadlines, wake-ups, gathered writes, and the end."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest

from gadgetron.errors import ConnectionLost, PeerTimeout, QueueClosed, StorageError
from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.block_pool import BlockPool
from gadgetron.protocol.byte_stream import MAX_GATHER, ByteStream, MemoryStream
from gadgetron.protocol.descriptor_stream import DescriptorStream, FileStream, SocketStream
from gadgetron.testing import FaultyStream

GUARD_S = 30.0
IMPATIENT = replace(LIMITS, idle_between_frames_s=0.01, frame_deadline_s=0.01, stall_s=0.05)


class Pair:
    """A stream over a socket, and the plain socket at its other end."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.peer = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
        listener.close()
        self.peer.settimeout(GUARD_S)
        self.stream = SocketStream(connection, limits)

    def close(self) -> None:
        self.stream.close()
        self.peer.close()


@pytest.fixture
def make_pair() -> Iterator[Callable[..., Pair]]:
    pairs: list[Pair] = []

    def make(limits: Limits = LIMITS) -> Pair:
        pairs.append(Pair(limits))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


def test_reads_are_exact_whatever_the_pieces() -> None:
    data = bytes(range(256)) * 4
    for pieces in ((), (1,), (3, 1, 700)):
        stream = FaultyStream(data, pieces=pieces)
        assert bytes(stream.read_exactly(5)) == data[:5]
        assert bytes(stream.read_exactly(0)) == b""
        assert bytes(stream.read_exactly(900)) == data[5:905]
        assert stream.read_u16() == struct.unpack_from("<H", data, 905)[0]
        assert stream.read_u32() == struct.unpack_from("<I", data, 907)[0]
        assert stream.read_u64() == struct.unpack_from("<Q", data, 911)[0]
        assert bytes(stream.read_exactly(105)) == data[919:]
        assert stream.read_frame_start(2) is None


@pytest.mark.parametrize("length", range(1, 10))
def test_the_end_inside_a_message_is_connection_lost(length: int) -> None:
    stream = MemoryStream(bytes(length))
    assert stream.read_frame_start(1) is not None
    with pytest.raises(ConnectionLost, match=f"{11 - length} of 10 bytes missing"):
        stream.read_exactly(10)


def test_the_end_inside_the_first_bytes_of_a_message_is_connection_lost() -> None:
    with pytest.raises(ConnectionLost):
        MemoryStream(b"x").read_frame_start(2)


@pytest.mark.parametrize("n_bytes", [10, 5000, 70_000])
def test_views_are_writable_and_never_written_to_again(n_bytes: int) -> None:
    """Small blocks, so that they would be reused if they could."""
    rng = np.random.default_rng(n_bytes)
    data = rng.integers(0, 256, 40 * n_bytes, np.uint8).tobytes()
    stream = FaultyStream(data, pieces=(4096, 1, 999), limits=replace(LIMITS, receive_block_bytes=16_384))
    kept = []
    for number in range(40):
        view = stream.read_exactly(n_bytes)
        if number % 3 == 0:
            kept.append((number, np.frombuffer(view, np.uint8)))
    for number, array in kept:
        assert array.tobytes() == data[number * n_bytes : (number + 1) * n_bytes]
        array[:] = 0


def test_a_block_is_used_again_only_when_nothing_refers_to_it() -> None:
    pool = BlockPool(2)
    first = pool.take(64)
    address = np.frombuffer(first, np.uint8).ctypes.data
    piece = np.ndarray((4,), np.uint8, first[8:12])
    del first
    second = pool.take(64)
    assert np.frombuffer(second, np.uint8).ctypes.data != address
    del piece
    third = pool.take(64)
    assert np.frombuffer(third, np.uint8).ctypes.data == address
    assert np.frombuffer(pool.take(128), np.uint8).nbytes == 128


def test_peek_takes_nothing() -> None:
    stream = MemoryStream(b"abcdef")
    peeked = stream.peek(3)
    assert peeked is not None
    assert bytes(peeked) == b"abc"
    assert stream.has_buffered(6)
    assert bytes(stream.read_exactly(6)) == b"abcdef"
    assert stream.peek(1) is None


def test_before_wait_is_called_before_bytes_are_waited_for() -> None:
    calls: list[int] = []
    stream = FaultyStream(b"aabb", pieces=(2,))
    stream.before_wait = lambda: calls.append(stream.bytes_read)
    stream.read_exactly(2)
    stream.read_exactly(2)
    assert calls == [0, 2]


def test_silence_between_messages_ends_with_the_idle_deadline(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(IMPATIENT)
    with pytest.raises(PeerTimeout, match="sent nothing"):
        pair.stream.read_frame_start(2)


def test_silence_inside_a_message_ends_with_the_frame_deadline(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(replace(IMPATIENT, idle_between_frames_s=GUARD_S))
    pair.peer.sendall(b"ab")
    assert pair.stream.read_frame_start(2) is not None
    with pytest.raises(PeerTimeout, match="did not complete"):
        pair.stream.read_exactly(1)


def test_half_of_a_message_id_ends_with_the_frame_deadline(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(replace(IMPATIENT, idle_between_frames_s=GUARD_S))
    pair.peer.sendall(b"a")
    with pytest.raises(PeerTimeout, match="did not complete"):
        pair.stream.read_frame_start(2)


class Trickle(ByteStream):
    """Every byte takes a second, of a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.deadlines: list[float] = []

    def clock(self) -> float:
        return self.now

    def _receive_into(self, view: memoryview, deadline: float) -> int:
        self.now += 1.0
        self.deadlines.append(deadline)
        view[:1] = b"x"
        return 1


def test_a_byte_now_and_then_does_not_move_the_frame_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Trickle()
    monkeypatch.setattr("gadgetron.protocol.byte_stream.monotonic", stream.clock)
    stream.read_frame_start(2)
    stream.read_exactly(20)
    stream.read_exactly(30)
    between, *inside = stream.deadlines
    assert between == LIMITS.idle_between_frames_s
    assert min(inside) == pytest.approx(1.0 + LIMITS.frame_deadline_s, abs=0.001)
    assert max(inside) == pytest.approx(1.0 + LIMITS.frame_deadline_s, abs=0.001)


def test_every_message_has_a_frame_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Trickle()
    monkeypatch.setattr("gadgetron.protocol.byte_stream.monotonic", stream.clock)
    for _ in range(3):
        stream.read_frame_start(2)
        stream.read_exactly(8)
    inside = [deadline for deadline in stream.deadlines if deadline < LIMITS.idle_between_frames_s]
    assert sorted({round(deadline - LIMITS.frame_deadline_s) for deadline in inside}) == [1, 11, 21]


def test_a_phase_deadline_bounds_every_wait(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    pair.stream.phase_deadline = monotonic() - 1.0
    pair.peer.sendall(b"ab")
    with pytest.raises(PeerTimeout):
        while pair.stream.read_frame_start(2) is not None:
            pass


def test_wake_ends_a_read_that_waits_and_one_that_comes(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    outcome: list[BaseException] = []
    waits = threading.Event()
    pair.stream.before_wait = waits.set

    def read() -> None:
        try:
            pair.stream.read_exactly(1)
        except QueueClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert waits.wait(GUARD_S)
    pair.stream.wake()
    pair.stream.wake()
    thread.join(GUARD_S)
    assert len(outcome) == 1
    with pytest.raises(QueueClosed):
        pair.stream.read_exactly(1)


def test_waking_a_closed_stream_touches_no_descriptor(make_pair: Callable[..., Pair]) -> None:
    """The descriptors of a closed stream may belong to somebody else by now."""
    pair = make_pair()
    pair.stream.close()
    pipes = [os.pipe() for _ in range(8)]  # take the numbers that have become free
    pair.stream.wake()
    pair.stream.close()
    for read_end, write_end in pipes:
        os.set_blocking(read_end, False)
        with pytest.raises(BlockingIOError):
            os.read(read_end, 1)
        os.close(read_end)
        os.close(write_end)


def test_many_buffers_are_written_in_order(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    buffers = [bytes([number % 256]) * (number % 7) for number in range(3 * MAX_GATHER)]
    expected = b"".join(buffers)
    received = bytearray()

    def receive() -> None:
        while piece := pair.peer.recv(65536):
            received.extend(piece)

    thread = threading.Thread(target=receive)
    thread.start()
    pair.stream.write(*buffers)
    pair.stream.write(np.arange(6, dtype="<u2").reshape(2, 3))
    pair.stream.close_write()
    thread.join(GUARD_S)
    assert bytes(received) == expected + struct.pack("<6H", *range(6))
    assert pair.stream.bytes_written == len(received)


def test_writing_in_pieces_loses_nothing() -> None:
    stream = FaultyStream(write_piece=3)
    stream.write(b"abcdefgh", b"", b"ij", b"k")
    assert bytes(stream.written) == b"abcdefghijk"


def test_a_peer_that_takes_nothing_is_stalled(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair(IMPATIENT)
    with pytest.raises(PeerTimeout, match="neither took nor sent"):
        pair.stream.write(bytes(64 << 20))


def test_writing_to_a_peer_that_has_gone_is_connection_lost(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.peer.close()
    with pytest.raises(ConnectionLost):
        while True:
            pair.stream.write(bytes(1 << 20))


def test_reading_from_a_peer_that_was_reset_is_connection_lost(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.peer.close()
    with pytest.raises(ConnectionLost):
        pair.stream.read_exactly(1)
    pair.stream.close_write()


def test_a_half_close_is_no_hang_up_and_a_reset_is(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    pair.peer.shutdown(socket.SHUT_WR)
    assert not pair.stream.wait_for_hang_up(0.0)
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.peer.close()
    assert pair.stream.wait_for_hang_up(GUARD_S)


def test_input_is_discarded_up_to_its_end_or_a_number_of_bytes(make_pair: Callable[..., Pair]) -> None:
    pair = make_pair()
    pair.peer.sendall(bytes(10_000))
    pair.peer.shutdown(socket.SHUT_WR)
    pair.stream.discard_input(monotonic() + GUARD_S, 1 << 20)
    assert pair.stream.read_frame_start(1) is None

    other = make_pair()
    other.peer.sendall(bytes(10_000))
    other.stream.discard_input(monotonic() + GUARD_S, 1)
    other.stream.discard_input(monotonic() - 1.0, 1 << 20)


def file_stream(limits: Limits = LIMITS) -> tuple[DescriptorStream, int, int]:
    """A stream over pipes; with the ends that are the peer's: where it writes, where it reads."""
    input_read, input_write = os.pipe()
    output_read, output_write = os.pipe()
    return FileStream(input_read, output_write, limits), input_write, output_read


def test_pipes_are_read_and_written() -> None:
    stream, to_stream, from_stream = file_stream()
    os.write(to_stream, b"abcd")
    assert bytes(stream.read_exactly(4)) == b"abcd"
    stream.write(b"efgh")
    assert os.read(from_stream, 10) == b"efgh"
    os.close(to_stream)
    assert stream.read_frame_start(2) is None
    stream.close()
    stream.close()
    os.close(from_stream)


def test_of_two_pipes_the_end_of_the_input_is_no_hang_up_and_that_of_the_output_is() -> None:
    stream, to_stream, from_stream = file_stream()
    os.close(to_stream)
    assert not stream.wait_for_hang_up(0.0)
    os.close(from_stream)
    assert stream.wait_for_hang_up(GUARD_S)
    with pytest.raises(ConnectionLost):
        stream.write(b"x")
    stream.close()


def test_a_full_disk_is_a_storage_error() -> None:
    stream = FileStream(-1, os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(StorageError, match="No space left"):
        stream.write(b"x")
    stream.close()


@pytest.mark.parametrize("position", [0, 1, 7])
def test_faults_come_where_a_test_wants_them(position: int) -> None:
    stream = FaultyStream(bytes(10), fail_read_at=position, fail_write_at=position)
    stream.read_exactly(position)
    with pytest.raises(ConnectionLost, match="as the test wants it"):
        stream.read_exactly(1)
    with pytest.raises(ConnectionLost, match="as the test wants it"):
        stream.write(bytes(10))
    assert len(stream.written) == position
