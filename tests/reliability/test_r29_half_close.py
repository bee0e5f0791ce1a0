"""R29: a client that sends CLOSE and half-closes still gets everything."""

from __future__ import annotations

import pytest

from tests import raw_client as raw
from tests.misbehaving import chain
from tests.raw_client import RawClient
from tests.servers import InProcessServer

SAMPLE, FULL = 100, 1_000


@pytest.mark.slow
@pytest.mark.parametrize("sends_close", [True, False], ids=["CLOSE", "no CLOSE"])
def test_everything_arrives_after_a_half_close(server: InProcessServer, full_counts: bool, sends_close: bool) -> None:
    kinds = [
        (raw.config_script(chain("Echo", ("Echo", {"threads": 2}))), [raw.acquisition(n, 32, 4) for n in range(50)]),
        (raw.config_file("default.xml"), [raw.image_slice(repetition=n) for n in range(3)]),
    ]
    for session in range((FULL if full_counts else SAMPLE) // 2):
        configuration, data = kinds[session % 10 == 0]
        with RawClient(server.port) as client:
            client.send(configuration, raw.header(), *data, raw.close() if sends_close else b"")
            client.half_close()
            reply = client.read_reply()
        assert reply.is_complete, session
        assert len(reply.messages) == len(data) + 1, session
    server.wait_for_summaries(session + 1)
    assert not server.records.of("session.failed")
