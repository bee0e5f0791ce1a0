"""The connection as its user sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Self

from gadgetron.connector.outcome import Outcome
from gadgetron.connector.receiving import EntityReceiver, OnMessage, OnText, Receiver
from gadgetron.connector.sending import Sender
from gadgetron.connector.wire import ClassicWire, ClientWire, entity_writers
from gadgetron.errors import ConfigurationError, ConnectionLost, GadgetronError, PeerTimeout, QueueClosed
from gadgetron.limits import LIMITS, MIB, Limits
from gadgetron.message import (
    GadgetContainerMessage,
    GadgetMessageIdentifier,
    MessageBlock,
    MessageKind,
    close_message,
    config_message,
)
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_queue import MessageQueue
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.protocol.classic_client import connect
from gadgetron.protocol.entity.client import EntityClient
from gadgetron.standard_messages import load_standard_readers, load_standard_writers

DEFAULT_PORT = 9002
IDLE_S = 12 * 3600.0  # a busy chain is silent; a dead peer is noticed by keepalive
TEARDOWN_S = 5.0
FULL_INBOX_CHECK_S = 1.0


class GadgetronConnector:
    """A connection to a Gadgetron.

    `open` starts two threads. The writer thread serializes what `putq` gave to a bounded queue. The reader thread hands
    what comes to `on_message`, or keeps it to be iterated over: `for message_id, message in connector`. Texts of the
    server are gathered in `texts`. Leaving the context sends CLOSE, waits for the server's, and raises what went wrong;
    leaving it by an exception hangs up.

    Parameters
    ----------
    on_message
        Called with (message id, message) in the reader thread. What it raises ends the connection.
    on_text
        Called with each text of the server, in the reader thread.
    limits
        Sizes of what is read, and deadlines within a message.
    idle_s
        How long the server may be silent, or take nothing, before it counts as lost.
    max_received_bytes
        Without `on_message`: how much may wait to be iterated over. Above it reading pauses.
    protocol
        "classic", or "entity" for the framed one: the messages are the same, but for what only one of them can say
        (queries and texts, and readers and writers of one's own, are classic).

    Notes
    -----
    Readers and writers for all messages we know are registered from the start; `register_reader` and `register_writer`
    replace or add, before `open`. `putq` may be called from several threads.
    """

    def __init__(
        self,
        *,
        on_message: OnMessage | None = None,
        on_text: OnText | None = None,
        limits: Limits = LIMITS,
        idle_s: float = IDLE_S,
        max_received_bytes: int = LIMITS.max_session_bytes,
        protocol: str = "classic",
    ) -> None:
        self.texts: list[str] = []
        self._limits = replace(limits, idle_between_frames_s=idle_s, stall_s=idle_s)
        self._on_text = on_text
        self._inbox: MessageQueue | None = None if on_message else MessageQueue(2**31, max_received_bytes)
        self._outcome = Outcome()
        self._wire: ClientWire = ClassicWire(self._limits)
        client: EntityClient | None = None
        if protocol == "entity":
            self._wire = client = EntityClient(limits=self._limits)
        elif protocol != "classic":
            raise ConfigurationError(f"protocol is {protocol!r} — expected classic or entity")
        writers = load_standard_writers() if client is None else entity_writers(client)
        self._sender = Sender(writers, self._outcome, self._wire, self._fail)
        callbacks: dict[str, Any] = {
            "deliver": on_message or self._keep,
            "on_text": self._take_text,
            "may_close": lambda: self._sender.everything_sent,
            "on_remote_error": self._sender.stop,
        }
        self._receiver = (
            Receiver(load_standard_readers(), self._outcome, self._limits, **callbacks)
            if client is None
            else EntityReceiver(client, self._outcome, self._limits, **callbacks)
        )
        self._stream: ByteStream | None = None
        self._reader_thread: threading.Thread | None = None
        self._writer_thread: threading.Thread | None = None
        self._ended = threading.Event()  # the reader thread has torn everything down
        self._stream_lock = threading.Lock()  # held to wake the stream, and to close it: never both at once
        self._is_torn_down = False

    # Setting up

    def open(self, hostname: str = "localhost", port: int | str = DEFAULT_PORT, timeout_s: float = 10.0) -> Self:
        """Connect, and start the threads.

        Raises
        ------
        ConnectionLost
            If nothing listens there; the text names host, port and cause.
        PeerTimeout
            If there is no answer within the time.
        RemoteError
            If the server denies the connection (the framed protocol only).
        ConfigurationError
            If the port is no port, or the connector has been opened before.
        """
        if self._stream is not None:
            raise ConfigurationError(f"this connector has been opened already, to {self._outcome.where}: make another")
        number = _port_number(port)
        self._outcome.where = f"{hostname}:{number}"
        stream = connect(hostname, number, timeout_s, self._limits)
        try:
            self._wire.shake_hands(stream, timeout_s)
        except GadgetronError:
            stream.close()
            raise
        self._stream = stream
        self._writer_thread = _thread("connector/writer", self._sender.run, stream)
        self._reader_thread = _thread("connector/reader", self._read, stream)
        self._writer_thread.start()
        self._reader_thread.start()
        return self

    def register_reader(self, slot: int, reader: GadgetMessageReader) -> None:
        """Have messages with this id read by a reader."""
        self._receiver.register(int(slot), reader)

    def register_writer(self, slot: int, writer: GadgetMessageWriter) -> None:
        """Have messages for this id, and messages of its types, written by a writer.

        Raises
        ------
        ConfigurationError
            In the framed protocol, which has no slots.
        """
        if isinstance(self._wire, EntityClient):
            raise ConfigurationError(
                f"{type(writer).__name__} (slot {int(slot)}): the framed protocol has no form for its messages"
            )
        self._sender.register(int(slot), writer)

    # Sending

    def send_gadgetron_configuration_file(self, config_xml_name: str) -> None:
        """Name the server's configuration to run."""
        self._send_frame(self._wire.configuration_file(config_xml_name))

    def send_gadgetron_configuration_script(self, config_xml: str | bytes) -> None:
        """Send a configuration itself."""
        self._send_frame(self._wire.configuration_script(_utf8(config_xml)))

    def send_gadgetron_parameters(self, xml: str | bytes) -> None:
        """Send parameters for every gadget, conventionally an ISMRMRD header. At any time, in order with the data."""
        self.putq(config_message(_utf8(xml)))

    def send_text(self, text: str) -> None:
        """Send a line for the server's log."""
        self._send_frame(self._wire.text(text))

    def send_close(self) -> None:
        """Say that no more data comes. The server finishes what it has, and ends. More calls do nothing."""
        self._opened()
        self._sender.put_close()

    def putq(self, message: Any) -> int:
        """Queue one message; waits while the queue is full.

        Parameters
        ----------
        message
            A message whose types a registered writer accepts; one that begins with a GadgetMessageIdentifier, for the
            writer of that id; parameters; the close message; or an item that `as_message` makes a message of. It is
            given away.

        Returns
        -------
            0, as ACE has it.

        Raises
        ------
        ConfigurationError
            If no writer is registered for it.
        QueueClosed
            If CLOSE has been sent.
        RemoteError, ConnectionLost
            If the connection is over.
        """
        self.put_many([message])
        return 0

    def put_many(self, messages: Sequence[Any]) -> None:
        """Queue messages, in order, in one queue operation; as `putq`."""
        self._opened()
        self._sender.put_many(messages)

    def _send_frame(self, frame: bytes) -> None:
        self._opened()
        self._sender.put_frame(frame)

    def _opened(self) -> ByteStream:
        if self._stream is None:
            raise ConnectionLost("not connected: call open first")
        return self._stream

    def query(self, question: str | bytes, timeout_s: float = 10.0) -> str:
        """Ask the server something, `gadgetron::version` for instance, and wait for the answer.

        Raises
        ------
        PeerTimeout
            If there is none within the time.
        """
        return self._receiver.ask(lambda number: self._send_frame(self._wire.query(number, _utf8(question))), timeout_s)

    # Receiving

    def __iter__(self) -> Iterator[tuple[int, MessageBlock]]:
        """Iterate over (message id, message) until the server's CLOSE; raise what went wrong."""
        if self._inbox is None:
            raise ConfigurationError("what comes goes to on_message: there is nothing to iterate over")
        self._opened()
        while True:
            try:
                received = self._inbox.get()
            except QueueClosed:
                self._outcome.raise_failure()
                return
            if received.kind is MessageKind.CLOSE:
                self._inbox.put(received)  # for the next who iterates
                self.wait()
                return
            if isinstance(received, GadgetContainerMessage) and received.cont is not None:
                yield received.object.id, received.cont

    @property
    def messages_sent(self) -> int:
        """Messages with data that have been given to the operating system."""
        return self._sender.messages_sent

    @property
    def messages_received(self) -> int:
        """Messages with results that have come."""
        return self._receiver.messages_received

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the server has ended the session; says CLOSE first if that has not been said.

        Raises
        ------
        RemoteError
            If the server reported an error; the text is the server's.
        ConnectionLost
            If the connection ended without CLOSE.
        PeerTimeout
            If it has not ended within the time.
        GadgetronError
            Whatever else ended it, or if more was received than may wait to be iterated over.
        """
        if threading.current_thread() is self._reader_thread:
            raise ConfigurationError("on_message cannot wait for the end: nothing is read while it runs")
        self.send_close()
        deadline = None if timeout_s is None else monotonic() + timeout_s
        taken = -1
        while True:
            remaining_s = FULL_INBOX_CHECK_S if deadline is None else min(FULL_INBOX_CHECK_S, deadline - monotonic())
            if self._ended.wait(max(0.0, remaining_s)):
                break
            if deadline is not None and monotonic() >= deadline:
                raise PeerTimeout(f"{self._outcome.where}: the reconstruction did not end within {timeout_s:g} s")
            taken = self._check_inbox(taken)
        self._join()
        self._outcome.raise_failure()

    def _check_inbox(self, taken_before: int) -> int:
        """Raise if the inbox is full and nobody takes from it: that would be waiting for ever."""
        if self._inbox is None:
            return 0
        state = self._inbox.statistics()
        if state.nbytes >= self._inbox.max_bytes and state.put - state.messages == taken_before:
            raise GadgetronError(
                f"{state.nbytes // MIB} MiB of results wait to be taken: iterate over the connector, or give on_message"
            )
        return state.put - state.messages

    def close(self, timeout_s: float | None = None) -> None:
        """End in order: `wait`, and hang up if that fails. What was received can still be iterated over."""
        if self._stream is None or self._reader_thread is None:
            return
        try:
            self.wait(timeout_s)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Hang up now; what is queued is dropped. From any thread; idempotent."""
        if self._stream is None:
            return
        if not self._ended.is_set():
            self._fail(ConnectionLost(f"{self._outcome.where}: the connection was aborted"))
        if self._inbox is not None:
            self._inbox.close()
        self._join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_rest: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def _join(self) -> None:
        reader, writer = self._reader_thread, self._writer_thread
        if threading.current_thread() is reader:
            return
        for thread in (reader, writer):
            if thread is not None:
                thread.join(TEARDOWN_S)
        self._reader_thread = self._writer_thread = None

    def _fail(self, error: BaseException) -> None:
        """Note a failure, stop sending, and end the reader's waiting."""
        self._outcome.note(error)
        self._sender.stop()
        with self._stream_lock:
            if self._stream is not None and not self._is_torn_down:
                self._stream.wake()

    # The reader thread

    def _read(self, stream: ByteStream) -> None:
        """Receive until the end, then end everything: so nothing is left behind even if nobody waits."""
        self._receiver.run(stream)
        self._sender.stop()
        try:
            stream.close_write()  # a writer that waits for the peer wakes
        except GadgetronError as error:
            self._outcome.note(error)
        if self._writer_thread is not None:
            self._writer_thread.join(TEARDOWN_S)
        with self._stream_lock:
            self._is_torn_down = True
            stream.close()
        self._receiver.end_queries()
        self._ended.set()
        if self._inbox is not None and not self._inbox.is_closed:
            self._keep_end(self._inbox)

    def _keep(self, message_id: int, message: MessageBlock) -> None:
        if self._inbox is not None:
            self._inbox.put(GadgetContainerMessage(GadgetMessageIdentifier(message_id), message))

    def _keep_end(self, inbox: MessageQueue) -> None:
        try:
            inbox.put(close_message())
        except QueueClosed:
            return  # aborted in the meantime: nobody iterates

    def _take_text(self, text: str) -> None:
        self.texts.append(text)
        if self._on_text is not None:
            self._on_text(text)

    def __repr__(self) -> str:
        state = "ended" if self._ended.is_set() else "closed" if self._stream is None else "open"
        counts = f"{self.messages_sent} sent, {self.messages_received} received"
        return f"<GadgetronConnector {self._outcome.where} {state}, {counts}>"


def _thread(name: str, target: Callable[[ByteStream], None], stream: ByteStream) -> threading.Thread:
    return threading.Thread(target=target, args=(stream,), name=name, daemon=True)


def _utf8(text: str | bytes) -> bytes:
    return (text.encode() if isinstance(text, str) else bytes(text)).rstrip(b"\0")


def _port_number(port: int | str) -> int:
    try:
        number = int(port)
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ConfigurationError(f"port {port!r}: a number from 1 to 65535 is expected")
    return number
