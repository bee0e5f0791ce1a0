"""The warden: a small process beside the daemon that ends the foreign processes if the daemon can do so no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import structlog

_PROGRAM = Path(__file__).with_name("warden_main.py")
_END_S = 5.0

log = structlog.get_logger()


class Warden:
    """Knows the process groups of the foreign processes that run, and has them killed if this process dies.

    A process that is killed, or that the system kills for memory, ends nothing in order. The warden's process learns of
    it from the end of a pipe, kills the groups that it has been told of with SIGKILL, and ends. It is started when it
    is needed first, is in a session of its own, so that no signal of a terminal or to a module's group reaches it, has
    all other signals blocked, and holds no descriptor but its pipe.

    Notes
    -----
    From any thread. One for a process: `WARDEN`. A group is forgotten before its number can be another process's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards everything below
        self._groups: set[int] = set()
        self._n_holders = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._owner = -1  # the process that has started it: a forked one has all of this, too, and no warden

    @property
    def pid(self) -> int | None:
        """Process id of the warden's process; None if there is none."""
        process = self._process
        return None if process is None or self._owner != os.getpid() else process.pid

    def hold(self) -> None:
        """Keep the warden's process, once it has been started, until `release`: a server starts it once for all."""
        with self._lock:
            self._n_holders += 1

    def release(self) -> None:
        """Undo one `hold`. The last one ends the warden's process, and waits for it."""
        with self._lock:
            self._n_holders -= 1
            if self._n_holders == 0:
                self._end()

    def start(self) -> None:
        """Have the warden's process run. Hold it before."""
        with self._lock:
            self._have_it_run()

    def watch(self, group: int) -> None:
        """Have a process group killed if this process dies."""
        with self._lock:
            self._have_it_run()
            self._groups.add(group)
            self._tell(b"+%d\n" % group)

    def forget(self, group: int) -> None:
        """Have a group left alone from now on. Call before its leader is waited for."""
        with self._lock:
            self._groups.discard(group)
            if self._process is not None and self._owner == os.getpid():
                self._tell(b"-%d\n" % group)

    def _have_it_run(self) -> None:
        if self._owner != os.getpid():
            self._process, self._groups = None, set()
            self._owner = os.getpid()
        if self._process is not None:
            return
        read_end, write_end = os.pipe()
        # Signals that are blocked here are blocked there, too, and for good.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, str(os.getpid())],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            os.close(write_end)
            log.warning("warden.missing", error=error.strerror, hint="modules outlive a daemon that is killed")
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(read_end)
        os.set_blocking(write_end, False)
        self._pipe = write_end
        log.debug("warden.started", pid=self._process.pid)

    def _tell(self, line: bytes) -> None:
        """Say something to it; if somebody has killed it, start another one and say everything."""
        if self._process is None:
            return
        try:
            os.write(self._pipe, line)
        except (BrokenPipeError, BlockingIOError):
            log.warning("warden.lost", pid=self._process.pid)
            self._process.kill()  # one that lags behind would take the pipe's end for ours, and kill the modules
            self._end()
            self._have_it_run()
            if self._process is not None:
                os.write(self._pipe, b"".join(b"+%d\n" % group for group in self._groups))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        os.close(self._pipe)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
            return
        process.kill()
        process.wait()


WARDEN = Warden()
