"""The sending half of a connection: registered writers, a bounded queue, and the loop of the writer thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from gadgetron.connector.outcome import Outcome
from gadgetron.connector.wire import ClientWire
from gadgetron.conversion import as_message
from gadgetron.errors import ConfigurationError, ConnectionLost, PeerTimeout, QueueClosed
from gadgetron.limits import MIB
from gadgetron.message import (
    GadgetContainerMessage,
    GadgetMessageIdentifier,
    MessageBlock,
    MessageKind,
    ParametersMessage,
    close_message,
    matches,
)
from gadgetron.message_io import GadgetMessageWriter
from gadgetron.message_queue import MessageQueue
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.protocol.message_ids import MessageID

OUTBOX_MESSAGES = 1024
OUTBOX_BYTES = 8 * MIB
BATCH_MESSAGES = 512


class Sender:
    """Puts messages on the wire in the order in which they were given.

    Parameters
    ----------
    writers
        By message id.
    outcome
        Where failures are noted.
    wire
        How everything that is not data is said.
    on_failure
        Called in the writer thread when sending fails and the peer would not notice by itself.

    Attributes
    ----------
    messages_sent
        Messages with data that have been given to the operating system.
    everything_sent
        Whether all that is left is CLOSE.
    """

    def __init__(
        self,
        writers: dict[int, GadgetMessageWriter],
        outcome: Outcome,
        wire: ClientWire,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.messages_sent = 0
        self.everything_sent = False
        self._writers = writers
        self._outcome = outcome
        self._wire = wire
        self._on_failure = on_failure
        self._writer_of: dict[type, GadgetMessageWriter] = {}  # where a message's first type decides
        self._outbox = MessageQueue(OUTBOX_MESSAGES, OUTBOX_BYTES)
        self._lock = threading.Lock()  # guards the next
        self._close_queued = False

    def register(self, slot: int, writer: GadgetMessageWriter) -> None:
        """Have a writer serve an id, and be asked first whether it accepts a message."""
        self._writers = {slot: writer, **{known: other for known, other in self._writers.items() if known != slot}}
        self._writer_of.clear()

    def put_many(self, items: Sequence[Any]) -> None:
        """Queue messages; waits while the queue is full."""
        messages = [self._prepared(item) for item in items]
        with self._lock:
            if self._close_queued:
                self._outcome.raise_failure()
                raise QueueClosed("CLOSE has been sent: nothing can follow")
        ends = bool(messages) and messages[-1].kind is MessageKind.CLOSE
        try:
            self._outbox.put_many(messages[:-1] if ends else messages)
        except QueueClosed:
            self._outcome.raise_failure()
            raise ConnectionLost(f"{self._outcome.where}: the connection is over") from None
        if ends:
            self.put_close()

    def put_frame(self, frame: bytes) -> None:
        """Queue bytes that are a message already."""
        self.put_many([_Frame(frame)])

    def put_close(self) -> None:
        """Queue CLOSE. More calls do nothing."""
        with self._lock:
            if self._close_queued:
                return
            self._close_queued = True
        try:
            self._outbox.put(close_message())
        except QueueClosed:
            return  # the connection is over; the outcome tells why

    def stop(self) -> None:
        """Drop what is queued, and have `run` end and `put_many` raise."""
        self._outbox.close()

    def run(self, stream: ByteStream) -> None:
        """Write until CLOSE or `stop`. The body of the writer thread."""
        try:
            while True:
                batch = self._outbox.get_many(BATCH_MESSAGES)
                if batch[0].kind is MessageKind.CLOSE:
                    self.everything_sent = True  # before the peer can answer
                    stream.write(self._wire.close())
                    return
                self._write(stream, batch)
                self.messages_sent += sum(message.kind is MessageKind.DATA for message in batch)
                del batch  # or the last one is kept alive while waiting
                self._outbox.done()
        except QueueClosed:
            return
        except PeerTimeout as error:
            self._on_failure(PeerTimeout(f"{self._outcome.where}: {error}"))
        except ConnectionLost as error:
            # The server may have said why before it hung up: the reader finds out, and finds the end as well.
            self._outcome.note(ConnectionLost(f"{self._outcome.where}: {error}"))
            self._outbox.close()
        except BaseException as error:  # noqa: BLE001  # a registered writer may raise anything; `wait` raises it again
            self._on_failure(error)

    def _write(self, stream: ByteStream, batch: Sequence[MessageBlock]) -> None:
        for writer, run in groupby(batch, key=self._writer_or_none):
            if writer is not None:
                writer.write_many(stream, [_without_identifier(message) for message in run])
            else:
                for message in run:
                    stream.write(self._frame_of(message))

    def _writer_or_none(self, message: MessageBlock) -> GadgetMessageWriter | None:
        return self._writer_for(message) if isinstance(message, GadgetContainerMessage) else None

    def _frame_of(self, message: MessageBlock) -> bytes:
        if isinstance(message, _Frame):
            return message.data
        if isinstance(message, ParametersMessage):
            return self._wire.parameters(message.data)
        raise ConfigurationError(f"no writer is registered for {message!r}")

    def _prepared(self, item: Any) -> MessageBlock:
        message = as_message(item)
        if isinstance(message, GadgetContainerMessage):
            first = message.object
            if isinstance(first, GadgetMessageIdentifier):
                if first.id == MessageID.CLOSE:
                    return close_message()
                if message.cont is None:
                    raise ConfigurationError(f"message id {first.id}: there is nothing behind the identifier")
            self._writer_for(message)
        return message

    def _writer_for(self, message: GadgetContainerMessage[Any]) -> GadgetMessageWriter:
        first = message.object
        writer = self._writer_of.get(type(first))
        if writer is not None:
            return writer
        if isinstance(first, GadgetMessageIdentifier):
            writer = self._writers.get(first.id)
            what = f"message id {first.id}"
        else:
            accepting = [w for w in self._writers.values() if any(matches(message, types) for types in w.accepts)]
            writer = accepting[0] if accepting else None
            what = repr(message)
            if len(accepting) == 1:
                self._writer_of[type(first)] = accepting[0]
        if writer is None:
            known = ", ".join(f"{slot} {type(known).__name__}" for slot, known in self._writers.items())
            raise ConfigurationError(f"no writer is registered for {what} — registered are: {known}")
        return writer


class _Frame(MessageBlock):
    """A message that is bytes already. Of kind CONFIG: admitted however full the queue is, and kept in order."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        super().__init__(MessageKind.CONFIG)
        self.data = data


def _without_identifier(message: MessageBlock) -> MessageBlock:
    if isinstance(message, GadgetContainerMessage) and isinstance(message.object, GadgetMessageIdentifier):
        return message.cont or message
    return message
