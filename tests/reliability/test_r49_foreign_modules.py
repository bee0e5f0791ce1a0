"""R49: a foreign module that dies, hangs, floods or closes early is noticed, told and gone, with its children."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from gadgetron.foreign.settings import ForeignSettings
from tests import raw_client as raw
from tests.conftest import child_processes, open_descriptors
from tests.foreign.support import chain, execute, processes, readouts, run
from tests.misbehaving import Blocking
from tests.servers import InProcessServer

pytestmark = pytest.mark.slow

SAMPLE, FULL = 50, 1000
DETECT_S = 1.0
SILENCE_S = 0.4
KINDS = {
    "killed": "killed by signal 9",
    "exits_1": "exit status 1",
    "silent": "the module is silent",
    "closes_early": "closed its connection before it was done",
    "raises": "reports an error: ValueError",
}


def failed_after(server: InProcessServer, kind: str) -> float:
    """Seconds from the module's last line, or its connection, to the client's being told."""
    with raw.RawClient(server.port) as client:
        client.send(raw.config_script(chain(execute(kind))), raw.header(), readouts(200, 512, 8))
        if kind == "silent":
            server.records.wait_for("module.output", len(server.records.of("module.output")) + 1)
        began = monotonic()
        reply = client.read_reply()
        elapsed_s = monotonic() - began
    assert re.search(KINDS[kind], reply.error), reply.error
    return elapsed_s


def test_a_module_that_fails_is_noticed_told_and_gone(
    start_server: Callable[..., InProcessServer], full_counts: bool
) -> None:
    server = start_server(external_silence_s=SILENCE_S, handshake_deadline_s=60.0)
    run(server, execute("hello"), readouts(1))  # from now on there is the server's warden
    descriptors, children = len(open_descriptors()), set(child_processes())
    for cycle in range((FULL if full_counts else SAMPLE) // len(KINDS)):
        for kind in KINDS:
            elapsed_s = failed_after(server, kind)
            if kind == "silent":
                assert elapsed_s < SILENCE_S + DETECT_S + 1.0, (cycle, kind, elapsed_s)
    server.wait_for_summaries((FULL if full_counts else SAMPLE) // len(KINDS) * len(KINDS) + 1)
    assert not processes()
    assert set(child_processes()) <= children
    assert len(open_descriptors()) <= descriptors + 2


@pytest.mark.parametrize("kind", ["killed", "exits_1", "closes_early"])
def test_the_end_of_a_module_is_noticed_within_a_second(server: InProcessServer, kind: str) -> None:
    with raw.RawClient(server.port) as client:
        client.send(raw.config_script(chain(execute(kind))), raw.header())
        server.records.wait_for("module.started")
        client.send(readouts(1))
        reply = client.read_reply()
        told_at = monotonic()
    assert KINDS[kind] in reply.error
    if kind != "closes_early":
        (ended,) = server.records.wait_for("module.ended")
        assert ended["status"] != 0
    failed = server.records.wait_for("session.failed")
    assert len(failed) == 1
    assert monotonic() - told_at < DETECT_S + 1.0


def test_a_megabyte_of_output_is_cut_and_told_and_harms_nobody(server: InProcessServer) -> None:
    reply = run(server, execute("floods"), readouts(20))
    assert reply.scan_counters == list(range(1, 21))
    (text,) = reply.texts
    assert "the module writes more output than is logged; its last lines: yyy" in text
    assert len(server.records.of("module.output")) < 1000
    assert server.records.of("module.output_not_logged")[0]["n_lines"] > 5000


def test_a_client_that_goes_away_takes_the_module_with_it(server: InProcessServer) -> None:
    with raw.RawClient(server.port) as client:
        client.send(raw.config_script(chain(execute("silent"))), raw.header(), readouts(1))
        server.records.wait_for("module.output")
        assert processes()
        began = monotonic()
        client.reset()
    server.wait_for_summaries(1)
    assert monotonic() - began < 3.0
    assert not processes()


def test_a_client_that_has_gone_after_close_takes_a_busy_module_with_it(
    start_server: Callable[..., InProcessServer],
) -> None:
    server = start_server(gone_client_s=0.3)
    with raw.RawClient(server.port) as client:
        client.send(raw.config_script(chain(execute("spins"))), raw.header(), readouts(1), raw.close())
        server.records.wait_for("module.output")
    began = monotonic()
    (summary,) = server.wait_for_summaries(1)
    assert monotonic() - began < 5.0
    assert "the client went away" in summary["error"]
    assert not processes()


def test_a_module_that_leaves_what_it_is_sent_unread_is_silent_before_close(
    start_server: Callable[..., InProcessServer],
) -> None:
    server = start_server(external_silence_s=SILENCE_S)
    with raw.RawClient(server.port) as client:
        client.send(raw.config_script(chain(execute("takes_nothing"))), raw.header())
        server.records.wait_for("module.output")
        assert not server.records.of("session.failed"), "it has been sent nothing to answer"
        client.send(readouts(10))
        reply = client.read_reply()
    assert "the module is silent" in reply.error


def test_a_module_is_not_to_blame_for_a_slow_chain(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(external_silence_s=SILENCE_S)
    Blocking.entered.clear()
    Blocking.go_on.clear()
    blocking = "<gadget><dll></dll><classname>tests.misbehaving.Blocking</classname></gadget>"
    n_readouts = 400
    with raw.RawClient(server.port) as client:
        client.send(raw.config_script(chain(execute("") + blocking)), raw.header())
        sender = threading.Thread(target=client.send, args=(readouts(n_readouts, 512, 8), raw.close()))
        sender.start()
        assert Blocking.entered.wait(30)
        threading.Event().wait(5 * SILENCE_S)  # nothing can move, and no time is too long
        Blocking.go_on.set()
        reply = client.read_reply()
        sender.join()
    assert reply.is_complete, reply.texts
    assert len(reply.scan_counters) == n_readouts


def test_a_language_can_have_a_time_limit(server: InProcessServer) -> None:
    language = server.environment.foreign.language("python")
    server.environment.foreign = ForeignSettings(languages=(("python", replace(language, timeout_s=1.0)),))
    reply = run(server, execute("spins"), readouts(1))
    assert re.search(r"has taken and sent nothing for 1\.\d s, as long as allowed; its last", reply.error), reply.error


def test_no_child_of_a_module_is_left(server: InProcessServer) -> None:
    reply = run(server, execute("leaves_children"), readouts(3))
    assert reply.is_complete
    (line,) = [record["line"] for record in server.records.of("module.output") if record["line"].startswith("child")]
    status = Path("/proc", line.split()[1], "status")
    deadline = monotonic() + DETECT_S
    while status.exists() and "State:\tZ" not in status.read_text():  # whoever adopted it has to wait for it
        assert monotonic() < deadline, status.read_text()
        threading.Event().wait(0.01)


def test_a_module_inherits_no_descriptor(server: InProcessServer) -> None:
    with raw.RawClient(server.port) as other:
        other.send(raw.config_script(chain(execute(""))), raw.header())
        server.records.wait_for("module.started")
        reply = run(server, execute("says_descriptors"), readouts(1))
    assert reply.is_complete
    found = [
        record["line"].split()[1:]
        for record in server.records.of("module.output")
        if record["line"].startswith("descriptor ")
    ]
    assert dict(found)["0"] == "/dev/null"
    sockets = [target for _, target in found if target.startswith("socket:")]
    assert len(sockets) == 1
    assert not [target for number, target in found if int(number) > 2 and target.startswith("pipe:")][2:]
