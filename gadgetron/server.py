"""The acceptor: accepts, admits, and never stops accepting because of what one connection does."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Self

import structlog

from gadgetron.controller import GadgetStreamController
from gadgetron.environment import Environment
from gadgetron.errors import GadgetronError, ServerBusy, ShuttingDown, StorageError
from gadgetron.foreign.warden import WARDEN
from gadgetron.protocol.descriptor_stream import SocketStream
from gadgetron.protocol.detection import DetectedCodec, DetectingSource, Protocols, refusing_codec
from gadgetron.protocol.stream_source import StreamSource
from gadgetron.session_state import SessionState
from gadgetron.writer_task import WriterTask

log = structlog.get_logger()

REFUSAL_LINGER_S = 0.5
REFUSAL_PATIENCE_S = 0.05  # for the first bytes of a client that is refused: one of the framed protocol begins at once
MAX_REFUSALS = 16
FULL_PAUSE_S = 0.5  # when the operating system has no descriptor left

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}


class Session:
    """One connection: its thread, its socket and its controller.

    Parameters
    ----------
    connection
        The connected socket; the session owns it.
    protocols
        What it may speak.
    """

    def __init__(
        self,
        connection: socket.socket,
        name: str,
        environment: Environment,
        protocols: Protocols = Protocols.BOTH,
    ) -> None:
        limits = environment.limits
        self.name = name
        self.stream = SocketStream(connection, limits)
        self.controller = GadgetStreamController(environment, name)
        codec = DetectedCodec()
        self.source = DetectingSource(self.stream, codec, limits, protocols)
        self.sink = WriterTask(self.stream, codec, on_failure=self.controller.fail, session_name=name, limits=limits)
        self.thread = threading.Thread(target=self._run, name=f"{name}/reader", daemon=True)
        self.on_end: Callable[[Session], None] | None = None

    def _run(self) -> None:
        try:
            self.controller.run(self.source, self.sink)
        except RuntimeError as error:  # the operating system gives no thread for the writer
            log.warning("session.refused", session=self.name, error=str(error))
            _refuse(self.stream, ServerBusy("the server cannot start another session now; try again later"))
        finally:
            self.source.finish()
            if self.on_end is not None:
                self.on_end(self)

    @property
    def is_idle(self) -> bool:
        """Whether it has not been configured yet: nothing is lost by ending it."""
        return self.controller.state is SessionState.AWAIT_CONFIG


class GadgetServerAcceptor:
    """Listens, and gives every connection a session.

    Parameters
    ----------
    environment
        What the sessions share.
    host, port
        Where to listen; port 0 takes any free one, `port` then says which.
    protocols
        What clients may speak.
    """

    def __init__(
        self,
        environment: Environment,
        host: str = "127.0.0.1",
        port: int = 9002,
        protocols: Protocols = Protocols.BOTH,
    ) -> None:
        self.environment = environment
        self.protocols = protocols
        self.host = host
        self.port = port
        self._listener: socket.socket | None = None
        self._wake_read, self._wake_write = -1, -1
        self._thread = threading.Thread(target=self._accept_loop, name="acceptor", daemon=True)
        self._lock = threading.Lock()  # guards the sessions, the refusals and the flag
        self._none_left = threading.Condition(self._lock)
        self._sessions: dict[Session, None] = {}
        self._refusals: set[threading.Thread] = set()
        self._ended_threads: list[threading.Thread] = []  # to be joined by the acceptor, or at the end
        self._is_closing = False
        self._holds_warden = False
        self._count = 0

    # The outside

    def open(self) -> None:
        """Listen, and start accepting.

        Raises
        ------
        StorageError
            If the address cannot be had; the text says why.
        """
        try:
            family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server(
                (self.host, self.port), family=family, backlog=self.environment.limits.listen_backlog, reuse_port=False
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"cannot listen on {self.host} port {self.port}: {reason}") from error
        listener.setblocking(False)
        self._listener = listener
        self.port = listener.getsockname()[1]
        self._wake_read, self._wake_write = os.pipe()
        WARDEN.hold()
        self._holds_warden = True
        self._thread.start()
        log.info("server.listening", host=self.host, port=self.port)

    def close(self, drain_s: float = 0.0) -> bool:
        """Stop accepting at once; let sessions finish for a time; abort and join the others.

        Parameters
        ----------
        drain_s
            How long sessions that have been configured may go on.

        Returns
        -------
            Whether every session ended by itself.
        """
        self._stop_accepting()
        self.end_idle()
        finished = self.wait_for_sessions(drain_s)
        if not finished:
            self.abort_sessions()
            self.wait_for_sessions(self.environment.limits.abort_deadline_s)
            for session in self.sessions:  # the client has been told; a gadget of it does not return
                log.warning("session.abandoned", session=session.name)
        with self._lock:
            refusals = list(self._refusals)
        for thread in refusals:
            thread.join(REFUSAL_LINGER_S * 2)
        self._join_ended()
        if self._holds_warden:
            self._holds_warden = False
            WARDEN.release()
        return finished

    def _join_ended(self) -> None:
        with self._lock:
            ended, self._ended_threads = self._ended_threads, []
        for thread in ended:
            thread.join()

    def _stop_accepting(self) -> None:
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
        if self._listener is None:
            return
        os.write(self._wake_write, b"!")
        self._thread.join()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def end_idle(self) -> None:
        """End the connections that have not been configured."""
        for session in self.sessions:
            if session.is_idle:
                session.controller.fail(ShuttingDown("the server is shutting down"))

    def abort_sessions(self) -> None:
        """Fail every session that runs."""
        for session in self.sessions:
            session.controller.fail(ShuttingDown("the server is shutting down; the reconstruction was not finished"))

    def wait_for_sessions(self, timeout_s: float) -> bool:
        """Wait until no session runs; False after the timeout."""
        deadline = monotonic() + timeout_s
        with self._lock:
            while self._sessions:
                remaining_s = deadline - monotonic()
                if remaining_s <= 0:
                    return False
                self._none_left.wait(remaining_s)
        return True

    @property
    def sessions(self) -> list[Session]:
        """The sessions that run."""
        with self._lock:
            return list(self._sessions)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The acceptor's thread

    def _accept_loop(self) -> None:
        listener = self._listener
        if listener is None:
            return
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        poll.register(listener, select.POLLIN)
        while True:
            poll.poll()
            if self._is_closing:
                return
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                self._accept_failed(error)
                continue
            try:
                self._admit(connection)
            except (OSError, RuntimeError) as error:  # the peer has gone already, or there is no thread for it
                log.warning("connection.refused", error=str(error))
                connection.close()

    def _accept_failed(self, error: OSError) -> None:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            # The connection stays in the backlog: wait for a session to end instead of spinning.
            log.warning("server.out_of_descriptors", error=error.strerror)
            pause = select.poll()
            pause.register(self._wake_read, select.POLLIN)
            pause.poll(int(FULL_PAUSE_S * 1000))
        else:
            log.info("connection.lost_before_accept", error=error.strerror)

    def _admit(self, connection: socket.socket) -> None:
        self._join_ended()
        limits = self.environment.limits
        with self._lock:
            is_full = len(self._sessions) >= limits.max_connections
            self._count += 1
            name = f"session-{self._count}"
        if is_full:
            self._refuse_in_background(connection, name)
            return
        _tune(connection)
        session = Session(connection, name, self.environment, self.protocols)
        session.on_end = self._session_ended
        with self._lock:
            self._sessions[session] = None
        log.debug("connection.accepted", session=name)
        try:
            session.thread.start()
        except RuntimeError:  # the operating system gives no thread; a few bytes can always be sent without waiting
            self._session_ended(session)
            _refuse(session.stream, ServerBusy("the server cannot start another session now; try again later"))
            session.stream.close()
            raise

    def _session_ended(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session, None)
            if session.thread.ident is not None:
                self._ended_threads.append(session.thread)
            if not self._sessions:
                self._none_left.notify_all()

    def _refuse_in_background(self, connection: socket.socket, name: str) -> None:
        """Tell a connection too many, without making the others wait."""
        if len(self._refusals) >= MAX_REFUSALS:
            connection.close()
            return
        limits = replace(self.environment.limits, stall_s=REFUSAL_LINGER_S, linger_s=REFUSAL_LINGER_S)
        stream = SocketStream(connection, limits)

        def refuse() -> None:
            try:
                _refuse(stream, ServerBusy("too many connections; try again later"), REFUSAL_PATIENCE_S)
                StreamSource(stream, limits).finish()
            finally:
                with self._lock:
                    self._refusals.discard(threading.current_thread())

        thread = threading.Thread(target=refuse, name=f"{name}/refusal", daemon=True)
        log.warning("connection.refused", session=name, error="too many connections")
        with self._lock:
            self._refusals.add(thread)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._refusals.discard(thread)
            stream.close()
            raise


def _refuse(stream: SocketStream, error: GadgetronError, patience_s: float = 0.0) -> None:
    codec = refusing_codec(stream, patience_s)
    try:
        codec.write_error(stream, error)
        codec.write_close(stream)
    except GadgetronError as second:
        log.debug("connection.refusal_not_told", error=str(second))


def _tune(connection: socket.socket) -> None:
    """Send small messages at once, and notice a peer whose machine has gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
