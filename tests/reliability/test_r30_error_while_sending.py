"""R30: the server ends a session while its client still sends: the error is not erased by a reset."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests import raw_client as raw
from tests.misbehaving import chain
from tests.raw_client import RawClient, Reply
from tests.servers import GUARD_S, InProcessServer

SAMPLE, FULL = 100, 1_000
START = raw.config_script(chain("Echo", ("Failing", {"at": 3}))) + raw.header()
DATA = b"".join(raw.acquisition(number, 1024, 8) for number in range(200))  # 13 MB: more than the sockets hold
A_LITTLE = DATA[: len(DATA) // 10]


def send_all_then_read(client: RawClient, data: bytes) -> Reply:
    client.send(START, data)
    return client.read_reply()


def send_in_another_thread(client: RawClient, data: bytes) -> Reply:
    sender = threading.Thread(target=client.send, args=(START, data, data))
    sender.start()
    reply = client.read_reply()
    sender.join(GUARD_S)
    return reply


@pytest.mark.slow
@pytest.mark.parametrize("behave", [send_all_then_read, send_in_another_thread])
def test_the_error_is_not_erased(
    server: InProcessServer, full_counts: bool, behave: Callable[[RawClient, bytes], Reply]
) -> None:
    count = (FULL if full_counts else SAMPLE) // 2
    resets = 0
    for session in range(count):
        with RawClient(server.port) as client:
            reply = behave(client, DATA if session % 5 == 0 else A_LITTLE)
        resets += reply.was_reset
        assert reply.ids[-2:] == [raw.TEXT, raw.CLOSE], (session, reply.ids)
        assert "gadget G1: ValueError" in reply.texts[-1]
    assert resets == 0
    server.wait_for_summaries(count)
    assert len(server.records.of_level("error")) == count
