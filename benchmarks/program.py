"""Our own client program, from a file to a file: what a user waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.client import BenchmarkError
from benchmarks.measures import CONFIGURATION, Plan, Row, progress
from benchmarks.processes import ROOT, Daemon, Peer
from benchmarks.workload import MATRIX, N_COILS


def client_program(plan: Plan, numpy: Peer) -> list[Row]:
    """Run the client program on a phantom of the session's size, with and without the start of the interpreter."""
    with tempfile.TemporaryDirectory(prefix="gadgetron-bench-") as folder, Daemon() as daemon:
        scan, images = Path(folder) / "scan.h5", Path(folder) / "images.h5"
        size = ["-m", str(MATRIX), "-c", str(N_COILS), "-r", str(plan.n_repetitions)]
        _run("gadgetron.cli.phantom", *size, "-q", "-o", str(scan))
        samples: dict[str, list[float]] = {"ratio": [], "program_s": [], "start_s": []}
        for _ in range(plan.n_pairs + 1):
            images.unlink(missing_ok=True)
            total_s = _run(
                "gadgetron.cli.client",
                "-p",
                str(daemon.port),
                "-f",
                str(scan),
                "-c",
                CONFIGURATION,
                "-o",
                str(images),
            )
            start_s = _run("gadgetron.cli.client", "--help")
            numpy_s = numpy.ask(False).total_s
            samples["ratio"].append((total_s - start_s) / numpy_s)
            samples["program_s"].append(total_s)
            samples["start_s"].append(start_s)
            progress(f"  program {total_s:.2f} s, its help {start_s:.2f} s, NumPy {numpy_s:.2f} s")
    del samples["ratio"][0]  # the warm-up
    note = f"{median(samples['program_s']):.2f} s from file to file, start of the interpreter included"
    return [Row("our client program, less its start / NumPy", median(samples["ratio"]), note=note, samples=samples)]


def _run(module: str, *arguments: str) -> float:
    """Run a program to its end; give its time [s]."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"{module} ended with {done.returncode}: {done.stderr}")
    return perf_counter() - began
