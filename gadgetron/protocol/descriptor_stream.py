"""Streams over what the operating system gives: sockets, pipes and files. Nothing above this module reads a socket."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from contextlib import suppress
from time import monotonic

from gadgetron.errors import ConnectionLost, PeerTimeout, QueueClosed, StorageError
from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.protocol.peer_socket import PeerSocket, find_peer

DISCARD_BYTES = 64 * 1024
LOOK_S = 1.0  # between two looks for a peer that has sent its end


class _Waker:
    """A pipe that a waiting reader polls beside its input, so that another thread can wake it."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._woken = False
        self._is_closed = False
        # Without it a wake-up could be written to a descriptor that was closed, and opened again for something else.
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._read_end

    def wake(self) -> None:
        with self._lock:
            if not self._woken and not self._is_closed:
                os.write(self._write_end, b"!")
            self._woken = True

    @property
    def is_woken(self) -> bool:
        return self._woken

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            os.close(self._read_end)
            os.close(self._write_end)


class DescriptorStream(ByteStream):
    """A stream over file descriptors: common to sockets, pipes and files.

    Parameters
    ----------
    input_fd, output_fd
        Where to read and write; -1 for a direction that is not used.
    """

    def __init__(self, input_fd: int, output_fd: int, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._waker = _Waker()
        self._closed = False
        self._input_poll = select.poll()
        self._input_poll.register(self._waker.fileno(), select.POLLIN)
        if input_fd >= 0:
            self._input_poll.register(input_fd, select.POLLIN)

    def _receive_into(self, view: memoryview, deadline: float) -> int:
        while True:
            timeout_s = deadline - monotonic()
            if timeout_s <= 0 and not self._input_poll.poll(0):
                raise PeerTimeout(self._timeout_text())
            events = dict(self._input_poll.poll(max(0, int(timeout_s * 1000) + 1)))
            if self._waker.is_woken:
                raise QueueClosed("reading was ended from another thread")
            if self._input_fd not in events:
                continue
            try:
                return self._receive(view)
            except BlockingIOError:
                continue  # somebody else's wake-up
            except OSError as error:
                raise ConnectionLost(f"the connection was lost while reading: {_reason(error)}") from error

    def _timeout_text(self) -> str:
        if self._at_boundary and self._end == self._start:
            return "the peer sent nothing within the time allowed"
        return "the peer did not complete a message within the time allowed"

    def has_input(self) -> bool:
        """Tell whether something can be read at once; its end counts. While the stream is open."""
        poll = select.poll()
        poll.register(self._input_fd, select.POLLIN)
        return bool(poll.poll(0))

    def wait_for_wake(self, timeout_s: float) -> None:
        """Wait without reading, until `wake` or the timeout, whatever the peer does."""
        poll = select.poll()
        poll.register(self._waker.fileno(), select.POLLIN)
        poll.poll(int(timeout_s * 1000) + 1)

    def wait_for_hang_up(self, timeout_s: float) -> bool:
        """Wait without reading; True if the peer has gone for good (a reset, not a half-close).

        A peer on this computer that has closed its end has gone `limits.gone_client_s` later.
        """
        deadline = monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._waker.fileno(), select.POLLIN)
        # Of a pair of pipes the output counts: that nothing more can be read is no more than the end of the input.
        if self._output_fd >= 0:
            poll.register(self._output_fd, 0)
        while True:
            remaining_s = deadline - monotonic()
            events = dict(poll.poll(max(0, int(min(remaining_s, LOOK_S) * 1000) + 1)))
            if events.get(self._output_fd, 0) & (select.POLLERR | select.POLLHUP) or self._has_gone():
                return True
            if events or remaining_s <= LOOK_S:
                return False

    def _has_gone(self) -> bool:
        """Tell whether the peer closed its end a while ago, as far as that can be known."""
        return False

    def _send(self, views: list[memoryview]) -> int:
        while True:
            try:
                return self._send_now(views)
            except BlockingIOError:
                self._wait_until_writable()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                    raise StorageError(f"the output cannot be written: {_reason(error)}") from error
                raise ConnectionLost(f"the connection was lost while writing: {_reason(error)}") from error

    def _wait_until_writable(self) -> None:
        poll = select.poll()
        poll.register(self._output_fd, select.POLLOUT)
        began = monotonic()
        while True:
            idle_s = monotonic() - max(self.last_progress, began)
            if idle_s >= self.limits.stall_s:
                raise PeerTimeout(
                    f"the peer neither took nor sent anything for {self.limits.stall_s:g} s while output is pending"
                )
            if poll.poll(int(min(self.limits.stall_s - idle_s, 1.0) * 1000) + 1):
                return
            if self._closed:
                raise ConnectionLost("the connection was closed while writing")

    def wake(self) -> None:
        """Make a reader that waits, now or later, raise QueueClosed."""
        self._waker.wake()

    def close(self) -> None:
        """Release the descriptors. Idempotent."""
        if not self._closed:
            self._closed = True
            self._waker.close()
            self._close_descriptors()
            self._start = self._end = 0
            self._block = memoryview(b"")  # what is left of a session must not keep a block from being used again

    def _receive(self, view: memoryview) -> int:
        return os.readv(self._input_fd, [view])

    def _send_now(self, views: list[memoryview]) -> int:
        return os.writev(self._output_fd, views)

    def _close_descriptors(self) -> None:
        for descriptor in {self._input_fd, self._output_fd} - {-1}:
            os.close(descriptor)


