"""R31: a client that does not read, or reads slowly: bounded memory, an end to the waiting, others unaffected."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gadgetron.limits import KIB, MIB
from tests import raw_client as raw
from tests.raw_client import RawClient, exchange
from tests.servers import InProcessServer

START = raw.config_file("pass_through.xml") + raw.header()
READOUT_BYTES = len(raw.acquisition(0, 4096, 4))
DATA = b"".join(raw.acquisition(number, 4096, 4) for number in range(160))  # 20 MiB


def waiting_bytes(server: InProcessServer) -> int:
    return sum(session.sink._waiting_bytes for session in server.acceptor.sessions)


@pytest.mark.slow
def test_a_client_that_never_reads_is_dropped_when_it_stalls(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(stall_s=0.3, writer_queue_bytes=2 * MIB, linger_s=0.01)
    with RawClient(server.port, receive_buffer=4 * KIB) as client:
        client.send(START, DATA, raw.close())
        assert waiting_bytes(server) <= 2 * MIB + READOUT_BYTES
        canary = exchange(server.port, START, *(raw.acquisition(number) for number in range(50)), raw.close())
        assert canary.scan_counters == list(range(50))
        failure = server.records.wait_for("session.failed")[0]
    assert failure["kind"] == "PeerTimeout"
    assert "neither took nor sent" in failure["error"]
    stalled = next(summary for summary in server.wait_for_summaries(2) if summary["error"] is not None)
    assert stalled["received"] == 160
    assert stalled["written"] + stalled["dropped"] == 160


@pytest.mark.slow
def test_more_output_than_the_disk_may_hold_ends_the_session(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(writer_queue_bytes=1 * MIB, max_spill_bytes=2 * MIB, stall_s=5.0)
    with RawClient(server.port, receive_buffer=4 * KIB) as client:
        client.send(START, DATA, raw.close())
        failure = server.records.wait_for("session.failed")[0]
        assert failure["kind"] == "StorageError"
        reply = client.read_reply()
    assert "takes too little" in reply.error
    assert reply.scan_counters == list(range(len(reply.scan_counters)))


@pytest.mark.slow
def test_a_slow_reader_that_goes_on_reading_gets_everything(start_server: Callable[..., InProcessServer]) -> None:
    """It never takes longer than the stall deadline for its next bite, though much longer for all of it."""
    server = start_server(stall_s=1.0, writer_queue_bytes=1 * MIB)
    with RawClient(server.port, receive_buffer=64 * KIB) as client:
        client.send(START, DATA, raw.close())
        reply = client.read_reply()
    assert reply.is_complete
    assert reply.scan_counters == list(range(160))
