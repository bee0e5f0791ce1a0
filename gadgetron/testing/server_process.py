"""A real daemon in a process of its own, for tests that kill, flood or starve it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from gadgetron.errors import PeerTimeout


class ServerProcess:
    """A daemon on a free port of the loopback interface. A context manager: leaving it ends the process.

    Parameters
    ----------
    *arguments
        Further command line arguments.
    command
        The program and its first arguments; this interpreter's `gadgetron.cli.daemon` by default.
    environment
        Variables to set in addition to this process's.
    timeout_s
        For the start, and for the end.

    Notes
    -----
    `records` has what the daemon logged, as dictionaries; lines that are no records have the event `stderr`.
    """

    def __init__(
        self,
        *arguments: str,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._command = [
            *(command or [sys.executable, "-m", "gadgetron.cli.daemon"]),
            *("-p", "0", "--log-json", "--log-level", "debug"),
            *arguments,
        ]
        self._environment = {**os.environ, **(environment or {})}
        self._timeout_s = timeout_s
        self._changed = threading.Condition()  # guards the next two
        self.records: list[dict[str, Any]] = []
        self._at_end = False
        self.host = "127.0.0.1"
        self.port = 0

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="gadgetron-test-")
        self._process = subprocess.Popen(
            [*self._command, "--dir", self._folder.name],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        self._reader = threading.Thread(target=self._read_records, name="server-process", daemon=True)
        self._reader.start()
        try:
            self.port = self.wait_for_record("server.listening")["port"]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(self._timeout_s)
        self._folder.cleanup()

    def _read_records(self) -> None:
        stderr = self._process.stderr
        if stderr is None:
            return
        with stderr:
            for line in stderr:
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                if not isinstance(record, dict):
                    record = {"event": "stderr", "line": line.decode(errors="replace")}
                with self._changed:
                    self.records.append(record)
                    self._changed.notify_all()
        with self._changed:
            self._at_end = True
            self._changed.notify_all()

    def wait_for_record(self, event: str, count: int = 1, timeout_s: float | None = None) -> dict[str, Any]:
        """Wait until an event has been logged so many times; gives the last of these records.

        Raises
        ------
        PeerTimeout
            If the process ends, or the time is over, before that.
        """
        deadline = monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        with self._changed:
            while True:
                found = self._of(event)
                if len(found) >= count:
                    return found[count - 1]
                remaining_s = deadline - monotonic()
                if self._at_end or remaining_s <= 0:
                    tail = "\n".join(map(str, self.records[-20:]))
                    raise PeerTimeout(f"the daemon logged {event} {len(found)} times, expected {count}:\n{tail}")
                self._changed.wait(remaining_s)

    def records_of(self, event: str) -> list[dict[str, Any]]:
        """Give the records of one event so far."""
        with self._changed:
            return self._of(event)

    def _of(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record.get("event") == event]

    def connect(self) -> socket.socket:
        """Connect a plain socket."""
        return socket.create_connection((self.host, self.port), timeout=self._timeout_s)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def n_descriptors(self) -> int:
        """Open descriptors of the process."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @property
    def n_threads(self) -> int:
        """Threads of the process."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    @property
    def rss_bytes(self) -> int:
        """Memory of the process [bytes]."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end of the process, and of its log; gives its exit status.

        Raises
        ------
        PeerTimeout
            If it goes on.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise PeerTimeout(f"the daemon still runs after {limit_s:g} s") from error
        self._reader.join(self._timeout_s)
        return status