class FileStream(DescriptorStream):
    """A stream over a pair of pipes or files, which it owns.

    Parameters
    ----------
    input_fd, output_fd
        Descriptors to read from and to write to; -1 for none.
    """


class SocketStream(DescriptorStream):
    """A stream over a connected socket, which it owns."""

    def __init__(self, connection: socket.socket, limits: Limits = LIMITS) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._gone_since: float | None = None
        super().__init__(connection.fileno(), connection.fileno(), limits)

    def _receive(self, view: memoryview) -> int:
        return self._socket.recv_into(view)

    def _send_now(self, views: list[memoryview]) -> int:
        return self._socket.sendmsg(views)

    def peer_socket(self) -> PeerSocket | None:
        """Give what the kernel knows of the other end, if that is on this computer. While the stream is open."""
        return find_peer(self._socket)

    def _has_gone(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        peer = self.peer_socket() if poll.poll(0) else None
        if peer is None or peer.is_held:
            return False
        if self._gone_since is None:
            self._gone_since = monotonic()
        return monotonic() - self._gone_since >= self.limits.gone_client_s

    def close_write(self) -> None:
        """Half-close: the peer sees the end after everything that was written."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):
                raise ConnectionLost(f"the connection could not be ended in order: {_reason(error)}") from error

    def hang_up(self) -> None:
        """End both directions now: whoever reads or writes, in whatever thread, fails. From any thread; idempotent."""
        with suppress(OSError):  # the peer may have ended it before
            self._socket.shutdown(socket.SHUT_RDWR)

    def discard_input(self, deadline: float, max_bytes: int) -> None:
        """Read and drop what the peer still sends.

        Closing a socket with unread input resets the connection, and a reset can erase what the peer has not read yet.
        """
        scratch = memoryview(bytearray(DISCARD_BYTES))
        poll = select.poll()
        poll.register(self._input_fd, select.POLLIN)
        discarded = 0
        while discarded < max_bytes:
            remaining_s = deadline - monotonic()
            if remaining_s <= 0 or not poll.poll(int(remaining_s * 1000) + 1):
                return
            try:
                received = self._socket.recv_into(scratch)
            except BlockingIOError:
                continue
            except OSError:
                return  # reset by the peer: nobody is left to lose anything
            if received == 0:
                return
            discarded += received

    def _close_descriptors(self) -> None:
        self._socket.close()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
