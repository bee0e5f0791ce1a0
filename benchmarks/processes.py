"""The processes of a benchmark: a fresh daemon, the client, NumPy, and two bare sockets."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, perf_counter, process_time
from types import TracebackType
from typing import Any, Self

from benchmarks.client import BenchmarkError, Outcome, run_at_once, run_session, serve_echo
from benchmarks.workload import CLOSE, config_file, make_workload, parameters, reconstruct_with_numpy

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_spawn = multiprocessing.get_context("spawn")


class Daemon:
    """A daemon in a process of its own, on a port of its own.

    Parameters
    ----------
    arguments
        More of them for its command line.
    """

    def __init__(self, *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gadgetron-bench-")
        folder = Path(self._folder.name)
        self._log_path = folder / "log"
        port_file = folder / "port"
        environment = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "gadgetron.cli.daemon", "--port", "0", "--port-file", str(port_file)]
        command += ["--dir", str(folder / "work"), "--log-level", "warning", *arguments]
        with self._log_path.open("wb") as log_file:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log_file, stdout=log_file)
        began = monotonic()
        waiting = _spawn.Event()
        while not port_file.exists():
            if self._process.poll() is not None or monotonic() - began > START_S:
                raise BenchmarkError(f"the daemon did not start:\n{self.log}")
            waiting.wait(0.01)
        self.start_s = monotonic() - began
        self.port = int(port_file.read_text())

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """User and system time of all its threads [s]."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_bytes(self) -> int:
        """Most memory it ever had resident [bytes]."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        if found is None:
            raise BenchmarkError("the system does not tell a process's peak memory")
        return int(found[1]) * 1024

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(15.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if error is not None and self.log:
            sys.stderr.write(f"--- the daemon's log ---\n{self.log}\n")
        self._folder.cleanup()


@dataclass(frozen=True)
class NumpyRun:
    """What NumPy took: wall and processor time [s]; the first image's bytes if asked for."""

    total_s: float
    cpu_s: float
    first_image: bytes = b""


class Peer:
    """A process that runs what it is told, and says what it took.

    Parameters
    ----------
    main
        Runs in the process, with a connection to here and the arguments.
    """

    def __init__(self, main: Any, *arguments: Any) -> None:
        self._connection, there = _spawn.Pipe()
        self._process = _spawn.Process(target=main, args=(there, *arguments), daemon=True)
        self._process.start()
        there.close()
        self.announced = self._receive()

    def ask(self, *request: Any) -> Any:
        """Have something done, and wait for what comes of it."""
        self._connection.send(request)
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except EOFError:
            raise BenchmarkError(f"the process {self._process.name} has ended") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.join()


def numpy_main(connection: Connection, n_repetitions: int) -> None:
    """Run the arithmetic with NumPy, whenever asked."""
    workload = make_workload(n_repetitions)
    connection.send(None)
    while True:
        (wants_image,) = connection.recv()
        began, began_cpu = perf_counter(), process_time()
        images = reconstruct_with_numpy(workload)
        elapsed_s, cpu_s = perf_counter() - began, process_time() - began_cpu
        connection.send(NumpyRun(elapsed_s, cpu_s, images[0].tobytes() if wants_image else b""))


def client_main(connection: Connection, n_repetitions: int) -> None:
    """Run sessions, whenever asked: (kind, port, configuration, sessions at once)."""
    workload = make_workload(n_repetitions)
    header, readouts = workload.header(), workload.acquisitions()
    del workload
    _serve_sessions(connection, header, readouts)


def accelerated_client_main(connection: Connection) -> None:
    """Run sessions of the accelerated scan, whenever asked."""
    from benchmarks.chains import accelerated_acquisitions, accelerated_header  # which imports this module

    _serve_sessions(connection, accelerated_header(), accelerated_acquisitions())


def _serve_sessions(connection: Connection, header_text: bytes, readouts: bytearray) -> None:
    header = parameters(header_text)
    connection.send(None)
    while True:
        kind, port, configuration, n_sessions = connection.recv()
        start = config_file(configuration) + header

        def run(port: int = port, kind: str = kind, start: bytes = start) -> Outcome:
            if kind == "echo":
                return run_session(port, [start, readouts, CLOSE], is_echo=True)
            if kind == "empty":
                return run_session(port, [start + CLOSE])
            return run_session(port, [start, readouts, CLOSE], keep_first=kind == "keep")

        try:
            connection.send(run_at_once(n_sessions, run) if n_sessions > 1 else run())
        except (BenchmarkError, OSError) as error:
            connection.send(BenchmarkError(f"{type(error).__name__}: {error}"))


def echo_main(connection: Connection) -> None:
    """Echo."""
    serve_echo(connection.send)
