"""What is measured: each function runs one comparison and gives rows for the table."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np

from benchmarks import micro
from benchmarks.client import BenchmarkError, Outcome
from benchmarks.processes import Daemon, Peer, echo_main

MIB = 1024 * 1024
CONFIGURATION = "default.xml"
PASS_THROUGH = "pass_through.xml"  # noqa: S105  # the name of a file


@dataclass
class Row:
    """One line of the table.

    Attributes
    ----------
    goal
        None where a number is only shown. `at_least` turns it around.
    samples
        What the result is the median of; more for who reads the JSON.
    """

    name: str
    result: float
    unit: str = "×"
    goal: float | None = None
    at_least: bool = False
    note: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        if self.goal is None:
            return True
        return self.result >= self.goal if self.at_least else self.result <= self.goal

    @property
    def verdict(self) -> str:
        return "" if self.goal is None else "ok" if self.is_met else "MISS"


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    n_repetitions: int
    n_pairs: int
    n_pairs_at_once: int
    n_at_once: int
    n_empty: int


def progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def other_load(duration_s: float = 1.0) -> float:
    """Measure, while nothing of ours runs, what part of the processors other work takes: 0 to 1."""
    busy_s, began_s = _busy_s(), monotonic()
    threading.Event().wait(duration_s)
    return (_busy_s() - busy_s) / (monotonic() - began_s) / (os.cpu_count() or 1)


def _busy_s() -> float:
    first = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system = (int(number) for number in first[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def one_session(plan: Plan, client: Peer, numpy: Peer) -> list[Row]:
    """Session and NumPy in turn, on a fresh daemon."""
    with Daemon() as daemon:
        progress(f"  daemon started in {daemon.start_s:.2f} s; warm-up")
        idle_bytes = daemon.peak_bytes
        outcome = client.ask("keep", daemon.port, CONFIGURATION, 1)
        _check_image(outcome, numpy.ask(True).first_image, plan)
        samples: dict[str, list[float]] = {"ratio": [], "first": [], "session_s": [], "numpy_s": [], "cpu": []}
        for _ in range(plan.n_pairs):
            began_cpu_s = daemon.cpu_s
            outcome = client.ask("count", daemon.port, CONFIGURATION, 1)
            cpu_s = daemon.cpu_s - began_cpu_s
            reference = numpy.ask(False)
            check_count(outcome, plan.n_repetitions)
            samples["ratio"].append(outcome.total_s / reference.total_s)
            samples["first"].append(outcome.first_s / reference.total_s)
            samples["cpu"].append(cpu_s / reference.cpu_s)
            samples["session_s"].append(outcome.total_s)
            samples["numpy_s"].append(reference.total_s)
            progress(
                f"  session {outcome.total_s:.3f} s, NumPy {reference.total_s:.3f} s, "
                f"ratio {samples['ratio'][-1]:.3f}, processor time {samples['cpu'][-1]:.3f}"
            )
        peak_bytes = daemon.peak_bytes
    return [
        Row("default.xml, one session / NumPy", median(samples["ratio"]), goal=0.6, note="aim 0.45", samples=samples),
        Row("default.xml, first image / NumPy", median(samples["first"]), goal=0.2),
        Row("default.xml, processor time / NumPy", median(samples["cpu"]), note="user + system, all threads"),
        Row("peak memory, one session at a time", peak_bytes / 1e6, "MB", 200, note=f"{idle_bytes / 1e6:.0f} MB idle"),
    ]


def many_sessions(plan: Plan, client: Peer, numpy: Peer) -> list[Row]:
    """Sessions at once and NumPy in turn, on a fresh daemon."""
    n_sessions = plan.n_at_once
    with Daemon() as daemon:
        client.ask("count", daemon.port, CONFIGURATION, 1)
        samples: dict[str, list[float]] = {"ratio": [], "slowest": [], "fastest": [], "cpu": []}
        reference = numpy.ask(False)
        for _ in range(plan.n_pairs_at_once):
            before = reference
            began_cpu_s = daemon.cpu_s
            elapsed_s, outcomes = client.ask("count", daemon.port, CONFIGURATION, n_sessions)
            cpu_s = daemon.cpu_s - began_cpu_s
            reference = numpy.ask(False)
            for outcome in outcomes:
                check_count(outcome, plan.n_repetitions)
            times = [outcome.total_s for outcome in outcomes]
            numpy_s = (before.total_s + reference.total_s) / 2  # seconds lie between: the machine may have changed
            samples["ratio"].append(elapsed_s / n_sessions / numpy_s)
            samples["slowest"].append(max(times) / elapsed_s)
            samples["fastest"].append(min(times) / elapsed_s)
            samples["cpu"].append(cpu_s / n_sessions / reference.cpu_s)
            progress(
                f"  {n_sessions} sessions {elapsed_s:.2f} s, NumPy {numpy_s:.3f} s, ratio {samples['ratio'][-1]:.3f}"
            )
        peak_bytes = daemon.peak_bytes
    fastest = median(samples["fastest"])
    return [
        Row(
            f"default.xml, {n_sessions} sessions at once, each / NumPy",
            median(samples["ratio"]),
            goal=0.7,
            note=f"the first ends after {fastest:.0%} of the time",
            samples=samples,
        ),
        Row(f"peak memory, {n_sessions} sessions at once", peak_bytes / 1e6, "MB", 900),
    ]


def empty_session(plan: Plan, client: Peer) -> list[Row]:
    """Connect, configure, header, close."""
    with Daemon() as daemon:
        client.ask("empty", daemon.port, CONFIGURATION, 1)
        times = [1e3 * client.ask("empty", daemon.port, CONFIGURATION, 1).total_s for _ in range(plan.n_empty)]
    late = sorted(times)[int(0.99 * (len(times) - 1))]
    return [Row("empty session", median(times), "ms", 5, note=f"p99 {late:.1f} ms", samples={"ms": times})]


def pass_through(plan: Plan, client: Peer) -> list[Row]:
    """Readouts there and back through a chain without gadgets, next to two bare sockets."""
    with Daemon() as daemon, Peer(echo_main) as echo:
        client.ask("count", daemon.port, PASS_THROUGH, 1)
        samples: dict[str, list[float]] = {"ratio": [], "mib_per_s": [], "echo_mib_per_s": []}
        for _ in range(plan.n_pairs):
            outcome = client.ask("count", daemon.port, PASS_THROUGH, 1)
            bare = client.ask("echo", echo.announced, PASS_THROUGH, 1)
            check_count(outcome, plan.n_repetitions * 256)
            samples["ratio"].append((outcome.n_bytes / outcome.total_s) / (bare.n_bytes / bare.total_s))
            samples["mib_per_s"].append(outcome.n_bytes / outcome.total_s / MIB)
            samples["echo_mib_per_s"].append(bare.n_bytes / bare.total_s / MIB)
            progress(f"  pass-through {outcome.total_s:.3f} s, bare sockets {bare.total_s:.3f} s")
    speed = f"{median(samples['mib_per_s']):.0f} MiB/s"
    ratio = median(samples["ratio"])
    return [Row("pass-through / two bare sockets, bytes per second", ratio, "×", 0.5, True, speed, samples)]


def parts(plan: Plan) -> list[Row]:
    """The parts on their own."""
    n_messages = 64 * 200
    ours_s, plain_s = micro.interleaved(
        plan.n_pairs, lambda: micro.hop(n_messages), lambda: micro.plain_hop(n_messages)
    )
    rows = [Row("queue hop / queue.Queue", ours_s / plain_s, note=f"{1e6 * ours_s / n_messages:.2f} µs a message")]
    for name, (ours, theirs) in micro.toolbox_cases().items():
        ours_s, theirs_s = micro.interleaved(plan.n_pairs, ours, theirs)
        rows.append(Row(f"{name} / NumPy", ours_s / theirs_s, note=f"{1e3 * ours_s:.2f} ms"))
    return rows


def check_count(outcome: Outcome, n_expected: int) -> None:
    """Make sure that everything came back."""
    if outcome.n_messages != n_expected:
        raise BenchmarkError(f"{outcome.n_messages} messages came back, {n_expected} expected")


def _check_image(outcome: Outcome, expected: bytes, plan: Plan) -> None:
    """Make sure that what is fast is also right."""
    check_count(outcome, plan.n_repetitions)
    image: Any = np.frombuffer(outcome.kept, np.float32)
    wanted: Any = np.frombuffer(expected, np.float32)
    if image.shape != wanted.shape:
        raise BenchmarkError(f"the image has {image.size} pixels, {wanted.size} expected")
    error = float(np.linalg.norm(image - wanted) / np.linalg.norm(wanted))
    if not error < 1e-6:
        raise BenchmarkError(f"the image differs from NumPy's by {error:.2e}, 1e-6 is allowed")
    progress(f"  the first image equals NumPy's to {error:.1e}")
