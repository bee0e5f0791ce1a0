"""Run integration test cases: a daemon, a phantom, a client, and a comparison of images, as a table.

A case is an INI file:

    [phantom]         options = …       of gadgetron_phantom
    [module]          command = …       optional: a program that runs meanwhile; {python} is this interpreter
                      port = …          where it listens
    [reconstruction]  configuration = … what is tested
    [reference]       configuration = … what computes the same images without what is tested
    [test]            value_threshold, scale_threshold = …   1e-5 if they are not given
    [tags]            tags = …

Two images are compared as the Gadgetron's own integration tests do: the norm of the difference over that of the
reference is at most the value threshold; the factor between them differs from 1 by at most the scale threshold. Their
headers must be equal but for times and series.
"""

from __future__ import annotations

import argparse
import configparser
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from gadgetron.dataset.images import StoredImage, load_images
from gadgetron.testing.server_process import ServerProcess

TIMEOUT_S = 120.0
NOT_COMPARED = {
    "acquisition_time_stamp",
    "physiology_time_stamp",
    "image_series_index",
    "attribute_string_len",
    "version",
    "flags",
    "image_type",
    "user_int",
    "user_float",
    "measurement_uid",
}


class CaseError(Exception):
    """A stage of a case did not run."""


@dataclass
class Result:
    """One line of the table."""

    name: str
    n_images: int = 0
    difference: float = float("nan")
    scale: float = float("nan")
    duration_s: float = 0.0
    problem: str = ""

    @property
    def line(self) -> str:
        """The line as text."""
        verdict = "failed" if self.problem else "passed"
        numbers = f"{self.n_images:6} {self.difference:10.2e} {self.scale:10.2e} {self.duration_s:7.2f} s"
        return f"{self.name:44} {numbers}  {verdict}{f': {self.problem}' if self.problem else ''}"


def run_case(path: Path, folder: Path) -> Result:
    """Run the stages of a case, and compare."""
    case = configparser.ConfigParser(interpolation=None)
    if not case.read(path):
        raise CaseError(f"{path} cannot be read")
    result = Result(path.stem)
    folder.mkdir(parents=True, exist_ok=True)
    scan = folder / "scan.h5"
    _run_program(
        "gadgetron.cli.phantom", *shlex.split(case.get("phantom", "options")), "-q", "--force", "-o", str(scan)
    )
    with ServerProcess("--dir", str(folder / "work")) as server:
        reference = _reconstruct(server, scan, case.get("reference", "configuration"), folder / "reference.h5")
        began = monotonic()
        with ExitStack() as stack:
            if case.has_section("module"):
                stack.enter_context(_Module(case["module"]))
            images = _reconstruct(server, scan, case.get("reconstruction", "configuration"), folder / "images.h5")
        result.duration_s = monotonic() - began
    result.n_images = len(images)
    _compare(result, images, reference, case)
    return result


def _run_program(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise CaseError(f"{module} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")


def _reconstruct(server: ServerProcess, scan: Path, configuration: str, output: Path) -> list[StoredImage]:
    output.unlink(missing_ok=True)
    place = ("-a", server.host, "-p", str(server.port))
    _run_program("gadgetron.cli.client", *place, "-f", str(scan), "-c", configuration, "-o", str(output))
    return load_images(output)


class _Module:
    """A program that listens for the Gadgetron while a case runs."""

    def __init__(self, section: configparser.SectionProxy) -> None:
        command = shlex.split(section["command"].replace("{python}", shlex.quote(sys.executable)))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> None:
        """Nothing to wait for: the Gadgetron tries to connect until somebody listens."""

    def __exit__(self, *exc: object) -> None:
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _compare(
    result: Result, images: Sequence[StoredImage], reference: Sequence[StoredImage], case: configparser.ConfigParser
) -> None:
    if len(images) != len(reference) or not images:
        result.problem = f"{len(images)} images, expected {len(reference)}"
        return
    ours, theirs = (
        np.concatenate([np.asarray(image.data).ravel() for image in each]).astype(np.complex128)
        for each in (images, reference)
    )
    if ours.shape != theirs.shape:
        result.problem = f"{ours.size} pixels, expected {theirs.size}"
        return
    result.difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    result.scale = abs(1 - float(abs(np.vdot(ours, ours) / np.vdot(ours, theirs))))
    value, scale = (case.getfloat("test", f"{name}_threshold", fallback=1e-5) for name in ("value", "scale"))
    if not result.difference <= value:
        result.problem = f"difference {result.difference:.2e}, at most {value:g} expected"
    elif not result.scale <= scale:
        result.problem = f"scale differs by {result.scale:.2e}, at most {scale:g} expected"
    else:
        result.problem = next(filter(None, map(_header_problem, images, reference)), "")


def _header_problem(image: StoredImage, reference: StoredImage) -> str:
    for name, _ in image.header._fields_:
        if name in NOT_COMPARED:
            continue
        ours, theirs = (_numbers(getattr(each.header, name)) for each in (image, reference))
        if not np.allclose(ours, theirs, rtol=1e-5, atol=1e-6):
            return f"header field {name} is {ours.tolist()}, expected {theirs.tolist()}"
    return ""


def _numbers(value: Any) -> Any:
    return np.asarray(list(value) if hasattr(value, "_length_") else [value], float)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that are named; returns the exit status: 0 if all of them passed."""
    parser = argparse.ArgumentParser(
        prog="run_tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", type=Path, help="case files")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep scans and images here")
    options = parser.parse_args(arguments)
    sys.stdout.write(f"{'case':44} {'images':>6} {'difference':>10} {'scale':>10} {'time':>9}\n")
    results = []
    with tempfile.TemporaryDirectory(prefix="gadgetron-cases-") as temporary:
        for path in options.cases:
            folder = (options.keep or Path(temporary)) / path.stem
            try:
                result = run_case(path, folder)
            except (CaseError, configparser.Error, subprocess.TimeoutExpired) as error:
                result = Result(path.stem, problem=str(error))
            results.append(result)
            sys.stdout.write(f"{result.line}\n")
            sys.stdout.flush()
    n_failed = sum(bool(result.problem) for result in results)
    sys.stdout.write(f"{len(results)} cases, {n_failed} failed\n")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
