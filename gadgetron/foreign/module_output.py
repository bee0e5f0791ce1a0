"""What a foreign process writes: lines for the log, of which not too many, and the last ones to tell."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import IO

import structlog

from gadgetron.errors import escape_controls
from gadgetron.limits import KIB, LIMITS, Limits

READ_BYTES = 64 * KIB
MAX_READS = 16  # in one go: a process that writes without end must not keep anybody reading
MAX_LINE_CHARACTERS = 1000
N_LAST_LINES = 8
N_LATE_LINES = 50  # of those that were too many, to be logged later
LOGGED_LINES_PER_S = 100.0
BURST_LINES = 500.0
FLOOD_WINDOW_S = 10.0
QUIET_S = 1.0  # then a line without its end is one, and what was too much is logged after all


class ModuleOutput:
    """The read end of a pipe, its lines, and which of them are logged.

    500 lines at once, and 100 a second from then on, are logged at once. Of the others the last 50 are logged when the
    process has written nothing for a second, or has ended: its traceback is among them.

    Parameters
    ----------
    pipe
        Belongs to this object from now on.
    module, session
        For the log.

    Notes
    -----
    From any thread. Who tells why a process failed reads what is in the pipe by then, without waiting.
    """

    def __init__(self, pipe: IO[bytes], module: str, session: str = "", limits: Limits = LIMITS) -> None:
        self._log = structlog.get_logger().bind(session=session, module=module)
        self._pipe = pipe
        os.set_blocking(pipe.fileno(), False)
        self._limits = limits
        self._lock = threading.Lock()  # guards everything below
        self._is_open = True
        self._last_lines: deque[str] = deque(maxlen=N_LAST_LINES)
        self._late_lines: deque[str] = deque(maxlen=N_LATE_LINES)
        self._partial = b""
        self._tokens = BURST_LINES
        self._tokens_at = self._read_at = monotonic()
        self._n_not_logged = 0
        self._flood: deque[tuple[float, int]] = deque()
        self._flood_bytes = 0
        self._has_flooded = False

    def fileno(self) -> int:
        """Give the descriptor, to wait for."""
        return self._pipe.fileno()

    @property
    def is_open(self) -> bool:
        """Whether somebody may still write."""
        return self._is_open

    @property
    def has_flooded(self) -> bool:
        """Whether there was so much that no more is logged."""
        return self._has_flooded

    def last_lines(self) -> list[str]:
        """Give the last lines that have been written, one that has no end yet included."""
        with self._lock:
            self._read_waiting()
            partial = readable(self._partial)
            return [*self._last_lines, *([partial] if partial else [])]

    def read(self) -> None:
        """Take what is in the pipe."""
        with self._lock:
            self._read_waiting()

    def read_rest(self, timeout_s: float) -> None:
        """Take what comes until the pipe's end; not for ever, because others may hold it open."""
        deadline = monotonic() + timeout_s
        poll = select.poll()
        poll.register(self, select.POLLIN)
        while self._is_open and poll.poll(max(0, int((deadline - monotonic()) * 1000))):
            self.read()
            if monotonic() >= deadline:
                return

    def log_if_quiet(self) -> None:
        """Log what waits to be logged, if nothing has been written for a while."""
        with self._lock:
            if (self._partial or self._late_lines) and monotonic() - self._read_at >= QUIET_S:
                self._log_waiting()

    def close(self) -> None:
        """Log what waits to be logged, say what was not, and close the pipe."""
        with self._lock:
            self._log_waiting()
            self._is_open = False
            self._pipe.close()
            if self._n_not_logged:
                self._log.warning("module.output_not_logged", n_lines=self._n_not_logged)

    def _read_waiting(self) -> None:
        for _ in range(MAX_READS):
            if not self._is_open:
                return
            try:
                data = os.read(self._pipe.fileno(), READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._is_open = False
                return
            self._read_at = monotonic()
            self._check_flood(len(data))
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                self._take_line(line)
            if len(self._partial) > READ_BYTES:
                self._take_partial()

    def _take_partial(self) -> None:
        line, self._partial = self._partial, b""
        self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        text = readable(line)
        if not text:
            return
        self._last_lines.append(text)
        now = monotonic()
        self._tokens = min(BURST_LINES, self._tokens + (now - self._tokens_at) * LOGGED_LINES_PER_S)
        self._tokens_at = now
        if self._tokens < 1 or self._has_flooded:
            self._n_not_logged += len(self._late_lines) == N_LATE_LINES  # the oldest makes room
            self._late_lines.append(text)
            return
        self._tokens -= 1
        self._log.info("module.output", line=text)

    def _log_waiting(self) -> None:
        self._take_partial()
        while self._late_lines:
            self._log.info("module.output", line=self._late_lines.popleft(), late=True)

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
            self._log.warning("module.floods", n_bytes=self._flood_bytes)


def readable(line: bytes) -> str:
    """Give a line as text: tabs as spaces, other control characters escaped, cut to a readable length."""
    text = line[: 4 * MAX_LINE_CHARACTERS].decode("utf-8", errors="replace").rstrip()
    return escape_controls(text.expandtabs()[:MAX_LINE_CHARACTERS])


def without_stacks(lines: Sequence[str]) -> list[str]:
    """Leave out the stacks of Python's tracebacks, whose last line says what happened."""
    kept = []
    in_stack = True  # its beginning may have been too long ago
    for line in lines:
        in_stack = line.startswith("Traceback (") or (in_stack and line[0] == " ")
        if not in_stack:
            kept.append(line)
    return kept
