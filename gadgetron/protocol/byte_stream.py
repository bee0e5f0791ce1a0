"""Streams of bytes: exact reads out of large shared blocks, gathered writes, deadlines, and a wake-up for a reader.

Reading is for one thread, writing for another; `wake` and `close` for any.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np

from gadgetron.errors import ConnectionLost
from gadgetron.limits import LIMITS, MIB, Limits
from gadgetron.protocol.block_pool import receive_blocks

Buffer = Any  # bytes, bytearray, memoryview, contiguous arrays, ctypes structures: whatever has the buffer protocol

MAX_GATHER = 512  # buffers in one system call; Linux allows 1024

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class ByteStream:
    """What readers read from and writers write to.

    Parameters
    ----------
    limits
        Deadlines and block size.

    Notes
    -----
    `before_wait` is called in the reading thread before it waits for bytes that have not arrived: the time to hand over
    what has been read so far. `phase_deadline` (a `monotonic()` time, or None) bounds every wait; inside a message
    there is a deadline of its own, counted from the first wait in it: a peer that sends a byte now and then gains
    nothing.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.before_wait: Callable[[], None] | None = None
        self.phase_deadline: float | None = None
        self.bytes_read = 0
        self.bytes_written = 0
        self.message_end = 0  # how much of what was written are complete messages
        self.last_progress = monotonic()
        self._block = memoryview(bytearray(0))
        self._start = 0  # of what is read but not taken
        self._end = 0
        self._frame_deadline: float | None = None
        self._woken = threading.Event()
        self._frame_bytes = 0
        self._at_boundary = True

    # Reading

    def read_exactly(self, n_bytes: int) -> memoryview:
        """Return exactly n bytes: a writable view that the stream never touches again.

        Check n against a limit first. The view may be part of a block that it keeps alive as a whole, and is aligned to
        nothing.

        Raises
        ------
        ConnectionLost
            If the stream ends before.
        PeerTimeout
            If a deadline passes before.
        """
        start = self._start
        end = start + n_bytes
        if end > self._end:
            self._fill(n_bytes)
            start = self._start
            end = start + n_bytes
        self._start = end
        return self._block[start:end]

    def read_frame_start(self, n_bytes: int) -> memoryview | None:
        """Return the first n bytes of a message, or None if the stream ends before it: there an end is an end."""
        self._frame_deadline = None
        self._frame_bytes = 0
        if self._end - self._start < n_bytes:
            self._at_boundary = True
            try:
                self._fill(n_bytes)
            except _EndOfStream:
                return None
            finally:
                self._at_boundary = False
        return self.read_exactly(n_bytes)

    def read_u16(self) -> int:
        """Read a little-endian unsigned integer of 2 bytes."""
        return int(_U16.unpack(self.read_exactly(2))[0])

    def read_u32(self) -> int:
        """Read a little-endian unsigned integer of 4 bytes."""
        return int(_U32.unpack(self.read_exactly(4))[0])

    def read_u64(self) -> int:
        """Read a little-endian unsigned integer of 8 bytes."""
        return int(_U64.unpack(self.read_exactly(8))[0])

    def has_buffered(self, n_bytes: int) -> bool:
        """Tell whether n bytes can be read without waiting."""
        return self._end - self._start >= n_bytes

    def peek(self, n_bytes: int) -> memoryview | None:
        """Return the next n bytes without taking them; None if the stream ends before the first of them."""
        if self._end - self._start < n_bytes:
            self._at_boundary = True
            try:
                self._fill(n_bytes)
            except _EndOfStream:
                return None
            finally:
                self._at_boundary = False
        return self._block[self._start : self._start + n_bytes]

    def _fill(self, n_bytes: int) -> None:
        """Have n bytes in the block from _start on."""
        if self.before_wait is not None:
            self.before_wait()
        held = self._end - self._start
        if self._start + n_bytes > len(self._block):
            leftover = self._block[self._start : self._end]
            self._take_block(n_bytes)
            self._block[:held] = leftover
            self._start, self._end = 0, held
        elif held == 0 and self._start and len(self._block) - self._start < len(self._block) // 4:
            # Nearly at the end of the block: a fresh one takes more in one system call.
            self._take_block(n_bytes)
            self._start = self._end = 0
        self._frame_bytes += n_bytes
        while self._end - self._start < n_bytes:
            received = self._receive_into(self._block[self._end :], self._deadline())
            if received == 0:
                self._at_end(n_bytes)
            self._end += received
            self.bytes_read += received
            self.last_progress = monotonic()
            if self._at_boundary:  # the message has begun
                self._at_boundary = False

    def _take_block(self, n_bytes: int) -> None:
        """Receive into another block from now on, one that has room for n bytes."""
        self._block = memoryview(b"")  # let go of the old one first: it may be the free one
        block_bytes = self.limits.receive_block_bytes
        self._block = receive_blocks.take(block_bytes) if n_bytes <= block_bytes else np.empty(n_bytes, np.uint8).data

    def _deadline(self) -> float:
        now = monotonic()
        if self._at_boundary and self._end == self._start:
            deadline = now + self.limits.idle_between_frames_s
        else:
            allowed = self.limits.frame_deadline_s + self._frame_bytes / MIB * self.limits.frame_deadline_s_per_mib
            if self._frame_deadline is None:
                self._frame_deadline = now
            deadline = self._frame_deadline + allowed
        return deadline if self.phase_deadline is None else min(deadline, self.phase_deadline)

    def _at_end(self, n_bytes: int) -> None:
        held = self._end - self._start
        if held == 0 and self._at_boundary:
            raise _EndOfStream("the stream ended")
        raise ConnectionLost(
            f"the peer closed the connection inside a message, {n_bytes - held} of {n_bytes} bytes missing"
        )

    def _receive_into(self, view: memoryview, deadline: float) -> int:
        """Wait for bytes until the deadline and put them into the view; 0 at the end of the stream."""
        raise NotImplementedError

    # Writing

    def write(self, *buffers: Buffer) -> None:
        """Write buffers one after another, all of them, in as few system calls as possible.

        Raises
        ------
        ConnectionLost
            If the peer is gone.
        PeerTimeout
            If the peer neither takes nor sends anything for `limits.stall_s`.
        """
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        for first in range(0, len(views), MAX_GATHER):
            self._write_gathered([view for view in views[first : first + MAX_GATHER] if view.nbytes])

    def mark_message(self) -> None:
        """Note that what has been written so far ends with a complete message: an error can be told after it."""
        self.message_end = self.bytes_written

    def _write_gathered(self, views: list[memoryview]) -> None:
        while views:
            sent = self._send(views)
            self.bytes_written += sent
            if sent:
                self.last_progress = monotonic()
            while views and sent >= views[0].nbytes:
                sent -= views.pop(0).nbytes
            if sent:
                views[0] = views[0][sent:]

    def _send(self, views: list[memoryview]) -> int:
        """Send some of the buffers, waiting until at least a byte could be sent."""
        raise NotImplementedError

    # The end

    def wake(self) -> None:
        """Make a reader that waits, now or later, raise QueueClosed. From any thread; idempotent."""
        self._woken.set()

    def wait_for_wake(self, timeout_s: float) -> None:
        """Wait without reading, until `wake` or the timeout, whatever the peer does."""
        self._woken.wait(timeout_s)

    def wait_for_hang_up(self, timeout_s: float) -> bool:
        """Wait without reading, until `wake` or the timeout; True if the peer has gone for good."""
        self._woken.wait(timeout_s)
        return False

    def close_write(self) -> None:
        """Tell the peer that nothing more comes, while reading goes on."""

    def discard_input(self, deadline: float, max_bytes: int) -> None:
        """Read and drop what the peer still sends, until its end, the deadline, or a number of bytes."""

    def close(self) -> None:
        """Release what the operating system holds for the stream. Idempotent."""


class _EndOfStream(ConnectionLost):
    """The end, exactly between two messages."""


class MemoryStream(ByteStream):
    """A stream over bytes in memory: for tests, for files that fit, for round trips.

    Parameters
    ----------
    data
        What can be read.
    chunk_bytes
        How much arrives at once; 0 for everything.

    Notes
    -----
    `written` is a bytearray of everything that was written.
    """

    def __init__(self, data: Buffer = b"", chunk_bytes: int = 0, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self._input = memoryview(data).cast("B")
        self._position = 0
        self._chunk_bytes = chunk_bytes
        self.written = bytearray()

    def _receive_into(self, view: memoryview, deadline: float) -> int:
        size = min(len(view), len(self._input) - self._position)
        if self._chunk_bytes:
            size = min(size, self._chunk_bytes)
        view[:size] = self._input[self._position : self._position + size]
        self._position += size
        return size

    def _send(self, views: list[memoryview]) -> int:
        for view in views:
            self.written += view
        return sum(view.nbytes for view in views)
