"""R01: sessions with flipped bits, splices, deletions and duplicated messages end at once, with one error at most."""

from __future__ import annotations

import random

import pytest

from tests import raw_client as raw
from tests.raw_client import RawClient, Reply, parse_reply
from tests.reliability.sessions import golden_session
from tests.servers import InProcessServer

SAMPLE, FULL = 200, 50_000


def reconstruction() -> tuple[bytes, list[int]]:
    """A session that goes through the gadgets of default.xml."""
    messages = [raw.config_file("default.xml"), raw.header()]
    messages += [raw.image_slice(repetition=repetition) for repetition in range(2)]
    messages.append(raw.close())
    offsets = [0]
    for message in messages:
        offsets.append(offsets[-1] + len(message))
    return b"".join(messages), offsets


SESSIONS = [golden_session(), reconstruction()]


def flip_bits(rng: random.Random, data: bytearray, _offsets: list[int]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, data: bytearray, _offsets: list[int]) -> None:
    start = rng.randrange(len(data))
    data[start : start + 8] = rng.choice((b"\xff" * 8, bytes(8), rng.randbytes(8)))


def delete(rng: random.Random, data: bytearray, _offsets: list[int]) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]


def insert(rng: random.Random, data: bytearray, _offsets: list[int]) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randint(1, 64))


def splice(rng: random.Random, data: bytearray, _offsets: list[int]) -> None:
    other, _ = rng.choice(SESSIONS)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def duplicate(rng: random.Random, data: bytearray, offsets: list[int]) -> None:
    index = rng.randrange(len(offsets) - 1)
    message = data[offsets[index] : offsets[index + 1]]
    where = rng.choice(offsets)
    data[where:where] = message


def is_framed(data: bytearray) -> bool:
    """Whether a mutation has made a session begin as those of the framed protocol do: it is answered in that one."""
    return 36 <= int.from_bytes(data[:8], "little") <= 65_535


MUTATIONS = [flip_bits, overwrite, delete, insert, splice, duplicate]


@pytest.mark.slow
def test_mutated_sessions_end_cleanly(server: InProcessServer, full_counts: bool) -> None:
    for seed in range(FULL if full_counts else SAMPLE):
        rng = random.Random(seed)
        session, offsets = rng.choice(SESSIONS)
        data = bytearray(session)
        mutation = rng.choice(MUTATIONS)
        mutation(rng, data, offsets)
        case = f"seed {seed}, {mutation.__name__}"
        with RawClient(server.port) as client:
            client.send(bytes(data))
            client.half_close()
            answer, was_reset = client.read_bytes()
        assert not was_reset, case
        summary = server.wait_for_summaries(seed + 1)[-1]
        if not is_framed(data):
            reply = Reply()
            parse_reply(answer, reply)
            assert reply.ids[-1:] == [raw.CLOSE], case
            errors = [text for text in reply.texts if not text.startswith("WARNING ")]
            assert errors == ([f"ERROR {reply.error}"] if reply.error else []), case
            assert (summary["error"] is None) == (reply.error == ""), case
        assert len(server.records.of("session.failed")) <= seed + 1, case
        assert not server.records.of_level("error"), (case, server.records.of_level("error")[-1])
