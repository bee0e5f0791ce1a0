"""R45 to R47: SIGTERM idle and busy, a second SIGTERM, SIGINT. A real daemon in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gadgetron.testing import ServerProcess
from tests import raw_client as raw
from tests.raw_client import RawClient

ROOT = Path(__file__).resolve().parents[2]

GADGET = '''
"""A gadget that waits for a file to appear."""

import threading
from pathlib import Path

from gadgetron import Gadget, Property


class WaitsForFile(Gadget):
    path = Property("")

    def process(self, message):
        gate = Path(self.path)
        moment = threading.Event()
        self.log.info("test.waiting")
        while not gate.exists():
            moment.wait(0.005)
        self.put_next(message)


class NeverReturns(Gadget):
    def process(self, message):
        self.log.info("test.waiting")
        threading.Event().wait()
'''

pytestmark = pytest.mark.slow


def configuration(classname: str, properties: str = "") -> bytes:
    io = "readers_writers.acquisition.Acquisition"
    return (
        f"<gadgetronStreamConfiguration xmlns='http://gadgetron.sf.net/gadgetron'>"
        f"<reader><slot>1008</slot><dll/><classname>{io}Reader</classname></reader>"
        f"<writer><slot>1008</slot><dll/><classname>{io}Writer</classname></writer>"
        f"<gadget><name>G</name><dll/><classname>waiting_gadgets.{classname}</classname>{properties}</gadget>"
        f"</gadgetronStreamConfiguration>"
    ).encode()


@pytest.fixture
def start_daemon(tmp_path: Path) -> Iterator[Callable[[], ServerProcess]]:
    (tmp_path / "waiting_gadgets.py").write_text(GADGET, encoding="utf-8")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    with ExitStack() as daemons:
        yield lambda: daemons.enter_context(
            ServerProcess("--allow", "waiting_gadgets", environment={"PYTHONPATH": path})
        )


def waits_for(gate: Path) -> bytes:
    return configuration("WaitsForFile", f"<property><name>path</name><value>{gate}</value></property>")


def is_refused(daemon: ServerProcess) -> bool:
    try:
        RawClient(daemon.port).socket.close()
    except ConnectionRefusedError:
        return True
    return False


def test_r45_sigterm_ends_an_idle_server(start_daemon: Callable[[], ServerProcess]) -> None:
    daemon = start_daemon()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.records_of("server.ended")[0]["clean"] is True


def test_r45_idle_connections_are_told(start_daemon: Callable[[], ServerProcess]) -> None:
    daemon = start_daemon()
    with RawClient(daemon.port) as idle:
        idle.send(raw.query(b"gadgetron::version"))
        assert idle.read_message()[0] == raw.RESPONSE
        daemon.signal(signal.SIGTERM)
        assert "shutting down" in idle.read_reply().error
    assert daemon.wait() == 0


def test_r46_sessions_may_finish_and_nobody_new_may_begin(
    start_daemon: Callable[[], ServerProcess], tmp_path: Path
) -> None:
    daemon = start_daemon()
    gate = tmp_path / "gate"
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(daemon.port)) for _ in range(8)]
        for client in clients:
            client.send(raw.config_script(waits_for(gate)), raw.header())
            client.send(*(raw.acquisition(number) for number in range(5)))
        daemon.wait_for_record("test.waiting", count=8)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_record("server.draining")
        for client in clients[:4]:
            client.send(*(raw.acquisition(number) for number in range(5, 10)), raw.close())
        gate.touch()
        for client in clients[4:]:  # the server's end does not keep them from going on
            client.send(*(raw.acquisition(number) for number in range(5, 10)), raw.close())
        for client in clients:
            reply = client.read_reply()
            assert reply.is_complete
            assert reply.scan_counters == list(range(10))
    assert daemon.wait() == 0
    assert daemon.records_of("server.ended")[0]["clean"] is True
    assert is_refused(daemon)


def test_r46_new_connections_are_refused_while_sessions_finish(
    start_daemon: Callable[[], ServerProcess], tmp_path: Path
) -> None:
    daemon = start_daemon()
    gate = tmp_path / "gate"
    with RawClient(daemon.port) as client, RawClient(daemon.port) as idle:
        client.send(raw.config_script(waits_for(gate)), raw.header(), raw.acquisition(1))
        daemon.wait_for_record("test.waiting")
        daemon.signal(signal.SIGTERM)
        assert idle.read_reply().error  # told after the listener has been closed
        assert is_refused(daemon)
        gate.touch()
        client.send(raw.close())
        assert client.read_reply().scan_counters == [1]
    assert daemon.wait() == 0


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGINT]],
    ids=["SIGTERM twice", "SIGINT", "SIGTERM, SIGINT"],
)
def test_r47_abort_tells_the_sessions_and_ends_the_server(
    start_daemon: Callable[[], ServerProcess], signals: list[signal.Signals]
) -> None:
    daemon = start_daemon()
    with RawClient(daemon.port) as client:
        client.send(raw.config_script(configuration("NeverReturns")), raw.header(), raw.acquisition(1))
        daemon.wait_for_record("test.waiting")
        for index, number in enumerate(signals):
            if index:
                daemon.wait_for_record("server.draining")
            daemon.signal(number)
        assert "was not finished" in client.read_reply().error
    assert daemon.wait() == 1
    assert daemon.records_of("server.aborting")
    assert daemon.records_of("session.abandoned")[0]["session"] == "session-1"


def test_many_signals_at_once_do_not_lock_the_server_up(start_daemon: Callable[[], ServerProcess]) -> None:
    daemon = start_daemon()
    for number in [signal.SIGUSR1, signal.SIGTERM] * 20:
        if daemon.is_running:
            daemon.signal(number)
    assert daemon.wait() in (0, 1)


def test_sigusr1_shows_stacks_and_sessions_and_nothing_ends(
    start_daemon: Callable[[], ServerProcess], tmp_path: Path
) -> None:
    daemon = start_daemon()
    with RawClient(daemon.port) as client:
        client.send(raw.config_script(waits_for(tmp_path / "gate")), raw.header(), raw.acquisition(1))
        daemon.wait_for_record("test.waiting")
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for_record("stderr", count=10)
        (tmp_path / "gate").touch()
        client.send(raw.close())
        assert client.read_reply().is_complete
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    shown = "".join(record["line"] for record in daemon.records_of("stderr"))
    assert "waiting_gadgets.py" in shown
    assert "session-1/G-0" in shown
    assert "<GadgetStreamController session-1 STREAM <Stream G>>" in shown


def test_a_session_leaves_nothing_behind_in_the_daemon(start_daemon: Callable[[], ServerProcess]) -> None:
    daemon = start_daemon()

    def session() -> None:
        with RawClient(daemon.port) as client:
            client.send(raw.config_file("default.xml"), raw.header(), raw.image_slice(), raw.close())
            assert client.read_reply().is_complete

    session()
    daemon.wait_for_record("session.summary", 1)
    with RawClient(daemon.port) as probe:  # accepted after the first session was joined
        probe.send(raw.close())
        probe.read_reply()
    daemon.wait_for_record("session.summary", 2)
    before = daemon.n_descriptors, daemon.n_threads
    for number in range(20):
        session()
        daemon.wait_for_record("session.summary", 3 + number)
    assert daemon.n_descriptors <= before[0] + 1
    assert daemon.n_threads <= before[1] + 1
