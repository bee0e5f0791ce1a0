"""The warden: nothing that a daemon has started outlives it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from gadgetron.foreign.launch import Launch
from gadgetron.foreign.process import ForeignProcess
from gadgetron.foreign.warden import _PROGRAM, WARDEN
from tests.conftest import child_processes

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 10.0
pytestmark = pytest.mark.slow

DAEMON = """
import os, signal, sys
from gadgetron.foreign.launch import Launch
from gadgetron.foreign.process import ForeignProcess
from gadgetron.foreign.warden import WARDEN

nothing = lambda: None
WARDEN.hold()
script = "sleep 60 & echo $!; exec sleep 60"
modules = [
    ForeignProcess(Launch(("/bin/sh", "-c", script), dict(os.environ)), "m", on_exit=nothing, on_flood=nothing,
                   on_tick=nothing)
    for _ in range(2)
]
while not all(module.last_lines for module in modules):
    pass
children = [int(module.last_lines[0]) for module in modules]
print(WARDEN.pid, *[module.pid for module in modules], *children, flush=True)
if sys.argv[1] == "forked" and os.fork() == 0:
    print("forked", os.getpid(), flush=True)
    signal.pause()
if sys.argv[1] == "ends":
    for module in modules:
        module.stop(0.0, 1.0)
    WARDEN.release()
    sys.exit()
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def start_daemon(how: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A process with two modules that have a child each; gives the pids of the warden, the modules and the children."""
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, how], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    line = next(line for line in daemon.stdout if line.split()[0].isdecimal())
    return daemon, [int(word) for word in line.split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_end(*pids: int) -> None:
    deadline = monotonic() + GUARD_S
    while running := [pid for pid in pids if is_running(pid)]:
        assert monotonic() < deadline, running
        threading.Event().wait(0.01)


def descriptors_of(pid: int) -> dict[str, str]:
    kinds = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            kinds[entry.name] = str(entry.readlink())
    return kinds


def finish(daemon: subprocess.Popen[str]) -> str:
    out, _ = daemon.communicate("now\n", timeout=GUARD_S)
    return out


def test_a_daemon_that_is_killed_takes_its_modules_with_it() -> None:
    daemon, pids = start_daemon("killed")
    with daemon:
        assert all(map(is_running, pids))
        finish(daemon)
    assert daemon.returncode == -signal.SIGKILL
    wait_for_end(*pids)


def test_a_daemon_that_is_gone_before_the_warden_is_ready_is_noticed_too() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as module:
        subprocess.run(
            [sys.executable, "-I", "-S", _PROGRAM, str(ended.pid)],
            input=b"+%d\n" % module.pid,
            timeout=GUARD_S,
            check=True,
        )
        assert module.wait(GUARD_S) == -signal.SIGKILL


def test_a_fork_of_the_daemon_that_has_the_pipe_does_not_keep_the_warden_waiting() -> None:
    daemon, pids = start_daemon("forked")
    with daemon:
        assert daemon.stdout is not None
        forked = int(daemon.stdout.readline().split()[1])
        try:
            assert daemon.stdin is not None
            daemon.stdin.write("now\n")
            daemon.stdin.flush()
            wait_for_end(*pids)
            assert is_running(forked)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_an_orderly_end_waits_for_the_warden() -> None:
    daemon, pids = start_daemon("ends")
    with daemon:
        finish(daemon)
    assert daemon.returncode == 0
    assert not any(map(is_running, pids))


def nothing() -> None:
    """Nobody wants to know."""


def start_module(*command: str) -> ForeignProcess:
    launch = Launch(command, dict(os.environ))
    return ForeignProcess(launch, "m", on_exit=nothing, on_flood=nothing, on_tick=nothing)


def test_the_warden_is_out_of_reach_and_holds_nothing_but_its_pipe() -> None:
    WARDEN.hold()  # it would end with the module
    module = start_module("sleep", "60")
    try:
        pid = WARDEN.pid
        assert pid is not None
        assert os.getsid(pid) == pid
        assert os.getpgid(pid) not in (os.getpgid(0), module.pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
        os.killpg(module.pid, signal.SIGTERM)
        assert module.wait(GUARD_S)
        assert is_running(pid)
        deadline = monotonic() + GUARD_S
        while "pidfd" not in " ".join((kinds := descriptors_of(pid)).values()):  # it is starting
            assert monotonic() < deadline, kinds
            threading.Event().wait(0.01)
        assert kinds.pop("1") == kinds.pop("2") == "/dev/null"
        assert kinds.pop("0").startswith("pipe:")
        assert all("pidfd" in kind for kind in kinds.values()), kinds
    finally:
        module.stop(0.0, 1.0)
        WARDEN.release()
    assert WARDEN.pid is None
    assert pid not in child_processes()


def test_a_warden_that_was_killed_is_replaced_and_knows_everybody() -> None:
    first = start_module("sleep", "60")
    try:
        before = WARDEN.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_for_end(before)
        second = start_module("sleep", "60")
        try:
            assert WARDEN.pid not in (None, before)
            assert WARDEN._groups == {first.pid, second.pid}
        finally:
            second.stop(0.0, 1.0)
    finally:
        first.stop(0.0, 1.0)
    assert WARDEN.pid is None


def test_a_warden_that_lags_behind_is_replaced_and_kills_nobody() -> None:
    module = start_module("sleep", "60")
    try:
        before = WARDEN.pid
        assert before is not None
        os.kill(before, signal.SIGSTOP)
        while WARDEN.pid == before:  # until the pipe is full
            WARDEN.watch(module.pid)
        wait_for_end(before)
        assert is_running(module.pid)
    finally:
        module.stop(0.0, 1.0)
    assert WARDEN.pid is None


def test_a_server_keeps_one_warden_for_all_sessions() -> None:
    WARDEN.hold()
    try:
        assert WARDEN.pid is None
        pids = set()
        for _ in range(3):
            start_module("true").stop(GUARD_S, 1.0)
            pids.add(WARDEN.pid)
        assert len(pids) == 1
        assert None not in pids
    finally:
        WARDEN.release()
    assert WARDEN.pid is None


REAPER = """
import ctypes, os
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
from gadgetron.foreign.launch import Launch
from gadgetron.foreign.process import ForeignProcess

nothing = lambda: None
script = "(sleep 60 & wait) & echo started; kill -9 $$"
module = ForeignProcess(Launch(("/bin/sh", "-c", script), dict(os.environ)), "m", on_exit=nothing, on_flood=nothing,
                        on_tick=nothing)
other = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "0")
assert module.wait(10)
module.stop(0.0, 1.0)
assert module.status == -9, module.status
print("other", os.waitpid(other, 0)[0] == other)
try:
    print("left", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("nothing left")
"""


def test_who_adopts_orphans_waits_for_those_of_a_module_and_for_nobody_elses() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAPER], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "[" not in line] == ["other True", "nothing left"]
