"""The connection to a foreign module, as the Gadgetron sees it: it is the client, the module the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

from gadgetron.errors import ConnectionLost, RemoteError, UnexpectedMessageError
from gadgetron.limits import LIMITS
from gadgetron.message import MessageBlock
from gadgetron.message_io import GadgetMessageReader
from gadgetron.protocol.classic_client import CLOSE_FRAME, configuration_script_frame, parameters_frame
from gadgetron.protocol.descriptor_stream import SocketStream
from gadgetron.protocol.message_ids import MessageID, message_name
from gadgetron.protocol.wire import read_bytes_u64, text_of


class ForeignLink:
    """A stream to a module.

    Parameters
    ----------
    stream
        Belongs to the link.
    readers
        By message id.
    """

    def __init__(self, stream: SocketStream, readers: Mapping[int, GadgetMessageReader]) -> None:
        self.stream = stream
        self._readers = readers
        self._done = threading.Event()
        self._ended = threading.Event()
        self.reads_since: float | None = None  # the reader waits for input since then; None: it does something else

    @property
    def is_done(self) -> bool:
        """Whether the module has sent CLOSE: it takes nothing any more."""
        return self._done.is_set()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be read: it has sent CLOSE, or its end, or what it may not."""
        return self._ended.is_set()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until nothing more will be read; False after the timeout."""
        return self._ended.wait(timeout_s)

    def starved_s(self) -> float:
        """Give for how long the reader has been waiting with nothing to read [s]; 0 while it does something else."""
        since = self.reads_since
        if since is None or self.stream.has_input():
            return 0.0
        return monotonic() - max(since, self.stream.last_progress)

    def has_unread(self) -> bool:
        """Whether the module has not read everything that was written; False if that cannot be known."""
        peer = self.stream.peer_socket()
        return peer is not None and peer.unread_bytes > 0

    # One thread writes

    def send_start(self, configuration: bytes, header: bytes) -> None:
        """Send what every module gets first."""
        self.stream.write(configuration_script_frame(configuration, self.stream.limits))
        self.stream.write(parameters_frame(header, self.stream.limits))

    def send_close(self) -> None:
        """Say that nothing more comes."""
        self.stream.write(CLOSE_FRAME)

    # Another one reads

    def receive(self, put: Callable[[list[MessageBlock]], None]) -> None:
        """Read until the module's CLOSE, and hand over what comes, in batches.

        Raises
        ------
        ConnectionLost
            If the connection ends without CLOSE.
        RemoteError
            If the module reports an error.
        ProtocolError
            If it sends what it may not.
        """
        stream = self.stream
        batch: list[MessageBlock] = []

        def hand_over() -> None:
            if batch:
                messages = batch[:]
                batch.clear()
                put(messages)

        def before_wait() -> None:
            self.reads_since = None
            hand_over()
            self.reads_since = monotonic()

        stream.before_wait = before_wait
        try:
            while True:
                start = stream.read_frame_start(2)
                self.reads_since = None
                if start is None:
                    hand_over()
                    raise ConnectionLost("its end came without CLOSE")
                message_id = start[0] | start[1] << 8
                reader = self._readers.get(message_id)
                if reader is not None:
                    batch.append(reader.read(stream))
                    self.reads_since = None
                    if len(batch) >= LIMITS.queue_messages:
                        hand_over()
                    continue
                hand_over()
                if message_id == MessageID.CLOSE:
                    self._done.set()
                    self._finish()
                    return
                if message_id == MessageID.ERROR:
                    text = text_of(read_bytes_u64(stream, "error length", stream.limits.max_text_bytes))
                    raise RemoteError(f"the module reports an error: {text}")
                raise UnexpectedMessageError(
                    f"the module sent {message_name(message_id)}, for which the node has no reader"
                )
        finally:
            stream.before_wait = self.reads_since = None
            self._ended.set()

    # The end

    def _finish(self) -> None:
        """Send nothing more: the module may be waiting for that, and who is writing to it need not go on."""
        with suppress(ConnectionLost):
            self.stream.close_write()

    def hang_up(self) -> None:
        """Wake whoever reads or writes. From any thread."""
        self.stream.wake()
        self.stream.hang_up()

    def close(self) -> None:
        """Release the socket, when nobody uses it any more."""
        self.stream.close()
