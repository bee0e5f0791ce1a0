"""The socket as readers and writers of items see it: `read(n)` gives n bytes, `write` takes whatever holds bytes."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any, Self

from gadgetron.errors import ConnectionLost, GadgetronError
from gadgetron.limits import LIMITS
from gadgetron.protocol.descriptor_stream import SocketStream
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U64

FOREVER_S = 20.0 * 24 * 3600  # what poll can wait for at most is 24 days
GATHER_BYTES = 32 * 1024  # smaller pieces of an item are written together
MAX_DISCARDED_BYTES = 1 << 40

# The Gadgetron decides how long a module may take, not the module how long the Gadgetron may.
PATIENT = replace(LIMITS, idle_between_frames_s=FOREVER_S, stall_s=FOREVER_S, frame_deadline_s=FOREVER_S)


class Channel:
    """A connected socket with exact reads and whole writes.

    Parameters
    ----------
    connection
        The socket; belongs to the channel from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._stream = SocketStream(connection, PATIENT)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._gathers = False
        self._is_closed = False
        self._has_reported = False

    # Reading

    def read(self, nbytes: int) -> bytes:
        """Give exactly n bytes.

        Raises
        ------
        ConnectionLost
            If the stream ends before.
        """
        return bytes(self._stream.read_exactly(nbytes))

    def read_view(self, nbytes: int) -> memoryview:
        """Give exactly n bytes, as a view of a block that is shared with what is read next: copy what is to be kept."""
        return self._stream.read_exactly(nbytes)

    def read_message_id(self) -> int | None:
        """Give the id of the next message; None at the end of the stream."""
        start = self._stream.read_frame_start(2)
        return None if start is None else start[0] | start[1] << 8

    # Writing

    def write(self, byte_array: Any) -> None:
        """Write bytes, or anything that has the buffer protocol."""
        view = memoryview(byte_array)
        if not view.nbytes:
            return
        view = view.cast("B")
        if not self._gathers or view.nbytes >= GATHER_BYTES:
            self.write_together(view)
            return
        self._pending.append(bytes(view))
        self._pending_bytes += view.nbytes
        if self._pending_bytes >= GATHER_BYTES:
            self.write_together()

    def write_together(self, *buffers: Any) -> None:
        """Write buffers with one system call, if the system takes them."""
        if self._pending:
            buffers = (*self._pending, *buffers)
            self._pending, self._pending_bytes = [], 0
        self._stream.write(*buffers)

    def __enter__(self) -> Self:
        """Gather small writes until the end of the block: those of one item."""
        self._gathers = True
        return self

    def __exit__(self, *exc: object) -> None:
        self._gathers = False
        if self._pending:
            self.write_together()

    # The end

    def report(self, text: str) -> None:
        """Tell the Gadgetron what went wrong (ERROR). Whether it still listens makes no difference."""
        data = text.encode("utf-8", errors="replace")[: LIMITS.max_text_bytes]
        if self._is_closed or self._has_reported:
            return
        self._has_reported = True
        with suppress(GadgetronError):
            self._stream.write(U16.pack(MessageID.ERROR) + U64.pack(len(data)) + data)

    def close(self) -> None:
        """Send CLOSE, drop what still comes for a moment, and end the connection. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._stream.write(U16.pack(MessageID.CLOSE))
            self._stream.close_write()
            # Closing with unread input resets the connection, and a reset may erase what has just been sent.
            self._stream.discard_input(monotonic() + LIMITS.linger_s, MAX_DISCARDED_BYTES)
        except ConnectionLost:
            return  # nobody is left to be told
        finally:
            self._stream.close()
