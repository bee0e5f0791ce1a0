"""The engine: one session's chain, from the first message to the last thread's end. It knows no sockets."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import structlog

from gadgetron.chain import Chain, build_chain
from gadgetron.configuration.model import StreamConfiguration
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.search import load_configuration
from gadgetron.environment import Environment
from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetError,
    GadgetronError,
    ProtocolError,
    QueueClosed,
    RemoteError,
    ServerBusy,
    ShuttingDown,
    StorageError,
    UnexpectedMessageError,
    UnknownMessageError,
    describe,
)
from gadgetron.gadget import Gadget
from gadgetron.message import GadgetContainerMessage, GadgetMessageIdentifier, MessageBlock, ParametersMessage
from gadgetron.message_io import GadgetMessageReader
from gadgetron.output import MessageSink, MessageSource, Output, QueryResponse
from gadgetron.protocol.message_ids import MessageID, message_name
from gadgetron.queries import answer_query
from gadgetron.session_state import ADVICE, TRANSITIONS, Action, Received, SessionState
from gadgetron.stream import EndGadget, Stream
from gadgetron.task import Task

log = structlog.get_logger()

# Failures that are the doing of peer, configuration or machine: told, and logged without a stack.
_NOT_OUR_DEFECT = (
    ProtocolError,
    ConnectionLost,
    ConfigurationError,
    StorageError,
    ServerBusy,
    ShuttingDown,
    RemoteError,
)


class GadgetStreamController:
    """Runs one session: configuration, parameters, data, drain or abort, and the order of teardown.

    The source calls `configuration_file`, `parameters`, `data` and their kin in the session's thread; gadgets call
    `output_ready` in theirs. Whatever fails, fails this session only, once, with one named error.

    Parameters
    ----------
    environment
        What sessions share.
    name
        For logs and threads' names: `session-12`.
    echo_parameters
        Whether parameters also go out again: in stream mode the next program in a pipe needs them.
    """

    def __init__(self, environment: Environment, name: str = "session", *, echo_parameters: bool = False) -> None:
        self.environment = environment
        self.name = name
        self.readers: dict[int, GadgetMessageReader] = {}
        """Readers of data, by message id; empty unless data is welcome."""
        self.state = SessionState.AWAIT_CONFIG
        self.phase_deadline: float | None = monotonic() + environment.limits.handshake_deadline_s
        self.error: GadgetronError | None = None
        self.messages_in = 0
        self.discarded = 0
        self.check_chain: Callable[[Chain], None] | None = None
        """What the session's protocol demands of a chain; called before any thread of it starts."""
        self._echo_parameters = echo_parameters
        self._configuration_name = ""
        self._chain = Chain()
        self._stream: Stream | None = None
        self._source: MessageSource | None = None
        self._sink: MessageSink | None = None
        self._is_admitted = False
        self._is_over = False
        self._began = monotonic()
        self._failure_lock = threading.Lock()  # decides which failure is the first
        self._ended = threading.Event()  # the chain has drained, or the session has failed

    # The life of a session

    def run(self, source: MessageSource, sink: MessageSink) -> GadgetronError | None:
        """Run the session to its end; every thread of it has been joined then.

        Returns
        -------
            What went wrong, or None.
        """
        structlog.contextvars.bind_contextvars(session=self.name)
        self._source, self._sink = source, sink
        try:
            sink.open()
            try:
                self._read(source)
                self._wait_for_chain(source)
            finally:
                sink.finish(self.error)
            source.finish()
        finally:
            self._join()
            if self._is_admitted:
                self.environment.admission.leave()
            with self._failure_lock:
                self._is_over = True
            self._summarize()
            structlog.contextvars.unbind_contextvars("session")
        return self.error

    def _read(self, source: MessageSource) -> None:
        try:
            source.run(self)
        except QueueClosed:
            if self.error is None:
                self.fail(ConnectionLost("reading ended before the input did"))
        except GadgetronError as error:
            self.fail(error)
        except BaseException as error:  # noqa: BLE001  # a configured reader may raise anything; it ends this session only
            named = GadgetError("reader", describe(error))
            named.__cause__ = error
            self.fail(named)

    def _wait_for_chain(self, source: MessageSource) -> None:
        """Wait until the chain has drained. A busy chain has no deadline; a client that has gone ends it."""
        next_log = monotonic() + self.environment.limits.stack_log_interval_s
        while not self._ended.is_set():
            try:
                if source.watch(max(0.0, next_log - monotonic())) and not self._ended.is_set():
                    self.fail(ConnectionLost("the client went away before it had its images"))
            except GadgetronError as error:
                self.fail(error)
            if monotonic() >= next_log and not self._ended.is_set():
                self._log_stacks("session.still_working")
                next_log = monotonic() + self.environment.limits.stack_log_interval_s

    def _join(self) -> None:
        if self._stream is None:
            return
        if self.error is not None:
            self._stream.abort()
        limits = self.environment.limits
        if self._stream.wait(limits.abort_deadline_s):
            return
        self._log_stacks("session.gadget_hangs")
        while not self._stream.wait(limits.stack_log_interval_s):
            self._log_stacks("session.gadget_hangs")

    def _log_stacks(self, event: str) -> None:
        frames = sys._current_frames()
        for gadget in self._stream.gadgets if self._stream is not None else []:
            for thread in gadget.running_threads:
                frame = frames.get(thread.ident or 0)
                if frame is not None:
                    stack = "".join(traceback.format_stack(frame)[-6:])
                    log.warning(event, thread=thread.name, waiting=gadget.inbox.qsize(), stack=stack)

    def fail(self, error: BaseException) -> None:
        """End the session with an error. From any thread; the first error counts, later ones are its consequences."""
        if not isinstance(error, GadgetronError):
            named = GadgetronError(describe(error))
            named.__cause__ = error
            error = named
        with self._failure_lock:
            if self.error is not None or self._is_over:
                log.debug("session.later_failure", session=self.name, error=str(error))
                return
            self.error = error
        reason = error.__cause__ if isinstance(error, GadgetError) else error
        if isinstance(reason, _NOT_OUR_DEFECT):
            log.warning("session.failed", session=self.name, error=str(error), kind=type(error).__name__)
        else:
            log.error("session.failed", session=self.name, error=str(error), kind=type(error).__name__, exc_info=error)
        self._ended.set()
        if self._stream is not None:
            self.discarded += self._stream.abort()
        if self._sink is not None:
            self._sink.abort(error)
        if self._source is not None:
            self._source.wake()

    def _summarize(self) -> None:
        gadgets = self._stream.gadgets if self._stream is not None else []
        log.info(
            "session.summary",
            session=self.name,
            configuration=self._configuration_name,
            received=self.messages_in,
            written=self._sink.written if self._sink is not None else 0,
            dropped=self._sink.dropped if self._sink is not None else 0,
            discarded=self.discarded,
            gadgets={
                gadget.name: {"in": gadget.messages_in, "out": gadget.messages_out, "busy_s": round(gadget.busy_s, 4)}
                for gadget in gadgets
            },
            duration_s=round(monotonic() - self._began, 4),
            error=str(self.error) if self.error is not None else None,
        )

    # What the source calls, in the session's thread

    def _action(self, received: Received, name: str = "") -> Action:
        action = TRANSITIONS[self.state, received]
        if action is Action.REFUSE:
            advice = ADVICE.get((self.state, received), "a server does not take that")
            raise UnexpectedMessageError(
                f"got {name or received.value} while {self.state.value}: {advice}", self.state.value
            )
        return action

    def configuration_file(self, name: str) -> None:
        """Build the chain that a configuration of this name describes."""
        if self._action(Received.CONFIG) is Action.CONFIGURE:
            self._configuration_name = name
            self._configure(load_configuration(name, self.environment.search))

    def default_configuration(self) -> None:
        """Build the chain for a client that leaves the choice to the server."""
        self.configuration_file(self.environment.default_configuration)

    def configuration_script(self, xml: bytes) -> None:
        """Build the chain that this XML describes."""
        if self._action(Received.CONFIG) is Action.CONFIGURE:
            self._configuration_name = "(sent by the client)"
            self._configure(parse_configuration(xml, "the configuration sent by the client", from_client=True))

    def configuration(self, configuration: StreamConfiguration, name: str) -> None:
        """Build the chain of a configuration that has been parsed already, by who runs this process."""
        if self._action(Received.CONFIG) is Action.CONFIGURE:
            self._configuration_name = name
            self._configure(configuration)

    def _configure(self, configuration: StreamConfiguration) -> None:
        self.environment.admission.enter()
        self._is_admitted = True
        chain = build_chain(configuration, self.environment)
        if self.check_chain is not None:
            self.check_chain(chain)
        stream = Stream(
            chain.nodes,
            EndGadget(self._deliver, self._chain_closed),
            session_name=self.name,
            on_failure=self._gadget_failed,
            limits=self.environment.limits,
        )
        for gadget in chain.all_gadgets:
            gadget.controller = _GadgetView(self, gadget)
        self._chain = chain
        try:
            stream.open()
        except RuntimeError as error:
            raise ServerBusy(f"the chain cannot be started: {error}") from error
        with self._failure_lock:
            self._stream = stream
            has_failed = self.error is not None
        if has_failed:  # from another thread, before it could see the stream
            stream.abort()
            raise QueueClosed("the session has failed")
        log.info(
            "session.configured",
            configuration=self._configuration_name,
            chain=[gadget.name for gadget in chain.gadgets],
        )
        self.state = SessionState.AWAIT_HEADER
        self.phase_deadline = monotonic() + self.environment.limits.header_deadline_s

    def parameters(self, message: ParametersMessage) -> None:
        """Send parameters through the chain, in order with the data."""
        if self._action(Received.HEADER) is not Action.SEND_PARAMETERS:
            return
        if self._echo_parameters and self._sink is not None:
            self._sink.put_many([Output(MessageID.HEADER, message, None)])
        self._begin()
        self._head().putq(message)

    @property
    def awaits_configuration(self) -> bool:
        """Whether there is no chain yet."""
        return self.state is SessionState.AWAIT_CONFIG

    def begin_without_parameters(self) -> None:
        """Take data from now on, if parameters are still missing and no gadget of the chain has a use for them."""
        if self.state is SessionState.AWAIT_HEADER and not any(map(takes_parameters, self._chain.all_gadgets)):
            self._begin()

    def _begin(self) -> None:
        self.state = SessionState.STREAM
        self.phase_deadline = None
        self.readers.update(self._chain.readers)

    def data(self, messages: Sequence[MessageBlock]) -> None:
        """Send data into the chain. Waits while the first gadget's queue is full."""
        if self._action(Received.DATA) is Action.SEND_DATA:
            self.messages_in += len(messages)
            self._head().put_many(messages)

    def _head(self) -> Task:
        if self._stream is None:
            raise QueueClosed("there is no chain")
        return self._stream.head

    def end_of_input(self) -> None:
        """Drain the chain: there will be no more input."""
        if self._action(Received.CLOSE) is not Action.END:
            return
        self.state = SessionState.DRAINING
        if self._stream is None:
            self._chain_closed()
        else:
            self._stream.close()

    def text(self, text: str) -> None:
        """Log what the client says."""
        if self._action(Received.TEXT) is Action.LOG:
            log.info("client.text", n_characters=len(text))
            log.debug("client.text_content", text=text)

    def query(self, correlation_id: int, query: str) -> None:
        """Answer a query."""
        if self._action(Received.QUERY) is Action.ANSWER and self._sink is not None:
            response = QueryResponse(correlation_id, answer_query(query).encode())
            self._sink.put_many([Output(MessageID.RESPONSE, GadgetContainerMessage(response), None)])

    def response(self) -> None:
        """Refuse a response: nothing was asked."""
        self._action(Received.RESPONSE)

    def peer_error(self, text: str) -> None:
        """Fail with what the peer reports."""
        if self._action(Received.ERROR) is Action.REPORT_PEER_ERROR:
            raise RemoteError(f"the client reports an error: {text}")

    def no_reader(self, message_id: int) -> None:
        """Refuse a message that is no control message and has no reader at this time."""
        if message_id in self._chain.readers or (message_id in _KNOWN_IDS and self.state is SessionState.AWAIT_CONFIG):
            self._action(Received.DATA, message_name(message_id))
        if self._action(Received.UNKNOWN) is Action.REFUSE_UNKNOWN:
            raise UnknownMessageError(message_id, self.state.value)

    # What gadgets call, in their threads

    def output_ready(self, message: MessageBlock) -> int:
        """Send a message to the client.

        Parameters
        ----------
        message
            A block that holds a GadgetMessageIdentifier, and the message as its `cont`.

        Raises
        ------
        ConfigurationError
            If no writer is configured for the id.
        """
        self._put([self._identified(message)])
        return 0

    def tell_client(self, text: str) -> None:
        """Send the client a text for people, in order with the output.

        Raises
        ------
        QueueClosed
            If the session is ending.
        """
        line = GadgetronError(text).client_text
        self._put([Output(MessageID.TEXT, GadgetContainerMessage(line), None)])

    def _identified(self, message: MessageBlock) -> Output:
        identifier = message.object if isinstance(message, GadgetContainerMessage) else None
        if not isinstance(identifier, GadgetMessageIdentifier) or message.cont is None:
            raise ConfigurationError(f"output must be a GadgetMessageIdentifier and a message, got {message!r}")
        writer = self._chain.writers.get(identifier.id)
        if writer is None:
            slots = ", ".join(str(slot) for slot in self._chain.writers) or "none"
            raise ConfigurationError(
                f"no writer is configured for message id {message_name(identifier.id)} — "
                f"writers are configured for: {slots}"
            )
        return Output(identifier.id, message.cont, writer)

    def _deliver(self, messages: Sequence[MessageBlock]) -> None:
        """Take what falls off the chain's end."""
        outputs = []
        for message in messages:
            if isinstance(message, GadgetContainerMessage) and isinstance(message.object, GadgetMessageIdentifier):
                outputs.append(self._identified(message))
                continue
            writer = self._chain.writer_for(message)
            if writer is None:
                self.discarded += 1
                if self.discarded == 1:
                    log.info("session.no_writer", session=self.name, message=repr(message))
            else:
                outputs.append(Output(writer.slot, message, writer))
        if outputs:
            self._put(outputs)

    def _put(self, outputs: Sequence[Output]) -> None:
        if self._sink is None:
            raise QueueClosed("the session has no output")
        self._sink.put_many(outputs)

    def _chain_closed(self) -> None:
        self._ended.set()
        if self._source is not None:
            self._source.wake()

    def _gadget_failed(self, task: Task, error: BaseException) -> None:
        self.fail(error)

    def find_gadget(self, name: str) -> Gadget | None:
        """Give a gadget of this session by its name."""
        return next((gadget for gadget in self._chain.all_gadgets if gadget.name == name), None)

    @property
    def working_directory(self) -> Path:
        """Folder in which gadgets may write."""
        return self.environment.make_working_directory()

    def parameter(self, name: str) -> str | None:
        """Give a free parameter of this run."""
        return self.environment.parameters.get(name)

    def __repr__(self) -> str:
        return f"<GadgetStreamController {self.name} {self.state.name} {self._stream!r}>"

    def status(self) -> str:
        """Describe the session and its queues, a line each."""
        gadgets = self._stream.gadgets if self._stream is not None else []
        return "\n".join([repr(self), *(f"  {gadget!r}" for gadget in gadgets)])


class _GadgetView:
    """The controller as one gadget sees it: output of several threads goes out in the order of the input."""

    def __init__(self, controller: GadgetStreamController, gadget: Gadget) -> None:
        self._controller = controller
        self._gadget = gadget

    def output_ready(self, message: MessageBlock) -> int:
        self._gadget.flush_pending()  # what was put before goes out before
        self._gadget.wait_for_turn()
        self._gadget.messages_out += 1
        return self._controller.output_ready(message)

    def tell_client(self, text: str) -> None:
        self._controller.tell_client(text)

    def find_gadget(self, name: str) -> Gadget | None:
        return self._controller.find_gadget(name)

    def parameter(self, name: str) -> str | None:
        return self._controller.parameter(name)

    @property
    def working_directory(self) -> Path:
        return self._controller.working_directory


def takes_parameters(gadget: Gadget) -> bool:
    """Tell whether a gadget does anything with parameters."""
    return type(gadget).process_config is not Gadget.process_config


_KNOWN_IDS = frozenset(MessageID)
