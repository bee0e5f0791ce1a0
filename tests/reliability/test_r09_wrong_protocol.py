"""R09: who speaks another protocol is told, and let go, without waiting for a deadline."""

from __future__ import annotations

import random
import struct

import pytest

from tests import raw_client as raw
from tests.raw_client import RawClient, exchange
from tests.servers import InProcessServer

ASSOCIATE = struct.pack(
    ">BBIHH16s16s32s", 1, 0, 200, 1, 0, b"ANY-SCP".ljust(16), b"ECHOSCU".ljust(16), bytes(32)
).ljust(206, b"\x10")
PROBES = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost:9002\r\nUser-Agent: curl\r\n\r\n",
    "the C++ server's way to stop it": b"POST /acceptor/close HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + random.Random(1).randbytes(159),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "DICOM": ASSOCIATE,
    "zeros": bytes(4096),
    "noise": b"\xa7\x5e" + random.Random(2).randbytes(65_536),
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_another_protocol_is_refused_at_once(server: InProcessServer, probe: bytes) -> None:
    with RawClient(server.port) as client:
        client.send(probe)  # and nothing more: the connection stays open, its owner waits for an answer
        assert client.read_reply().error
    summary = server.wait_for_summaries(1)[0]
    assert summary["duration_s"] < server.environment.limits.handshake_deadline_s
    assert len(server.records.of_level("warning")) == 1
    assert not server.records.of_level("error")
    assert exchange(server.port, raw.close()).is_complete
