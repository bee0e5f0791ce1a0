"""The External node: sends messages to a foreign module, and puts what comes back to the next gadget."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import structlog

from gadgetron.configuration.model import ConnectSpec, ExecuteSpec
from gadgetron.configuration.parse_v1 import property_document
from gadgetron.errors import ConnectionLost, GadgetError, GadgetronError, QueueClosed, RemoteError, describe
from gadgetron.foreign.launch import make_launch
from gadgetron.foreign.link import ForeignLink
from gadgetron.foreign.module_output import without_stacks
from gadgetron.foreign.process import TICK_S, ForeignProcess
from gadgetron.foreign.settings import ForeignSettings
from gadgetron.gadget import CLOSE_NORMAL, Gadget
from gadgetron.limits import LIMITS, Limits
from gadgetron.message import MessageBlock, ParametersMessage, matches
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.properties import undeclared_properties, undeclared_text
from gadgetron.protocol.classic_client import connect
from gadgetron.protocol.descriptor_stream import SocketStream

FOREVER_S = 20.0 * 24 * 3600  # what poll can wait for at most is 24 days
VERDICT_S = 0.7  # for the process to end after its connection has: then the reason is known
LOOK_S = 1.0  # without progress, before it is looked for what the module has not read
GRACE_S = 0.1  # after a failure, for the process to end by itself
GRACE_REPORTED_S = 2.0  # if it has reported the failure
CONNECT_PAUSE_S = 0.25
MAX_CONNECT_PAUSE_S = 2.0
BUSY_FRACTION = 0.01  # a process that uses less processor time than this is not working
N_TOLD_LINES = 4


@dataclass(frozen=True)
class ForeignModule:
    """What a node runs: how to reach it, what it is sent first, and how messages are serialized.

    Attributes
    ----------
    action
        Start a program, or connect to one.
    configuration
        The node's <configuration>, an XML document.
    readers
        By message id, for what comes back.
    writers
        In order: the first that accepts a message sends it; what none accepts passes by.
    """

    action: ExecuteSpec | ConnectSpec
    configuration: bytes
    readers: dict[int, GadgetMessageReader]
    writers: tuple[GadgetMessageWriter, ...]

    @property
    def accepts(self) -> tuple[MessageType, ...]:
        """Types of the messages that go to the module."""
        return tuple(kind for writer in self.writers for kind in writer.accepts)

    @property
    def emits(self) -> tuple[MessageType, ...]:
        """Types of the messages that may come back."""
        return tuple(kind for reader in self.readers.values() for kind in reader.emits)


class ExternalGadget(Gadget):
    """Runs a part of the chain in another process.

    Messages that a writer accepts go to the module, the others pass by, in order among themselves. What the module
    sends goes on in the order in which it comes. The module's CLOSE says that it is done: what is still meant for it is
    dropped. An ERROR, an end without CLOSE, an exit status other than 0, and silence while it is waited for, fail the
    session, and the client is told with the module's last lines.

    Threads: the gadget's own writes to the module; one reads from it; one watches the process, if we have started it.
    """

    accepts_any_property = True

    def __init__(
        self, module: ForeignModule, name: str, settings: ForeignSettings | None = None, limits: Limits = LIMITS
    ) -> None:
        super().__init__(name)
        self.module = module
        self._settings = settings or ForeignSettings()
        self._limits = limits
        self._timeout_s: float | None = None
        self._listener: socket.socket | None = None
        self._process: ForeignProcess | None = None
        self._link: ForeignLink | None = None
        self._reader: threading.Thread | None = None
        self._wake_fd = -1
        self._state_lock = threading.Lock()  # guards the link, the wake descriptor and the flags below
        self._is_aborted = False
        self._is_over = threading.Event()  # set with the flag
        self._has_failed = False
        self._has_reported = False  # an error: then it is ending, and says more in its output
        self._n_discarded = 0
        self._waits_since: float | None = None  # the module is expected to take or send something since then
        self._idle: tuple[float, float] | None = None  # since when nothing happens, and the processor time then
        self._looked_at, self._has_unread = 0.0, False

    # The gadget's thread

    def svc(self) -> None:
        """Start the module, so that it gets ready while the first messages are on their way, and serve the queue."""
        structlog.contextvars.bind_contextvars(session=self.session_name, gadget=self.name)
        with self._state_lock:
            self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        try:
            try:
                if isinstance(self.module.action, ExecuteSpec) and not self._is_aborted:
                    self._start(self.module.action)
            except (GadgetronError, OSError) as error:
                raise GadgetError(self.name, describe_plainly(error)) from error
            super().svc()
        finally:
            self._release()

    def _start(self, execute: ExecuteSpec) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        port = self._listener.getsockname()[1]
        self._timeout_s = self._settings.language(execute.kind).timeout_s
        launch = make_launch(execute, port, self._settings, self.controller.working_directory)
        self._process = ForeignProcess(
            launch,
            self.name,
            on_exit=self._watch_connection,
            on_flood=self._tell_flood,
            on_tick=self._check_silence,
            session_name=self.session_name,
            limits=self._limits,
        )

    def process_config(self, parameters: ParametersMessage) -> None:
        """Reach the module, and send it configuration and header. It is sent the first header only."""
        if self._link is not None:
            self.log.info("module.further_parameters", hint="a module is sent one header; these pass by")
            return
        link = ForeignLink(self._reach(), self.module.readers)
        with self._state_lock:
            self._link = link
            if self._is_aborted:
                link.hang_up()
        self._reader = threading.Thread(
            target=self._receive, args=(link,), name=f"{self.session_name}/{self.name}-reader", daemon=True
        )
        self._reader.start()
        configuration = self._configuration()
        self._write(link, lambda: link.send_start(configuration, parameters.data))

    def _configuration(self) -> bytes:
        """Give what the module gets first: as it is written, or the properties of a PythonGadget as they are now."""
        names = undeclared_properties(self)
        if not names:
            return self.module.configuration
        return property_document((name, undeclared_text(self, name) or "") for name in names)

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Send what writers accept to the module, and pass on the rest."""
        link = self._link
        if link is None:
            raise GadgetError(self.name, "data came before parameters: the module has not been reached")
        run: list[MessageBlock] = []
        last: GadgetMessageWriter | None = None
        for message in messages:
            writer = self._writer_for(message)
            if writer is None:
                self.pass_on(message)
                continue
            if run and writer is not last:
                self._send(link, last, run)
                run = []
            run.append(message)
            last = writer
        self._send(link, last, run)

    def _writer_for(self, message: MessageBlock) -> GadgetMessageWriter | None:
        for writer in self.module.writers:
            if any(matches(message, kind) for kind in writer.accepts):
                return writer
        return None

    def _send(self, link: ForeignLink, writer: GadgetMessageWriter | None, messages: list[MessageBlock]) -> None:
        if writer is None or not messages:
            return
        if link.is_done:
            self._n_discarded += len(messages)
            return
        self._write(link, lambda: writer.write_many(link.stream, messages))

    def _write(self, link: ForeignLink, write: Callable[[], None]) -> None:
        """Write to the module; that it is gone is the reader's to find out, and to say why."""
        self._waits_since = monotonic()
        try:
            write()
        except ConnectionLost as error:
            if self._reader is not None:
                self._reader.join(2 * VERDICT_S)
            if self._has_failed or self._is_aborted:
                raise QueueClosed("the module is gone") from error
            if not link.is_done:
                raise GadgetError(self.name, f"the module takes nothing any more: {error}") from error
        finally:
            self._waits_since = None

    def close(self, flags: int) -> None:
        """Tell the module that this was all, and wait for what it still has; or, after a failure, end it."""
        link = self._link
        if flags != CLOSE_NORMAL or link is None:
            self._end(GRACE_REPORTED_S if self._has_reported else GRACE_S)
            return
        if not link.is_done:
            self._write(link, link.send_close)
        self._waits_since = monotonic()
        if self._reader is not None:
            self._reader.join()
        self._waits_since = None
        if self._has_failed or self._is_aborted:
            raise QueueClosed("the session is ending")
        if self._n_discarded:
            self.log.info("module.ended_early", discarded=self._n_discarded)
        self._check_exit()

    def _check_exit(self) -> None:
        """Wait for the process; a status other than 0 is a failure even after CLOSE: a package sends that anyway."""
        process = self._process
        if process is None:
            return
        process.stop(self._limits.external_exit_s, self._limits.external_kill_s)
        if process.was_stopped:
            self.log.warning("module.had_to_be_stopped", after_s=self._limits.external_exit_s)
        elif process.status:
            raise GadgetError(self.name, self._reason(f"the module {process.status_text()}"))

    def _end(self, grace_s: float) -> None:
        self._hang_up()
        if self._reader is not None:
            self._reader.join()
        if self._process is not None:
            self._process.stop(grace_s, self._limits.external_kill_s)

    def _release(self) -> None:
        """Let go of everything, whatever happened: in the gadget's thread, last of all."""
        self._end(grace_s=0.0)
        with self._state_lock:
            link, self._link = self._link, None
            wake_fd, self._wake_fd = self._wake_fd, -1
        if link is not None:
            link.close()
        if self._listener is not None:
            self._listener.close()
        if wake_fd >= 0:
            os.close(wake_fd)

    # Reaching the module

    def _reach(self) -> SocketStream:
        action = self.module.action
        if isinstance(action, ConnectSpec):
            return self._connect(action)
        return self._accept()

    def _accept(self) -> SocketStream:
        """Wait for the module to connect; its end, a deadline, or an abort ends the wait."""
        listener, process = self._listener, self._process
        if listener is None or process is None:
            raise QueueClosed("the module was not started")
        deadline = monotonic() + self._limits.external_start_s
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self._wake_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(max(0, int((deadline - monotonic()) * 1000)))}
            if self._is_aborted:
                raise QueueClosed("the session is ending")
            if listener.fileno() in ready:
                connection, _ = listener.accept()
                break
            if process.has_exited:
                raise GadgetError(self.name, self._reason(f"the module {process.status_text()} before it connected"))
            if monotonic() >= deadline:
                reason = f"the module did not connect within {self._limits.external_start_s:g} s"
                raise GadgetError(self.name, self._reason(reason))
        listener.close()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # How long the module may take is judged by who watches its process, not by the stream.
        patient = replace(self._limits, idle_between_frames_s=FOREVER_S, stall_s=FOREVER_S)
        return SocketStream(connection, patient)

    def _connect(self, action: ConnectSpec) -> SocketStream:
        """Connect to a program that is running, or will be in a moment."""
        deadline = monotonic() + self._limits.external_connect_s
        pause_s = CONNECT_PAUSE_S
        limits = replace(self._limits, stall_s=self._limits.idle_between_frames_s)
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        while True:
            try:
                stream = connect(action.address, action.port, max(0.1, deadline - monotonic()), limits)
            except ConnectionLost as error:
                if monotonic() + pause_s >= deadline:
                    raise GadgetError(
                        self.name,
                        f"no module can be reached at {action.address}:{action.port} "
                        f"within {self._limits.external_connect_s:g} s",
                    ) from error
            else:
                return stream
            poll.poll(int(pause_s * 1000))
            if self._is_aborted:
                raise QueueClosed("the session is ending")
            pause_s = min(2 * pause_s, MAX_CONNECT_PAUSE_S)

    # The reader's thread

    def _receive(self, link: ForeignLink) -> None:
        structlog.contextvars.bind_contextvars(session=self.session_name, gadget=self.name)
        try:
            link.receive(self._put_received)
        except QueueClosed:
            self.log.debug("module.reading_ended")
        except ConnectionLost as error:
            self._fail(self._lost(error))
        except BaseException as error:  # noqa: BLE001  # a configured reader may raise anything; it ends this session only
            self._has_reported = isinstance(error, RemoteError)
            self._fail(self._reason(describe_plainly(error)), error)

    def _put_received(self, messages: list[MessageBlock]) -> None:
        self.messages_out += len(messages)
        self.next().put_many(messages)

    def _lost(self, error: ConnectionLost) -> str:
        """Say why the connection has ended, after the process has had a moment to end, too."""
        process = self._process
        if process is None or not process.wait(VERDICT_S):
            return self._reason(f"the module closed its connection before it was done ({error})")
        return self._reason(f"the module {process.status_text()} before it was done")

    def _reason(self, text: str) -> str:
        lines = without_stacks(self._process.last_lines) if self._process is not None else []
        lines = [line for line in lines if not text.endswith(f": {line}")][-N_TOLD_LINES:]
        return f"{text}; its last lines: {' | '.join(lines)}" if lines else text

    def _fail(self, text: str, cause: BaseException | None = None) -> None:
        """Fail the session, once, unless it is ending anyway. From any thread."""
        with self._state_lock:
            if self._has_failed or self._is_aborted:
                return
            self._has_failed = True
        error = GadgetError(self.name, text)
        error.__cause__ = cause
        self._report(error)

    # Any thread

    def abort(self) -> int:
        """End now: wake everybody who waits here, for the module, too."""
        dropped = super().abort()
        self._hang_up()
        return dropped

    def _hang_up(self) -> None:
        self._is_over.set()
        with self._state_lock:
            self._is_aborted = True
            if self._link is not None:
                self._link.hang_up()
        self._wake()

    def _wake(self) -> None:
        with self._state_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    # The watching thread

    def _watch_connection(self) -> None:
        """When the process has ended: its connection has to end, too, unless somebody else goes on with it.

        A child that has left the process group may hold the socket, and nobody else would ever notice.
        """
        self._wake()
        while not self._is_over.is_set():
            link, process = self._link, self._process
            if link is None or process is None:  # not accepted yet
                self._is_over.wait(TICK_S)
                continue
            if link.wait_for_end(TICK_S):
                return
            if link.starved_s() >= VERDICT_S:
                self._fail(self._reason(f"the module {process.status_text()} before it was done"))
                return

    def _tell_flood(self) -> None:
        text = self._reason("the module writes more output than is logged")
        try:
            self.controller.tell_client(f"gadget {self.name}: {text}")
        except QueueClosed:
            self.log.debug("module.flood_not_told")

    def _check_silence(self) -> None:
        """Fail a module that is waited for, and neither takes nor sends anything nor uses the processor.

        It is waited for when it has been sent everything, when what is written to it finds no room, and when what has
        been written has not been read; but not while it is us who do not take what it sends, because the chain is slow.
        """
        link, process, waits_since = self._link, self._process, self._waits_since
        reads_since = link.reads_since if link is not None and not link.has_ended else None
        if link is None or reads_since is None or process is None:
            self._idle = None
            return
        now, limit_s = monotonic(), self._limits.external_silence_s
        since = max(link.stream.last_progress, reads_since, waits_since or 0.0)
        if waits_since is None and not (now - since >= min(LOOK_S, limit_s / 4) and self._leaves_unread(link, now)):
            self._idle = None
            return
        if self._timeout_s is not None and now - since >= self._timeout_s:
            self._fail(
                self._reason(f"the module has taken and sent nothing for {now - since:.1f} s, as long as allowed")
            )
            return
        if self._idle is not None and since > self._idle[0]:
            self._idle = None
        if self._idle is None:
            if now - since >= min(1.0, limit_s / 4):  # not before: to read the processor time costs some itself
                self._idle = since, process.cpu_s()
            return
        idle_since, idle_cpu_s = self._idle
        silent_s = now - idle_since
        if silent_s < limit_s:
            return
        cpu_s = process.cpu_s()
        if cpu_s - idle_cpu_s >= BUSY_FRACTION * silent_s:
            self._idle = now, cpu_s
            return
        self._fail(self._reason(f"the module is silent: it has done nothing for {silent_s:.1f} s"))

    def _leaves_unread(self, link: ForeignLink, now: float) -> bool:
        """Tell whether the module has not read everything, a moment ago: a table of all sockets is read for it."""
        if now - self._looked_at >= LOOK_S:
            self._looked_at, self._has_unread = now, link.has_unread()
        return self._has_unread


def describe_plainly(error: BaseException) -> str:
    """Say what is wrong; with the class's name where the error is not one of ours."""
    return str(error) if isinstance(error, GadgetronError) else describe(error)
