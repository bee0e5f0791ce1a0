"""The runner of integration cases, as its user runs it; and modules of the package that people install today."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gadgetron.foreign.settings import ForeignSettings, LanguageSettings
from tests import raw_client as raw
from tests.foreign.support import execute, run
from tests.integration import runner
from tests.readers_writers.messages import KINDS, written
from tests.servers import InProcessServer

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
CASES = FOLDER / "cases"
PIP_PACKAGE = "gadgetron==1.4.1"
INSTALL_S = 240.0


def test_cases_as_their_user_runs_them() -> None:
    done = subprocess.run(
        ["./run_tests", "cases/external_python_acquisition_example.cfg", "cases/python_short.cfg"],
        cwd=FOLDER,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["passed", "passed"]
    assert lines[3] == "2 cases, 0 failed"


def test_every_foreign_stock_configuration_has_a_case() -> None:
    configurations = {path.stem for path in (FOLDER.parents[1] / "config").glob("external_*.xml")}
    configurations |= {path.stem for path in (FOLDER.parents[1] / "config").glob("python_*.xml")}
    assert configurations == {path.stem for path in CASES.glob("*.cfg")}


def test_a_case_that_does_not_agree_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = tmp_path / "other.cfg"
    case.write_text(
        "[phantom]\noptions = -m 32 -c 2\n[reconstruction]\nconfiguration = default.xml\n"
        "[reference]\nconfiguration = default_short.xml\n"
    )
    assert runner.main([str(case), str(tmp_path / "missing.cfg")]) == 1
    said = capsys.readouterr().out
    assert "failed: difference" in said
    assert "missing.cfg cannot be read" in said


@pytest.fixture(scope="module")
def pip_python(request: pytest.FixtureRequest) -> str:
    """An interpreter with the package that people install today; it is installed once, if there is a network."""
    configured = os.environ.get("GADGETRON_PIP_PYTHON")
    if configured:
        return configured
    folder = Path(request.config.cache.mkdir("gadgetron-1.4")) / "venv"  # type: ignore[union-attr]  # pytest has a cache
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--no-input", PIP_PACKAGE],
        ]
        for command in commands:
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            except subprocess.TimeoutExpired:
                pytest.skip(f"{PIP_PACKAGE} cannot be installed within {INSTALL_S:g} s")
            if done.returncode:
                pytest.skip(f"{PIP_PACKAGE} cannot be installed: {done.stderr.strip()[-200:]}")
        (folder / "complete").touch()
    return str(python)


@pytest.fixture
def pip_server(server: InProcessServer, pip_python: str) -> InProcessServer:
    """A server whose Python modules live in that environment."""
    language = LanguageSettings(pip_python, None, (("GADGETRON_EXTERNAL_LOG_LEVEL", "INFO"),))
    server.environment.foreign = ForeignSettings(languages=(("python", language),))
    return server


EVERYTHING = ("acquisition", "acquisition-trajectory", "waveform", "image-complex64", "recon-data", "image-array")


def test_the_package_of_today_passes_every_kind_of_item_through(pip_server: InProcessServer) -> None:
    readers = "".join(
        f"<reader><classname>readers_writers.{name}</classname></reader>"
        for name in (
            "acquisition.AcquisitionReader",
            "waveform.WaveformReader",
            "image.MRIImageReader",
            "recon_data.BufferReader",
            "image_array.IsmrmrdImageArrayReader",
            "bucket.AcquisitionBucketReader",
        )
    )
    node = execute("pass_through", module="gadgetron.examples")
    xml = (
        f"<configuration><version>2</version><readers>{readers}</readers>"
        f"<writers>{readers.replace('reader>', 'writer>').replace('Reader<', 'Writer<')}</writers>"
        f"<stream>{node}</stream></configuration>"
    )
    data = b"".join(written(KINDS[name].writer, KINDS[name].message()) for name in EVERYTHING)
    with raw.RawClient(pip_server.port) as client:
        client.send(raw.config_script(xml.encode()), raw.header(), data, raw.close())
        received, _ = client.read_bytes()
    assert received.endswith(
        data[-len(written(KINDS["image-array"].writer, KINDS["image-array"].message())) :] + raw.close()
    )
    assert (
        received[: len(written(KINDS["acquisition"].writer, KINDS["acquisition"].message()))] == data[: 2 + 340 + 120]
    )
    assert b"ERROR" not in received


def test_a_bucket_reaches_the_package_of_today(pip_server: InProcessServer, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    scan = tmp_path / "scan.h5"
    runner._run_program("gadgetron.cli.phantom", "-m", "32", "-c", "2", "-q", "-o", str(scan))
    place = SimpleNamespace(host="127.0.0.1", port=pip_server.port)
    found = {}
    for name in ("bucket", "buffer", "acquisition"):
        configuration = f"external_python_{name}_example.xml"
        found[name] = runner._reconstruct(place, scan, configuration, output)  # type: ignore[arg-type]  # an address
    reference = runner._reconstruct(place, scan, "external_equivalent_example.xml", output)  # type: ignore[arg-type]  # the same
    for images in found.values():
        assert len(images) == len(reference) == 1
        difference = np.linalg.norm(images[0].data - reference[0].data) / np.linalg.norm(reference[0].data)
        assert difference < 1e-4


def test_an_exception_in_the_package_of_today_is_told_though_it_sends_close(pip_server: InProcessServer) -> None:
    reply = run(pip_server, execute("no_such_thing", module="gadgetron.examples"), raw.acquisition(1))
    assert "ended with exit status 1; its last lines: " in reply.error
    assert "TypeError: Unable to initialize" in reply.error


def test_the_package_of_today_listens(server: InProcessServer, pip_python: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"import gadgetron; gadgetron.external.listen({port}, gadgetron.examples.pass_through)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen([pip_python, "-P", "-c", code], env=environment, stderr=subprocess.DEVNULL) as module:
        data = b"".join(raw.acquisition(number, 64, 4) for number in range(1, 101))
        reply = run(server, f'<external><connect port="{port}"/></external>', data)
        assert module.wait(10) == 0
    assert reply.scan_counters == list(range(1, 101))
