"""R30: the server ends a session while its client still sends: the error is not erased by a reset."""

from __future__ import annotations

import threading

import pytest

from tests import raw_client as raw
from tests.misbehaving import chain
from tests.raw_client import RawClient, Reply
from tests.servers import GUARD_S, InProcessServer

SAMPLE, FULL = 100, 1_000
START = raw.config_script(chain("Echo", ("Failing", {"at": 3}))) + raw.header()
DATA = b"".join(raw.acquisition(number, 1024, 8) for number in range(200))  # 13 MB: more than the sockets hold


def send_all_then_read(client: RawClient) -> Reply:
    client.send(START, DATA)
    return client.read_reply()


def send_in_another_thread(client: RawClient) -> Reply:
    sender = threading.Thread(target=client.send, args=(START, DATA, DATA))
    sender.start()
    reply = client.read_reply()
    sender.join(GUARD_S)
    return reply


@pytest.mark.slow
@pytest.mark.parametrize("behave", [send_all_then_read, send_in_another_thread])
def test_the_error_is_not_erased(server: InProcessServer, full_counts: bool, behave: object) -> None:
    assert callable(behave)
    count = (FULL if full_counts else SAMPLE) // 2
    resets = 0
    for session in range(count):
        with RawClient(server.port) as client:
            reply = behave(client)
        resets += reply.was_reset
        assert reply.ids[-2:] == [raw.TEXT, raw.CLOSE], (session, reply.ids)
        assert "gadget G1: ValueError" in reply.texts[-1]
    assert resets == 0
    server.wait_for_summaries(count)
    assert len(server.records.of_level("error")) == count
