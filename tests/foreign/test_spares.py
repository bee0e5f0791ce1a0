"""Interpreters that wait for the next module: who gets them, and that none is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from gadgetron.foreign.launch import Launch
from gadgetron.foreign.spares import SPARES, end_process
from tests import raw_client as raw
from tests.conftest import child_processes
from tests.foreign.support import MODULES, execute, readouts, run
from tests.foreign.test_warden import wait_for_end
from tests.servers import InProcessServer

GUARD_S = 60.0
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def keeping() -> Iterator[None]:
    SPARES.keep(1)
    yield
    SPARES.keep(0)


def spares() -> list[int]:
    """Process ids of the interpreters that wait. A session has ended when its module's spare has been started."""
    pids = [process.pid for _, process in SPARES._waiting]
    assert set(pids) <= set(child_processes())
    return pids


def who(server: InProcessServer, count: int) -> list[str]:
    lines = [record["line"] for record in server.records.wait_for("module.output", count)]
    return [line for line in lines if line.startswith("I am ")]


@pytest.mark.usefixtures("keeping")
def test_a_spare_runs_the_next_module(server: InProcessServer) -> None:
    assert spares() == []
    node = execute("says_who_it_is")
    for expected in (None, *range(2)):
        (waiting,) = spares() or [None]
        assert (waiting is None) == (expected is None)
        reply = run(server, node, readouts(3))
        assert [message for message, _ in reply.messages].count(raw.ACQUISITION) == 3
        started = server.records.of("module.started")[-1]
        assert waiting in (None, started["pid"])
    lines = who(server, 3)
    assert len(set(lines)) == 3
    for line, record in zip(lines, server.records.of("module.started"), strict=True):
        assert line.startswith(f"I am {record['pid']} ")
        port = line.split("'")[1]
        assert line.endswith(f"['{port}', '{MODULES}', 'says_who_it_is'] ['{port}', '{MODULES}'] ''")
    SPARES.keep(0)
    assert spares() == []


@pytest.mark.usefixtures("keeping")
def test_a_spare_that_somebody_has_killed_costs_nothing_but_time(server: InProcessServer) -> None:
    node = execute("says_who_it_is")
    run(server, node, readouts(1))
    (pid,) = spares()
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    run(server, node, readouts(1))
    assert len(who(server, 2)) == 2
    assert server.records.of("module.spare_lost")


@pytest.mark.usefixtures("keeping")
def test_a_failing_module_is_followed_by_a_spare_too(server: InProcessServer) -> None:
    reply = run(server, execute("raises"), readouts(1))
    assert any(text.startswith("ERROR") for text in reply.texts)
    assert len(spares()) == 1


@pytest.mark.usefixtures("keeping")
def test_a_spare_is_for_modules_of_its_kind_only(tmp_path: Path) -> None:
    environment = {**os.environ, "GADGETRON_EXTERNAL_PORT": "1", "GADGETRON_EXTERNAL_MODULE": "m"}
    ahead = (sys.executable, "-m", "gadgetron", "-")
    first = Launch((*ahead[:-1], "1", "m"), environment, tmp_path, ahead)
    SPARES.prepare(first)
    (waiting,) = spares()
    others = [
        Launch((sys.executable, "-c", ""), {**environment, "MORE": "1"}, tmp_path, ahead),
        Launch((sys.executable, "-c", ""), environment, None, ahead),
        Launch((sys.executable, "-c", ""), environment, tmp_path),
    ]
    for launch in others:
        process = SPARES.start(launch)
        assert process.pid != waiting
        end_process(process)
    SPARES.prepare(others[0])  # only one is kept: that for what ran last
    (newer,) = spares()
    assert newer != waiting


@pytest.mark.usefixtures("keeping")
def test_a_spare_begins_anew_if_what_it_has_imported_has_changed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("which = 'old'")
    module = tmp_path / "asks.py"
    module.write_text("import os, sitecustomize\nprint(sitecustomize.which, os.getcwd(), flush=True)\nraise SystemExit")
    for release in ("first", "second"):
        (tmp_path / release).mkdir()
    current = tmp_path / "current"
    current.symlink_to("first")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}
    environment |= {"GADGETRON_EXTERNAL_PORT": "1", "GADGETRON_EXTERNAL_MODULE": "asks"}
    ahead = (sys.executable, "-m", "gadgetron", "-")
    said = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        launch = Launch((*ahead[:-1], str(listener.getsockname()[1]), "asks"), environment, current, ahead)
        for change in (
            lambda: None,
            lambda: (tmp_path / "sitecustomize.py").write_text("which = 'new'"),
            lambda: (current.unlink(), current.symlink_to("second")),
        ):
            SPARES.prepare(launch)
            (waiting,) = spares()
            wait_until_ready(waiting)
            change()
            process = SPARES.start(launch)
            assert process.pid == waiting
            assert process.stdout is not None
            connection, _ = listener.accept()
            said.append(process.stdout.readline().decode().split())
            connection.close()
            end_process(process)
    assert said == [["old", f"{tmp_path}/first"], ["new", f"{tmp_path}/first"], ["new", f"{tmp_path}/second"]]


def wait_until_ready(pid: int) -> None:
    """Wait until a spare waits for its standard input: it has used the processor, and does so no more."""
    deadline, quiet, before = monotonic() + GUARD_S, 0, ("", 0)
    while quiet < 5:
        assert monotonic() < deadline
        threading.Event().wait(0.03)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        now = fields[0], int(fields[11])
        quiet = quiet + 1 if now == before and now[0] == "S" and now[1] > 5 else 0
        before = now


@pytest.mark.usefixtures("keeping")
def test_as_many_are_kept_as_were_asked_for_and_dead_ones_are_waited_for(tmp_path: Path) -> None:
    SPARES.keep(2)
    environment = {**os.environ, "GADGETRON_EXTERNAL_PORT": "1", "GADGETRON_EXTERNAL_MODULE": "m"}
    ahead = (sys.executable, "-m", "gadgetron", "-")
    launch = Launch((*ahead[:-1], "1", "m"), environment, tmp_path, ahead)
    for expected in (1, 2, 2):
        SPARES.prepare(launch)
        assert len(spares()) == expected
    (first, second) = spares()
    os.kill(first, signal.SIGKILL)
    wait_for_end(first)
    end_process(SPARES.start(Launch((sys.executable, "-c", ""), environment, tmp_path)))
    assert spares() == [second]


def test_nobody_keeps_spares_unless_told_to(server: InProcessServer) -> None:
    run(server, execute("says_who_it_is"), readouts(1))
    assert spares() == []


def test_a_spare_ends_with_its_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gadgetron", "-"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=GUARD_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
