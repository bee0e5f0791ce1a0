"""Interpreters that wait for a module to run: to start one, and import what modules need, takes a third of a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from gadgetron.foreign.launch import MODULE_VARIABLE, PORT_VARIABLE, Launch, find_executable_problem
from gadgetron.foreign.warden import WARDEN

log = structlog.get_logger()

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What two launches must have in common for a spare of the one to serve the other."""

    arguments: tuple[str, ...]
    environment: frozenset[tuple[str, str]]
    folder: Path | None

    @classmethod
    def of(cls, launch: Launch) -> _Kind:
        """Leave out what a spare is told later."""
        own = {PORT_VARIABLE, MODULE_VARIABLE}
        environment = frozenset(item for item in launch.environment.items() if item[0] not in own)
        return cls(launch.ahead, environment, launch.folder)


class Spares:
    """Starts foreign processes; keeps some interpreters ready, if it is told to.

    A spare is started when a module that could have used it has ended, never at the expense of the module itself, and
    serves the next one with the same interpreter, environment and folder. It imports nothing of the module's before it
    is told which one it is, and begins anew if something that it has imported has changed. At the end of its standard
    input it ends.

    Notes
    -----
    From any thread. One for a process, `SPARES`: a daemon has it keep one, everybody else none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the next two
        self._n_kept = 0
        self._waiting: list[tuple[_Kind, Process]] = []

    def keep(self, n_spares: int) -> None:
        """Keep so many from now on; 0 ends those that wait."""
        with self._lock:
            self._n_kept = n_spares
            surplus, self._waiting = self._waiting[n_spares:], self._waiting[:n_spares]
        for _, process in surplus:
            end_process(process)

    def start(self, launch: Launch) -> Process:
        """Start a process, or have a spare one do its work; `end_process`, or what it stands for, is the caller's.

        Raises
        ------
        ConfigurationError
            If it cannot be started.
        """
        self._drop_dead()
        return self._take(launch) or open_process(launch, launch.arguments, launch.environment)

    def prepare(self, launch: Launch) -> None:
        """Have a spare for the next launch like this one."""
        if not launch.ahead:
            return
        kind = _Kind.of(launch)
        surplus = []
        with self._lock:
            if len(self._waiting) >= self._n_kept:
                index = next((index for index, (other, _) in enumerate(self._waiting) if other != kind), None)
                if index is None:  # all are of this kind, or none is kept
                    return
                surplus.append(self._waiting.pop(index))
            try:
                process = open_process(launch, launch.ahead, dict(kind.environment), stdin=subprocess.PIPE)
            except Exception as error:  # noqa: BLE001  # no spare is no failure: the next module is started as ever
                log.warning("module.no_spare", error=str(error))
            else:
                self._waiting.append((kind, process))
                log.debug("module.spare_started", pid=process.pid)
        for _, process in surplus:
            end_process(process)

    def _drop_dead(self) -> None:
        """Wait for spares that somebody else has ended."""
        with self._lock:
            dead = [process for _, process in self._waiting if process.poll() is not None]
            self._waiting = [(kind, process) for kind, process in self._waiting if process not in dead]
        for process in dead:
            log.warning("module.spare_lost", pid=process.pid)
            end_process(process)

    def _take(self, launch: Launch) -> Process | None:
        if not launch.ahead:
            return None
        kind = _Kind.of(launch)
        with self._lock:
            index = next((index for index, (waiting, _) in enumerate(self._waiting) if waiting == kind), None)
            process = None if index is None else self._waiting.pop(index)[1]
        if process is None:
            return None
        work = json.dumps(
            {
                "arguments": launch.arguments[len(launch.ahead) - 1 :],
                "environment": {name: launch.environment[name] for name in (PORT_VARIABLE, MODULE_VARIABLE)},
                "folder": None if launch.folder is None else str(launch.folder),
            }
        )
        try:
            if process.stdin is not None:
                with process.stdin as pipe:
                    pipe.write(work.encode() + b"\n")
        except OSError:
            log.warning("module.spare_lost", pid=process.pid)
            end_process(process)
            return None
        return process


def open_process(
    launch: Launch, arguments: Sequence[str], environment: dict[str, str], stdin: int = subprocess.DEVNULL
) -> Process:
    """Start a process in a session of its own, which the warden knows."""
    WARDEN.hold()
    try:
        WARDEN.start()
        process = subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=launch.folder,
            start_new_session=True,
        )
    except BaseException as error:
        WARDEN.release()
        if isinstance(error, OSError):
            raise find_executable_problem(error, launch) from error
        raise
    try:
        WARDEN.watch(process.pid)
    except BaseException:
        end_process(process)
        raise
    return process


def end_process(process: Process) -> None:
    """Kill a process that nobody watches, with its group, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    WARDEN.forget(process.pid)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not written is of no use to anybody
                pipe.close()
    WARDEN.release()


SPARES = Spares()
