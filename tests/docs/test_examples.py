"""examples/: the package with its tests, and the scripts, run as their README says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gadgetron.phantom import PhantomOptions, write_phantom
from gadgetron.testing import ServerProcess
from tests.docs.pages import ROOT, reader_environment

EXAMPLES = ROOT / "examples"
PACKAGE = EXAMPLES / "smooth_images"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_phantom(tmp_path / "scan.h5", PhantomOptions(matrix=64, n_coils=4, n_slices=2))
    return tmp_path / "scan.h5"


def run(command: Sequence[object], folder: Path) -> str:
    """Run a program that finds the package; give what it printed."""
    environment = reader_environment(folder)
    environment["PYTHONPATH"] += f":{PACKAGE}"
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_package_passes_its_own_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PACKAGE, PACKAGE / "tests"]
    assert " passed" in run(command, tmp_path)


@pytest.mark.slow
def test_images_arrive_while_the_scan_runs(tmp_path: Path, scan: Path) -> None:
    environment = {"PYTHONPATH": f"{ROOT}:{PACKAGE}"}
    with ServerProcess("--config-dir", str(PACKAGE), "--allow", "smooth_images", environment=environment) as server:
        command = [sys.executable, EXAMPLES / "stream_scan.py", scan, "--config", "smooth.xml"]
        command += ["--port", server.port]
        (tmp_path / "warm").mkdir()
        run(command, tmp_path / "warm")  # what a first scan costs, imports and plans, is not the question
        printed = run([*command, "--ms-per-readout", 10], tmp_path).splitlines()
    assert printed[-1] == "128 readouts sent, 2 images received"
    first, last = (int(number) for number in re.findall(r"^after (\d+) readouts", "\n".join(printed), re.MULTILINE))
    assert 64 <= first < 128
    assert last == 128


@pytest.mark.slow
@pytest.mark.parametrize("has_file", [True, False], ids=["file", "simulated"])
def test_the_notebook_runs(tmp_path: Path, scan: Path, has_file: bool) -> None:
    printed = run([sys.executable, EXAMPLES / "explore.py", *([scan] if has_file else [])], tmp_path)
    assert f"{2 if has_file else 4} images mirrored" in printed


def test_the_readme_names_everything() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for entry in EXAMPLES.iterdir():
        if entry.suffix != ".md" and not entry.name.startswith((".", "__")):
            assert f"]({entry.name})" in text, entry.name
