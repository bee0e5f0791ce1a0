"""R02: whatever bytes a reader gets from memory, nothing but our own errors escapes."""

from __future__ import annotations

import random
import struct

import pytest

from gadgetron.errors import GadgetronError
from gadgetron.message_io import GadgetMessageReader
from gadgetron.standard_messages import load_standard_readers
from gadgetron.testing import FaultyStream
from tests import raw_client as raw
from tests.reliability.sessions import SMALL_BLOCKS

SAMPLE, FULL = 20_000, 2_000_000

READERS = load_standard_readers()


def seeds_of(message_id: int) -> list[bytes]:
    """Messages to start from: good ones where there are any, noise elsewhere."""
    good = {
        raw.ACQUISITION: [raw.acquisition(1, 4, 2), raw.acquisition(2, 3, 1, trajectory_dimensions=2)],
        raw.WAVEFORM: [raw.waveform()],
    }
    image = bytearray(198)
    struct.pack_into("<HH", image, 0, 1, 5)
    struct.pack_into("<3H", image, 16, 3, 2, 1)
    struct.pack_into("<H", image, 34, 1)
    meta = b"<?xml version='1.0'?><ismrmrdMeta><meta><name>a</name><value>1</value></meta></ismrmrdMeta>"
    struct.pack_into("<I", image, 194, len(meta))
    images = [struct.pack("<H", message_id) + bytes(image) + struct.pack("<Q", len(meta)) + meta + bytes(24)]
    return good.get(message_id, images)


def mutate(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.randint(1, 6)):
        kind = rng.randrange(4)
        where = rng.randrange(2, len(data)) if len(data) > 2 else 0
        if kind == 0:
            data[where : where + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[where : where + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"\1\0\0\0"))
        elif kind == 2:
            del data[where : where + rng.randint(1, 16)]
        else:
            data[where:where] = rng.randbytes(rng.randint(1, 16))


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS.values(), ids=lambda reader: type(reader).__name__)
def test_only_our_errors_escape_from_a_reader(reader: GadgetMessageReader, full_counts: bool) -> None:
    count = (FULL if full_counts else SAMPLE) // len(READERS)
    seeds = seeds_of(reader.slot)
    outcomes = {"read": 0, "refused": 0}
    for seed in range(count):
        rng = random.Random(seed)
        data = bytearray(rng.choice(seeds))
        mutate(rng, data)
        stream = FaultyStream(bytes(data[2:]), limits=SMALL_BLOCKS)
        try:
            reader.read(stream)
        except GadgetronError:
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"{type(reader).__name__}, seed {seed}: {error!r}") from error
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 0
