"""The receiving half of a connection: registered readers, and the loop of the reader thread."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from gadgetron.connector.outcome import Outcome
from gadgetron.connector.wire import read_result
from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    PeerTimeout,
    QueueClosed,
    RemoteError,
    UnknownMessageError,
)
from gadgetron.limits import Limits
from gadgetron.message import MessageBlock, config_message
from gadgetron.message_io import GadgetMessageReader
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.protocol.entity.client import EntityClient
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import read_bytes_u32, read_bytes_u64, text_of

OnMessage = Callable[[int, MessageBlock], None]
OnText = Callable[[str], None]

AFTER_ERROR_S = 10.0  # how long the server may take from its ERROR text to its CLOSE

# Ours begin with ERROR; the C++ server writes "[where it happened] ERROR: what".
_ERROR_TEXT = re.compile(r"(?:\[[^\]]*\] )?ERROR[ :]")


class Receiver:
    """Takes messages off the wire until CLOSE.

    Parameters
    ----------
    readers
        By message id.
    outcome
        Where failures are noted.
    deliver
        Called with (message id, message).
    on_text
        Called with each text.
    may_close
        Tells whether the server's CLOSE is an orderly end now.
    on_remote_error
        Called when the server has reported an error: sending is of no use any more.
    """

    def __init__(
        self,
        readers: dict[int, GadgetMessageReader],
        outcome: Outcome,
        limits: Limits,
        *,
        deliver: OnMessage,
        on_text: OnText,
        may_close: Callable[[], bool],
        on_remote_error: Callable[[], None],
    ) -> None:
        self.messages_received = 0
        self._readers = readers
        self._outcome = outcome
        self._limits = limits
        self._deliver = deliver
        self._on_text = on_text
        self._may_close = may_close
        self._on_remote_error = on_remote_error
        self._lock = threading.Lock()  # guards the queries
        self._queries: dict[int, _Query] = {}
        self._query_numbers = itertools.count(1)
        self._has_ended = False

    def register(self, slot: int, reader: GadgetMessageReader) -> None:
        """Have a reader serve an id."""
        self._readers[slot] = reader

    # The reader thread

    def run(self, stream: ByteStream) -> None:
        """Read until CLOSE, or until something is wrong, which is noted. The body of the reader thread."""
        try:
            while self._read_message(stream):
                pass
        except QueueClosed:
            self._outcome.note(ConnectionLost(f"{self._outcome.where}: the connection was ended from here"))
        except ConnectionLost as error:
            named = type(error)(f"{self._outcome.where}: {error}")
            named.__cause__ = error
            self._outcome.note(named)
        except BaseException as error:  # noqa: BLE001  # readers and callbacks may raise anything; `wait` raises it again
            self._outcome.note(error)

    def _read_message(self, stream: ByteStream) -> bool:
        """Read one message; False after CLOSE."""
        start = stream.read_frame_start(2)
        if start is None:
            raise ConnectionLost("the server hung up without CLOSE: results may be missing")
        message_id = start[0] | start[1] << 8
        reader = self._readers.get(message_id)
        if reader is not None:
            self._hand_on(message_id, reader.read(stream))
            return True
        if message_id != MessageID.CLOSE:
            self._read_control(message_id, stream)
            return True
        return self._closed()

    def _closed(self) -> bool:
        if not self._may_close() and not self._outcome.has_remote_error:
            raise ConnectionLost("the server ended the session before everything was sent")
        return False

    def _read_control(self, message_id: int, stream: ByteStream) -> None:
        limits = self._limits
        if message_id == MessageID.TEXT:
            text = text_of(read_bytes_u32(stream, "text bytes", limits.max_text_bytes))
            self._on_text(text)
            if _ERROR_TEXT.match(text):
                self._remote_error(text, stream)
        elif message_id == MessageID.ERROR:
            self._remote_error(text_of(read_bytes_u64(stream, "error bytes", limits.max_text_bytes)), stream)
        elif message_id == MessageID.RESPONSE:
            number = stream.read_u64()
            self._answer(number, text_of(read_bytes_u64(stream, "response bytes", limits.max_text_bytes)))
        elif message_id == MessageID.HEADER:
            data = read_bytes_u32(stream, "parameters bytes", limits.max_header_bytes)
            self._hand_on(message_id, config_message(data))
        else:
            raise UnknownMessageError(message_id, "waiting for results")

    def _hand_on(self, message_id: int, message: MessageBlock) -> None:
        self.messages_received += 1
        self._deliver(message_id, message)

    def _remote_error(self, text: str, stream: ByteStream) -> None:
        self._outcome.note(RemoteError(text))
        self._on_remote_error()
        stream.phase_deadline = monotonic() + AFTER_ERROR_S

    # Queries

    def ask(self, send: Callable[[int], None], timeout_s: float) -> str:
        """Send a query, given its number, and wait for the answer."""
        query = _Query()
        with self._lock:
            number = next(self._query_numbers)
            self._queries[number] = query
            if self._has_ended:
                query.answered.set()
        try:
            send(number)
            if not query.answered.wait(timeout_s):
                raise PeerTimeout(f"{self._outcome.where}: no answer to the query within {timeout_s:g} s")
        finally:
            with self._lock:
                del self._queries[number]
        if query.answer is None:
            self._outcome.raise_failure()
            raise ConnectionLost(f"{self._outcome.where}: the connection ended before the query was answered")
        return query.answer

    def _answer(self, number: int, answer: str) -> None:
        with self._lock:
            query = self._queries.get(number)
        if query is not None:
            query.answer = answer
            query.answered.set()

    def end_queries(self) -> None:
        """Wake everybody who waits for an answer: there will be none."""
        with self._lock:
            self._has_ended = True
            for query in self._queries.values():
                query.answered.set()


class EntityReceiver(Receiver):
    """Takes entities off the wire until DONE.

    Parameters
    ----------
    client
        Our side of the session.
    **rest
        As for `Receiver`, but for the readers: every entity has one form.
    """

    def __init__(self, client: EntityClient, outcome: Outcome, limits: Limits, **rest: Any) -> None:
        super().__init__({}, outcome, limits, **rest)
        self._client = client

    def register(self, slot: int, reader: GadgetMessageReader) -> None:
        """Refuse: entities have no slots."""
        raise ConfigurationError(
            f"{type(reader).__name__} (slot {slot}): the framed protocol has no form for its messages"
        )

    def _read_message(self, stream: ByteStream) -> bool:
        """Read one entity; False after DONE."""
        try:
            received = read_result(self._client, stream, self._limits)
        except RemoteError as error:
            self._remote_error(str(error), stream)
            return True
        if received is not None:
            self._hand_on(*received)
            return True
        return self._closed()


@dataclass
class _Query:
    answered: threading.Event = field(default_factory=threading.Event)
    answer: str | None = None
