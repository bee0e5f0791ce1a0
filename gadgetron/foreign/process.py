"""A process that somebody watches: its output goes to the log, its end is noticed, and nothing of it stays behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import structlog

from gadgetron.foreign.launch import Launch, find_executable_problem
from gadgetron.limits import KIB, LIMITS, Limits

TICK_S = 0.2
READ_BYTES = 64 * KIB
MAX_LINE_CHARACTERS = 1000
N_LAST_LINES = 8
LOGGED_LINES_PER_S = 100.0
BURST_LINES = 500.0
FLOOD_WINDOW_S = 10.0
LEFTOVER_S = 0.5  # for output that is still in the pipe when the process has ended

log = structlog.get_logger()


class ForeignProcess:
    """A child process in a session of its own, and the thread that watches it.

    When the process ends, whatever it has started and left in its process group is killed, and it is waited for: no
    zombie, no orphan.

    Parameters
    ----------
    launch
        Command line, environment, folder.
    name
        For the log.
    on_exit
        Called once in the watching thread when the process has ended and has been waited for.
    on_flood
        Called once in the watching thread when it writes so much that it is no longer logged.
    on_tick
        Called several times a second in the watching thread.
    """

    def __init__(
        self,
        launch: Launch,
        name: str,
        *,
        on_exit: Callable[[], None],
        on_flood: Callable[[], None],
        on_tick: Callable[[], None],
        session_name: str = "",
        limits: Limits = LIMITS,
    ) -> None:
        self._name = name
        self._session_name = session_name
        self._limits = limits
        self._on_exit, self._on_flood, self._on_tick = on_exit, on_flood, on_tick
        self._exited = threading.Event()
        self._lines_lock = threading.Lock()  # guards the last lines
        self._last_lines: deque[str] = deque(maxlen=N_LAST_LINES)
        self._partial = b""
        self._tokens = BURST_LINES
        self._tokens_at = monotonic()
        self._n_not_logged = 0
        self._flood: deque[tuple[float, int]] = deque()
        self._flood_bytes = 0
        self._has_flooded = False
        self.was_stopped = False
        self._signal_lock = threading.Lock()  # nobody signals a number that may be another process's by now
        try:
            self._process = subprocess.Popen(
                launch.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=launch.environment,
                cwd=launch.folder,
                start_new_session=True,
            )
        except OSError as error:
            raise find_executable_problem(error, launch) from error
        if self._process.stdout is None:
            raise RuntimeError("a process without a pipe for its output")
        self._output = self._process.stdout
        self._process_fd = os.pidfd_open(self._process.pid)
        self._thread = threading.Thread(target=self._watch, name=f"{session_name}/{name}-watch", daemon=True)
        self._thread.start()
        log.info("module.started", module=name, pid=self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it wrote."""
        with self._lines_lock:
            return list(self._last_lines)

    @property
    def has_exited(self) -> bool:
        """Whether it has ended."""
        return self._exited.is_set()

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.returncode if self._exited.is_set() else None

    def status_text(self) -> str:
        """Say how it ended."""
        status = self.status
        if status is None:
            return "is still running"
        if status < 0:
            try:
                name = signal.Signals(-status).name
            except ValueError:
                name = "unknown"
            return f"was killed by signal {-status} ({name})"
        return f"ended with exit status {status}"

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False if it still runs after the timeout."""
        return self._exited.wait(timeout_s)

    def cpu_s(self) -> float:
        """Give the processor time that it and the others of its process group have used so far [s]."""
        ticks = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has ended in the meantime
                continue
            if int(fields[2]) == self.pid:
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self, grace_s: float, kill_after_s: float) -> None:
        """End it: give it a moment to end by itself, ask it to, make it; wait until it is gone. Idempotent."""
        if not self._exited.wait(grace_s):
            self.was_stopped = True
            self._signal(signal.SIGTERM)
            if not self._exited.wait(kill_after_s):
                log.warning("module.killed", module=self._name, pid=self.pid)
                self._signal(signal.SIGKILL)
        self._thread.join()

    def _signal(self, number: signal.Signals) -> None:
        with self._signal_lock:
            if not self._exited.is_set():
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:
                    log.debug("module.gone_already", module=self._name)

    # The watching thread

    def _watch(self) -> None:
        structlog.contextvars.bind_contextvars(session=self._session_name, module=self._name)
        poll = select.poll()
        poll.register(self._process_fd, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        is_open = True
        while True:
            ready = {fd for fd, _ in poll.poll(int(TICK_S * 1000))}
            if is_open and self._output.fileno() in ready:
                is_open = self._read_output()
                if not is_open:
                    poll.unregister(self._output)
            if self._process_fd in ready:
                break
            self._on_tick()
        self._reap(is_open)
        self._on_exit()

    def _reap(self, is_open: bool) -> None:
        """Kill what the process has left of its group, while its number is still its own; take its last output."""
        with self._signal_lock:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                log.debug("module.left_nothing", module=self._name)
            self._process.wait()
            # What it wrote last says why it ended: it must be known when that is told.
            deadline = monotonic() + LEFTOVER_S
            poll = select.poll()
            poll.register(self._output, select.POLLIN)
            while is_open and poll.poll(max(0, int((deadline - monotonic()) * 1000))):
                is_open = self._read_output()
            if self._partial:
                self._take_line(self._partial)
            self._output.close()
            os.close(self._process_fd)
            self._exited.set()
        if self._n_not_logged:
            log.warning("module.output_not_logged", n_lines=self._n_not_logged)
        log.info("module.ended", status=self.status, pid=self.pid)

    def _read_output(self) -> bool:
        """Take what is in the pipe; False at its end."""
        data = os.read(self._output.fileno(), READ_BYTES)
        if not data:
            return False
        self._check_flood(len(data))
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take_line(line)
        if len(self._partial) > READ_BYTES:
            self._take_line(self._partial)
            self._partial = b""
        return True

    def _take_line(self, line: bytes) -> None:
        text = line[: 4 * MAX_LINE_CHARACTERS].decode("utf-8", errors="replace").rstrip()[:MAX_LINE_CHARACTERS]
        if not text:
            return
        with self._lines_lock:
            self._last_lines.append(text)
        now = monotonic()
        self._tokens = min(BURST_LINES, self._tokens + (now - self._tokens_at) * LOGGED_LINES_PER_S)
        self._tokens_at = now
        if self._tokens < 1 or self._has_flooded:
            self._n_not_logged += 1
            return
        self._tokens -= 1
        log.info("module.output", line=text)

    def _check_flood(self, n_bytes: int) -> None:
        if self._has_flooded:
            return
        now = monotonic()
        self._flood.append((now, n_bytes))
        self._flood_bytes += n_bytes
        while self._flood and now - self._flood[0][0] > FLOOD_WINDOW_S:
            self._flood_bytes -= self._flood.popleft()[1]
        if self._flood_bytes > self._limits.max_module_output_bytes:
            self._has_flooded = True
            self._flood.clear()
            log.warning("module.floods", module=self._name, n_bytes=self._flood_bytes)
            self._on_flood()
