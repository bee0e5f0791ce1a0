"""A process that somebody watches: its output goes to the log, its end is noticed, and nothing of it stays behind."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import structlog

from gadgetron.foreign.adoption import adopts_orphans
from gadgetron.foreign.launch import Launch
from gadgetron.foreign.module_output import ModuleOutput
from gadgetron.foreign.spares import SPARES, end_process
from gadgetron.foreign.warden import WARDEN
from gadgetron.limits import LIMITS, Limits

TICK_S = 0.2
LEFTOVER_S = 0.5  # for output that is still in the pipe when the process has ended
ADOPTION_S = 1.0  # for a killed group to be gone
ADOPTION_PAUSE_S = 0.005

log = structlog.get_logger()


class ForeignProcess:
    """A child process in a session of its own, and the thread that watches it.

    When the process ends, whatever it has started and left in its process group is killed, and it is waited for: no
    zombie, no orphan. If this process is killed, the warden kills the group. A child that leaves the group, with
    `setsid`, is left alone.

    Parameters
    ----------
    launch
        Command line, environment, folder.
    name
        For the log.
    on_exit
        Called once in the watching thread when the process has ended and has been waited for. `stop` waits for it, too.
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
        self.was_stopped = False
        self._signal_lock = threading.Lock()  # nobody signals a number that may be another process's by now
        self._launch = launch
        self._process = SPARES.start(launch)
        try:
            if self._process.stdout is None:
                raise RuntimeError("a process without a pipe for its output")
            self._output = ModuleOutput(self._process.stdout, name, session_name, limits)
            self._process_fd = os.pidfd_open(self._process.pid)
            try:
                self._thread = threading.Thread(target=self._watch, name=f"{session_name}/{name}-watch", daemon=True)
                self._thread.start()
            except BaseException:
                os.close(self._process_fd)
                raise
        except BaseException:  # no descriptor or no thread is left
            end_process(self._process)
            raise
        log.info("module.started", module=name, pid=self.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def last_lines(self) -> list[str]:
        """The last lines that it has written."""
        return self._output.last_lines()

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
        ticks = sum(sum(map(int, fields[11:15])) for _, fields in self._members())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _members(self) -> Iterator[tuple[int, list[str]]]:
        """Give the process ids of its group, zombies included, with what /proc/PID/stat has from the state on."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has ended in the meantime
                continue
            if int(fields[2]) == self.pid:
                yield int(entry.name), fields

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
        was_open, was_told = True, False
        while True:
            ready = {fd for fd, _ in poll.poll(int(TICK_S * 1000))}
            if self._output.fileno() in ready:
                self._output.read()
            if was_open and not self._output.is_open:
                poll.unregister(self._output)
                was_open = False
            if self._output.has_flooded and not was_told:
                was_told = True
                self._on_flood()
            if self._process_fd in ready:
                break
            self._output.log_if_quiet()
            self._on_tick()
        self._reap()
        self._on_exit()
        SPARES.prepare(self._launch)

    def _reap(self) -> None:
        """Kill what the process has left of its group, while its number is still its own; take its last output."""
        with self._signal_lock:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                log.debug("module.left_nothing", module=self._name)
            WARDEN.forget(self.pid)
            if adopts_orphans():
                self._wait_for_adopted()
            self._process.wait()
            # What it wrote last says why it ended: it must be known when that is told.
            self._output.read_rest(LEFTOVER_S)
            os.close(self._process_fd)
            self._exited.set()
        self._output.close()
        WARDEN.release()
        log.info("module.ended", status=self.status, pid=self.pid)

    def _wait_for_adopted(self) -> None:
        """Wait for those of the group that are our children now, because who started them has ended.

        The process itself is a zombie meanwhile: nobody else's group can have its number.
        """
        deadline = monotonic() + ADOPTION_S
        while True:
            others = [(pid, int(fields[1])) for pid, fields in self._members() if pid != self.pid]
            for pid, parent in others:
                if parent == os.getpid():
                    os.waitpid(pid, os.WNOHANG)
            if not others or monotonic() >= deadline:
                return
            threading.Event().wait(ADOPTION_PAUSE_S)
