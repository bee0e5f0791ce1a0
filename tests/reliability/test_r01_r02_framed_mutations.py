"""R01 and R02 for the framed protocol: mutated sessions end cleanly, and nothing but our own errors escapes."""

from __future__ import annotations

import random
import struct
from time import monotonic

import pytest

from gadgetron.errors import GadgetronError
from gadgetron.limits import LIMITS
from gadgetron.protocol.entity.control import Blob, ManifestEntry
from gadgetron.protocol.entity.data import Acquisition, Image, Waveform
from gadgetron.protocol.entity.entities import decode_entity
from gadgetron.protocol.entity.frames import FrameHead
from gadgetron.protocol.entity.messages import to_message
from gadgetron.protocol.entity.streams import InputStreams, check_manifest
from tests import framed_client as framed
from tests import raw_client as raw
from tests.framed_client import FramedClient, Reply, parse_reply
from tests.reliability.framed_sessions import MANIFEST, frames, golden_entities, golden_session
from tests.reliability.test_r01_mutated_sessions import MUTATIONS
from tests.servers import InProcessServer

SAMPLE, FULL = 200, 50_000
FUZZ_SAMPLE, FUZZ_FULL = 20_000, 2_000_000
SLOW_S = 5.0  # a hang guard: a hundred times what one input may take


def reconstruction() -> tuple[bytes, list[int]]:
    """A session that goes through the gadgets of default.xml."""
    entities = [framed.handshake(), framed.config_file(b"default.xml"), framed.xml_header(raw.SMALL_HEADER)]
    entities += [*framed.image_slice(), *framed.image_slice(repetition=1), framed.stop()]
    offsets = [0]
    for entity in entities:
        offsets.append(offsets[-1] + 8 + len(entity))
    return frames(*entities), offsets


SESSIONS = [golden_session(), reconstruction()]


def told(data: bytes, case: str) -> str:
    """The error that a client was told, in whichever protocol the server saw in its first bytes; empty if none."""
    if data[:1] in (bytes([raw.TEXT]), bytes([raw.CLOSE])) and data[1:2] == b"\0" and data[2:8] != bytes(6):
        classic = raw.Reply()
        raw.parse_reply(data, classic)
        assert classic.ids[-1:] == [raw.CLOSE], case
        return classic.error
    if data == struct.pack("<H", raw.CLOSE):
        return ""
    reply = Reply()
    parse_reply(data, reply)
    assert not reply.rest, case
    assert reply.entities[-1].entity_type == framed.COMMAND, case
    assert reply.entities[-1].command_type == framed.DONE, case
    return reply.error[4] if reply.of(framed.ERROR) else ""


@pytest.mark.slow
def test_mutated_sessions_end_cleanly(server: InProcessServer, full_counts: bool) -> None:
    for seed in range(FULL if full_counts else SAMPLE):
        rng = random.Random(seed)
        session, offsets = rng.choice(SESSIONS)
        data = bytearray(session)
        mutation = rng.choice(MUTATIONS)
        mutation(rng, data, offsets)
        case = f"seed {seed}, {mutation.__name__}"
        with FramedClient(server.port) as client:
            client.socket.sendall(data)
            client.socket.shutdown(1)
            reply = client.read_reply()
        assert not reply.was_reset, case
        error = told(reply.data, case)
        summary = server.wait_for_summaries(seed + 1)[-1]
        assert (summary["error"] is None) == (error == ""), (case, summary)
        assert not server.records.of_level("error"), (case, server.records.of_level("error")[-1])


def mutate(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.randint(1, 6)):
        kind = rng.randrange(4)
        where = rng.randrange(4, len(data)) if len(data) > 4 else 0
        if kind == 0:
            data[where : where + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[where : where + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"\1\0\0\0"))
        elif kind == 2:
            del data[where : where + rng.randint(1, 16)]
        else:
            data[where:where] = rng.randbytes(rng.randint(1, 16))


@pytest.mark.slow
def test_only_our_errors_escape_from_the_check_of_streams(full_counts: bool) -> None:
    declared = [ManifestEntry(*entry) for entry in MANIFEST]
    for seed in range(FUZZ_FULL if full_counts else FUZZ_SAMPLE):
        rng = random.Random(seed)
        numbers = [rng.choice((*range(12), 100, 2**31, 2**32 - 1)) for _ in range(3)]
        try:
            InputStreams(declared).check(FrameHead(*numbers, n_bytes=0))
            check_manifest([ManifestEntry(*numbers)])
        except GadgetronError:
            continue


@pytest.mark.slow
def test_only_our_errors_escape_from_entities(full_counts: bool) -> None:
    seeds = golden_entities()
    outcomes = {"read": 0, "refused": 0}
    for seed in range(FUZZ_FULL if full_counts else FUZZ_SAMPLE):
        rng = random.Random(seed)
        data = bytearray(rng.choice(seeds))
        mutate(rng, data)
        began = monotonic()
        try:
            entity = decode_entity(bytes(data))
            if isinstance(entity, Acquisition | Waveform | Image | Blob):
                to_message(entity, LIMITS)
        except GadgetronError:
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        else:
            outcomes["read"] += 1
        assert monotonic() - began < SLOW_S, seed
    assert min(outcomes.values()) > 0
