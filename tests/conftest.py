"""What every test gets: a check that it leaves nothing behind, and numbers that can be drawn again."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import ismrmrd  # noqa: F401 - resets the warning filters when it is imported; here that happens before any test
import numpy as np
import pytest
import structlog
from hypothesis import settings
from tqdm import tqdm

from tests.servers import InProcessServer

tqdm.monitor_interval = 0  # its watchdog thread outlives every progress bar

# A shared machine may be slow at any moment; what fails in CI must fail again on a desk.
settings.register_profile("gadgetron", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("gadgetron")

LEAK_DEADLINE_S = 3.0


def running_threads() -> dict[int, str]:
    """Threads of Python code, by id, with their names."""
    return {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}


def open_descriptors() -> dict[str, str]:
    """Descriptors that a session could lose, with what they refer to: files, sockets, pipes.

    Those of libraries are not ours to count: /dev, /proc, and the maps of shared objects.
    """
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if not target.startswith(("/dev/", "/proc/", "/sys/")):
            found[entry.name] = target
    return found


def child_processes() -> dict[int, str]:
    """Children of this process, dead ones that nobody waited for included, with their command lines."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text(encoding="ascii").split()
        except OSError:  # the thread has ended in the meantime
            continue
        for child in children:
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[int(child)] = command.strip() or "(zombie)"
    return found


def stacks(thread_ids: set[int]) -> str:
    frames = sys._current_frames()
    return "\n".join("".join(traceback.format_stack(frames[ident])) for ident in thread_ids if ident in frames)


def leaks(threads: set[int], descriptors: dict[str, str], children: set[int]) -> str:
    """Describe what is there now and was not before; empty when there is nothing."""
    found = []
    new_threads = {ident: name for ident, name in running_threads().items() if ident not in threads}
    if new_threads:
        found.append(f"threads {sorted(new_threads.values())}\n{stacks(set(new_threads))}")
    new_descriptors = {
        entry: target for entry, target in open_descriptors().items() if descriptors.get(entry) != target
    }
    if new_descriptors:
        found.append(f"descriptors {new_descriptors}")
    new_children = {pid: command for pid, command in child_processes().items() if pid not in children}
    if new_children:
        found.append(f"children {new_children}")
    return "\n".join(found)


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a descriptor or a child. What is ending anyway gets a moment to end."""
    threads, descriptors, children = set(running_threads()), open_descriptors(), set(child_processes())
    yield
    if leaks(threads, descriptors, children):
        gc.collect()  # a file in a reference cycle is not a leak of ours
        deadline = time.monotonic() + LEAK_DEADLINE_S
        while (found := leaks(threads, descriptors, children)) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        if found:
            pytest.fail(f"{request.node.nodeid} left behind:\n{found}", pytrace=False)


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Give each test the logging of a fresh process: some tests configure it, for a stream that is closed later."""
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    yield
    structlog.reset_defaults()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers, the same in every run of a test. RNG_SEED=n draws others; a failure prints the seed."""
    seed = int(os.environ.get("RNG_SEED", zlib.crc32(request.node.nodeid.encode())))
    request.node.user_properties.append(("rng_seed", seed))
    return np.random.default_rng(seed)


@pytest.fixture
def start_server() -> Iterator[Callable[..., InProcessServer]]:
    """Start servers in this process, each on a free port: `start_server(handshake_deadline_s=0.1)` sets limits."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(InProcessServer(**options))


@pytest.fixture
def server(start_server: Callable[..., InProcessServer]) -> InProcessServer:
    """A server in this process, on a free port, with the default limits."""
    return start_server()


@pytest.fixture
def full_counts(request: pytest.FixtureRequest) -> bool:
    """Whether counts are to be the full ones of the reliability goals, not samples (`make reliability`)."""
    return os.environ.get("RELIABILITY") == "full" or bool(request.config.getoption("--full-counts"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-counts", action="store_true", help="run the reliability tests with their full counts, not samples"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    seeds = [value for name, value in item.user_properties if name == "rng_seed"]
    if report.failed and seeds:
        report.sections.append(("random numbers", f"run again with RNG_SEED={seeds[0]}"))
    return report
