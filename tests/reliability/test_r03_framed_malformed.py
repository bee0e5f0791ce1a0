"""R03 for the framed protocol: named malformed sessions, each with its error, however the bytes arrive."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetronError,
    LimitExceeded,
    MalformedMessageError,
    ManifestError,
    RemoteError,
    UnexpectedMessageError,
    UnknownMessageError,
)
from gadgetron.limits import LIMITS
from tests import framed_client as framed
from tests import raw_client as raw
from tests.reliability.framed_sessions import CONFIGURED, HANDSHAKE, META, READY, frames, golden_entities, play
from tests.reliability.sessions import make_environment

N_RANDOM_SPLITS = 20
XML = framed.xml_header(raw.SMALL_HEADER)


@dataclass
class Case:
    """Bytes, what they must end with (None for an orderly end), and words of its text."""

    name: str
    data: bytes
    error: type[GadgetronError] | None
    words: str = ""


def patched(entity: bytes, offset: int, value: int, layout: str = "<I") -> bytes:
    """An entity with one number replaced."""
    data = bytearray(entity)
    struct.pack_into(layout, data, offset, value)
    return bytes(data)


def handshake_cases() -> Iterator[Case]:
    good = framed.handshake([(0, framed.ACQUISITION, framed.FLOAT)], b"name")
    yield Case("nothing", b"", None)
    yield Case("handshake and end", frames(good), None)
    yield Case("handshake and stop", frames(good, framed.stop()), None)
    for size in (0, 9, 16, 24, 35):
        yield Case(f"a size of {size}", struct.pack("<Q", size) + good, UnknownMessageError, str(size))
    for size in (65_536, 2**32 + 100, 2**63):
        yield Case(f"a size of {size}", struct.pack("<Q", size) + good, UnknownMessageError)
    for number, entity in enumerate(golden_entities()[1:]):
        if len(entity) >= 36:
            yield Case(f"entity {number} first", frames(entity), UnexpectedMessageError, "begins with a handshake")
    yield Case("two handshakes", frames(good, good), UnexpectedMessageError, "again")
    for version in (0, 1, 3, 2**32 - 1):
        yield Case(f"version {version}", frames(patched(good, 0, version)), MalformedMessageError, "version")
    for status in (0, 202, 301, 302, 303, 999):
        yield Case(f"status {status}", frames(framed.handshake(status=status)), UnexpectedMessageError, str(status))
    yield Case("status not assigned", frames(framed.handshake(status=200)), None)
    yield Case("name too long", frames(framed.handshake(name=b"x" * 1025)), LimitExceeded, "client_name_length")
    yield Case("name that is no UTF-8", frames(framed.handshake(name=b"\xff\xfe")), None)
    many = [(number, framed.BLOB, 0) for number in range(LIMITS.max_manifest_entries + 1)]
    yield Case("manifest too long", frames(framed.handshake(many)), LimitExceeded, "manifest_size")
    yield Case("manifest as long as can be", frames(framed.handshake(many[1:])), None)
    for entry in ((5, 8, 0), (5, framed.IMAGE, 11), (5, framed.ACQUISITION, framed.CHAR), (5, framed.WAVEFORM, 7)):
        yield Case(f"manifest {entry}", frames(framed.handshake([entry])), ManifestError, "stream 5")
    twice = [(5, framed.IMAGE, framed.FLOAT), (5, framed.BLOB, 0)]
    yield Case("a stream declared twice", frames(framed.handshake(twice)), ManifestError, "stream 5 twice")
    own = framed.handshake([(65_536, framed.IMAGE, framed.FLOAT)])
    yield Case("the handshake's own stream declared for images", frames(own), ManifestError, "stream 65536")
    for what, offset in (("client_name_length", 28), ("manifest_size", 32)):
        for change in (-1, 1):
            wrong = patched(good, offset, struct.unpack_from("<I", good, offset)[0] + change)
            yield Case(f"{what} off by {change}", frames(wrong), MalformedMessageError)


def length_cases() -> Iterator[Case]:
    entities = {
        "command": framed.config_file(b"pass_through.xml"),
        "readout": framed.acquisition(1, 3, 2, n_dimensions=2),
        "waveform": framed.waveform([1, 2]),
        "image": framed.image(bytes(24), (1, 1, 2, 3), framed.FLOAT, META),
        "error": framed.error(b"bad"),
    }
    for what, entity in entities.items():
        before = HANDSHAKE if what in ("command", "error") else READY
        for name, wrong in {
            "one byte longer": entity + b"\0",
            "a lot longer": entity + bytes(1000),
            "one byte shorter": entity[:-1],
            "nothing but its head": entity[:16],
            "half": entity[: len(entity) // 2],
        }.items():
            yield Case(f"{what}, {name}", before + frames(wrong), MalformedMessageError, "than its entity")
        for length in (1, 7, 8, 15, 23, 24, 8 + len(entity) // 2, 7 + len(entity)):
            yield Case(f"{what} cut off after {length}", before + framed.frame(entity)[:length], ConnectionLost)
    for size in range(16):
        yield Case(f"a frame of {size}", READY + struct.pack("<Q", size) + bytes(20), MalformedMessageError, str(size))
    yield Case("a blob shorter than its description", READY + frames(framed.blob(b"", b"")[:18]), MalformedMessageError)
    too_short = patched(framed.blob(b"abc", b""), 16, 4)
    yield Case("a description longer than its blob", READY + frames(too_short), MalformedMessageError)
    yield Case("a blob of nothing", READY + frames(framed.blob(b"", b"")), None)
    yield Case("an XML header of nothing", CONFIGURED + frames(framed.xml_header(b"")), None)


def head_cases() -> Iterator[Case]:
    for entity_type in (8, 9, 255, 65_536, 2**32 - 1):
        wrong = patched(framed.acquisition(), 4, entity_type)
        yield Case(f"entity type {entity_type}", READY + frames(wrong), MalformedMessageError, "entity type")
    for version in (0, 1, 3, 0x4952524D):
        wrong = patched(framed.acquisition(), 0, version)
        yield Case(f"readout of version {version}", READY + frames(wrong), MalformedMessageError, "version")
    for storage in (0, 1, 3, 5, 6, 11, 100):
        wrong = patched(framed.acquisition(stream=9), 8, storage)
        yield Case(f"readout of storage {storage}", READY + frames(wrong), MalformedMessageError, "storage type")
    for storage in (11, 99, 100, 2**32 - 1):
        wrong = patched(framed.image(bytes(4), (1, 1, 1, 1), framed.FLOAT), 8, storage)
        yield Case(f"image of storage {storage}", READY + frames(wrong), MalformedMessageError, "storage type")
    for storage in (0, 7, 9, 100):
        wrong = patched(framed.waveform([1], stream=9), 8, storage)
        yield Case(f"waveform of storage {storage}", READY + frames(wrong), MalformedMessageError, "storage type")
    undeclared = (framed.acquisition(stream=9), framed.waveform([1], stream=9))
    yield Case("a stream that changes", READY + frames(*undeclared), ManifestError, "stream 9 has carried")
    declared = framed.waveform([1], stream=0)
    yield Case("a stream against the manifest", READY + frames(declared), ManifestError, "stream 0 was declared")
    shorts = framed.acquisition(storage=framed.SHORT)
    yield Case("a storage type against the manifest", READY + frames(shorts), ManifestError, "SHORT (2) came")
    for entity, stream in ((framed.stop(stream=0), 0), (XML, 3), (framed.stop(stream=65_536), 65_536)):
        moved = patched(entity, 12, stream)
        yield Case(f"another type on stream {stream}", HANDSHAKE + frames(moved), ManifestError, f"stream {stream}")


def command_cases() -> Iterator[Case]:
    for command_type in (0, 1, 999, 1005, 2000, 2005, 2**32 - 1):
        wrong = frames(framed.command(command_type))
        yield Case(f"command {command_type}", HANDSHAKE + wrong, MalformedMessageError, str(command_type))
    for command_type in (1002, 2001, 2002, 2003, 2004):
        wrong = frames(framed.command(command_type))
        yield Case(f"command {command_type}", HANDSHAKE + wrong, UnexpectedMessageError, str(command_type))
    for config_type in (0, 699, 707, 2**32 - 1):
        wrong = frames(framed.command(framed.CONFIGURATION, config_type))
        yield Case(f"configuration type {config_type}", HANDSHAKE + wrong, MalformedMessageError, "config_type")
    for name in (b"", b"\0\0", b"\xff"):
        yield Case(f"configuration name {name!r}", HANDSHAKE + frames(framed.config_file(name)), MalformedMessageError)
    for name in (b"/etc/passwd", b"../default.xml", b"nowhere.xml", b"a\0b.xml", b"x" * 5000):
        yield Case(f"configuration name {name[:20]!r}", HANDSHAKE + frames(framed.config_file(name)), GadgetronError)
    for xml in (b"", b"<a/>", b"<!DOCTYPE a><a/>", bytes(50)):
        yield Case(f"configuration {xml[:20]!r}", HANDSHAKE + frames(framed.config_script(xml)), ConfigurationError)
    yield Case("configured twice", CONFIGURED + frames(framed.config_file(b"default.xml")), UnexpectedMessageError)
    ids = framed.command(1000, entities=range(LIMITS.max_command_entities + 1))
    yield Case("too many entities", HANDSHAKE + frames(ids), LimitExceeded, "n_entities")
    yield Case("as many entities as can be", HANDSHAKE + frames(patched(ids[:-4], 32, 1024)), None)
    yield Case("an error", HANDSHAKE + frames(framed.error(b"out of helium")), RemoteError, "helium")
    yield Case("an error that is no UTF-8", HANDSHAKE + frames(framed.error(b"\xff")), RemoteError)


def data_cases() -> Iterator[Case]:
    yield Case("a readout of no samples", READY + frames(framed.acquisition(1, 0, 2)), None)
    yield Case("a readout of no channels", READY + frames(framed.acquisition(1, 4, 0)), None)
    for what, wrong in {
        "kspace_encode_step_1": framed.acquisition(line=65_536),
        "repetition": framed.acquisition(repetition=65_536),
        "time_stamp": framed.acquisition(time_stamp=2**32),
    }.items():
        yield Case(f"a {what} that does not fit", READY + frames(wrong), LimitExceeded, what)
    for bit in (53, 54, 55, 56):
        flags = framed.acquisition(flags=1 << (bit - 1))
        yield Case(f"a compressed readout {bit}", READY + frames(flags), MalformedMessageError, "compressed")
    for value in (0.5, -1.0, float("nan")):
        yield Case(
            f"a waveform of {value}", READY + frames(framed.waveform([value])), MalformedMessageError, "sample 0"
        )
    for meta in (b"<a/>", b"abc", b"<!DOCTYPE a><ismrmrdMeta/>", b"\xff"):
        image = framed.image(bytes(4), (1, 1, 1, 1), framed.FLOAT, meta)
        yield Case(f"an image with meta {meta!r}", READY + frames(image), MalformedMessageError, "meta")
    for storage, n_bytes in {0: 1, 1: 2, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 7: 4, 8: 8, 9: 8, 10: 16}.items():
        yield Case(f"an image of {storage}", READY + frames(framed.image(bytes(n_bytes), (1, 1, 1, 1), storage)), None)
    yield Case("data before parameters", HANDSHAKE + frames(framed.acquisition()), UnexpectedMessageError, "parameters")


CASES = [*handshake_cases(), *length_cases(), *head_cases(), *command_cases(), *data_cases()]


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_error_is_the_same_however_the_bytes_arrive(case: Case) -> None:
    environment = make_environment()
    rng = random.Random(case.name)
    prefix = next((len(start) for start in (READY, CONFIGURED, HANDSHAKE) if case.data.startswith(start)), 0)
    splits: list[tuple[int, ...]] = [(), (prefix, 1) if prefix else (1,)]
    if len(case.data) > 10_000:
        splits = [(), (prefix or 1, 1000)]
    splits += [(prefix or 1, *(rng.randint(1, 60) for _ in range(30))) for _ in range(N_RANDOM_SPLITS)]
    texts = set()
    for pieces in splits:
        error = play(case.data, pieces, environment).error
        if case.error is None:
            assert error is None, pieces
        else:
            assert isinstance(error, case.error), (pieces, error)
            assert case.words in str(error)
        texts.add(str(error) if not isinstance(error, ConnectionLost) else "lost")
    assert len(texts) == 1, texts
