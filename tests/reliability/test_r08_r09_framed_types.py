"""R08 and R09 for the framed protocol: every number of a head has an answer in every state, and so has noise."""

from __future__ import annotations

import random
import struct

import pytest

from gadgetron.errors import (
    GadgetronError,
    MalformedMessageError,
    UnexpectedMessageError,
)
from tests import framed_client as framed
from tests.framed_client import FramedClient
from tests.reliability.framed_sessions import CONFIGURED, HANDSHAKE, READY, play
from tests.reliability.sessions import make_environment
from tests.reliability.test_r01_r02_framed_mutations import told
from tests.servers import InProcessServer

BEFORE = {"handshake": HANDSHAKE, "configured": CONFIGURED, "streaming": READY}
SAMPLE = 300


def small_frame(entity_type: int, storage: int = 100, stream: int = 77) -> bytes:
    return struct.pack("<Q4I", 36, 2, entity_type, storage, stream) + bytes(20)


@pytest.mark.slow
@pytest.mark.parametrize("state", BEFORE)
def test_every_entity_type_has_an_answer(state: str, full_counts: bool) -> None:
    rng = random.Random(state)
    environment = make_environment()
    types = range(65_536) if full_counts else [*range(16), *rng.sample(range(2**32), SAMPLE)]
    for entity_type in types:
        error = play(BEFORE[state] + small_frame(entity_type), environment=environment).error
        if entity_type > 7:
            assert isinstance(error, MalformedMessageError)
            assert f"entity type is {entity_type}" in str(error)
        else:
            assert error is None or isinstance(error, GadgetronError), entity_type


@pytest.mark.parametrize("state", BEFORE)
def test_every_command_has_an_answer(state: str) -> None:
    environment = make_environment()
    for command_type in [*range(995, 1010), *range(1995, 2010), 0, 2**32 - 1]:
        data = BEFORE[state] + framed.frame(framed.command(command_type))
        error = play(data, environment=environment).error
        if command_type in (1000, 1001, 1003) or (command_type == 1004 and state == "handshake"):
            assert error is None, command_type
        elif command_type in (1002, 1004, 2001, 2002, 2003, 2004):
            assert isinstance(error, UnexpectedMessageError), command_type
        else:
            assert isinstance(error, MalformedMessageError), command_type


@pytest.mark.parametrize("entity_type", range(8))
@pytest.mark.parametrize("state", BEFORE)
def test_every_type_on_the_stream_of_another_is_told(server: InProcessServer, state: str, entity_type: int) -> None:
    with FramedClient(server.port) as client:
        client.socket.sendall(BEFORE[state] + small_frame(entity_type, stream=65_536))
        if entity_type == framed.HANDSHAKE:
            client.socket.shutdown(1)
        error = told(client.read_reply().data, state)
    assert ("stream 65536 has carried HANDSHAKE (0)" in error) == (entity_type != framed.HANDSHAKE)


PROBES = {
    "a handshake of zeros": struct.pack("<Q", 36) + bytes(36),
    "a handshake of ones": struct.pack("<Q", 100) + b"\xff" * 100,
    "text behind a size": struct.pack("<Q", 0x4547) + b" / HTTP/1.1\r\n" * 2000,
    "noise behind a size": struct.pack("<Q", 65_535) + random.Random(3).randbytes(65_535),
    "MRID and noise": struct.pack("<Q", 1000) + b"MRID" + random.Random(4).randbytes(996),
    "MRID and nothing": struct.pack("<Q", 36) + b"MRID" * 9,
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_noise_behind_a_plausible_size_is_refused_at_once(server: InProcessServer, probe: bytes) -> None:
    with FramedClient(server.port) as client:
        client.socket.sendall(probe)  # and nothing more: the connection stays open
        assert told(client.read_reply().data, "probe")
    summary = server.wait_for_summaries(1)[0]
    assert summary["duration_s"] < server.environment.limits.handshake_deadline_s
    assert len(server.records.of_level("warning")) == 1
    assert not server.records.of_level("error")
