"""R36: what a gadget raises may be meant for the interpreter: its session fails, the server lives."""

from __future__ import annotations

import pytest

from tests import raw_client as raw
from tests.misbehaving import ERRORS, chain
from tests.raw_client import RawClient, exchange
from tests.servers import InProcessServer

READOUTS = [raw.acquisition(number) for number in range(20)]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", ["process", "process_config", "close"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_session_fails_and_the_server_lives(server: InProcessServer, error: str, where: str, threads: int) -> None:
    failing = ("Failing", {"where": where, "at": 10, "error": error, "threads": threads})
    with RawClient(server.port) as canary:
        canary.send(raw.config_script(chain("Echo")), raw.header(), *READOUTS[:10])
        reply = exchange(
            server.port, raw.config_script(chain("Echo", failing, "Echo")), raw.header(), *READOUTS, raw.close()
        )
        assert reply.error.startswith(f"gadget G1: {error}")
        canary.send(*READOUTS[10:], raw.close())
        assert canary.read_reply().scan_counters == list(range(20))
    server.wait_for_summaries(2)
    assert len(server.records.of_level("error")) == 1


def test_a_constructor_that_fails_is_told_without_the_server_s_paths(server: InProcessServer) -> None:
    error = exchange(server.port, raw.config_script(chain("Echo", "FailsToStart")), raw.header()).error
    assert error == "gadget G1: OSError: no device in …/device"
