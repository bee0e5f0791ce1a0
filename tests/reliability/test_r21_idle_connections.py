"""R21: many connections that say nothing are held until their deadline, then told and closed; others do not notice."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests import raw_client as raw
from tests.raw_client import RawClient, exchange
from tests.servers import InProcessServer

SAMPLE, FULL = 60, 256
DESCRIPTORS_EACH = 4  # the client's socket, the server's, and a pipe


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_idle_connections_are_told_at_their_deadline(
    start_server: Callable[..., InProcessServer], many_descriptors: None, full_counts: bool
) -> None:
    count = FULL if full_counts else SAMPLE
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < count * DESCRIPTORS_EACH + 100:
        pytest.skip(f"{count} connections need more descriptors than this process may have")
    server = start_server(handshake_deadline_s=2.0, max_connections=count + 1)
    with ExitStack() as clients:
        idle = [clients.enter_context(RawClient(server.port)) for _ in range(count)]
        canary = exchange(
            server.port,
            raw.config_file("pass_through.xml"),
            raw.header(),
            *(raw.acquisition(number) for number in range(100)),
            raw.close(),
        )
        assert canary.scan_counters == list(range(100))
        for client in idle:
            assert "nothing within the time" in client.read_reply().error
            client.socket.close()
    summaries = server.wait_for_summaries(count + 1)
    assert sum(summary["error"] is None for summary in summaries) == 1
    assert not server.records.of_level("error")
    assert exchange(server.port, raw.close()).is_complete


@pytest.mark.slow
def test_bytes_now_and_then_do_not_move_the_deadline(start_server: Callable[..., InProcessServer]) -> None:
    """The deadline is that of the whole handshake, not of each byte."""
    server = start_server(handshake_deadline_s=0.3)
    with RawClient(server.port) as client:
        client.socket.settimeout(0.02)
        message = raw.config_file("pass_through.xml")
        told = b""
        for position in range(len(message) - 1):
            try:
                client.send(message[position : position + 1])
                told = client.socket.recv(1000)
            except TimeoutError:
                continue
            break
    assert b"ERROR the peer did not complete a message" in told


def test_parameters_have_a_deadline_too(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(header_deadline_s=0.05)
    assert "nothing within the time" in exchange(server.port, raw.config_file("pass_through.xml")).error


def test_after_the_parameters_a_pause_is_allowed(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(handshake_deadline_s=0.2, header_deadline_s=0.2, frame_deadline_s=0.2)
    with RawClient(server.port) as client:
        client.send(raw.config_file("pass_through.xml"), raw.header())
        server.records.wait_for("session.configured")
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):  # all three deadlines have passed
            client.read_message()
        client.socket.settimeout(60.0)
        client.send(raw.acquisition(7), raw.close())
        assert client.read_reply().scan_counters == [7]
