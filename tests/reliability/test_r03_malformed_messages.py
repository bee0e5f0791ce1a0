"""R03: named malformed sessions, each with the error it must give: whole, byte by byte, and split at random places."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetronError,
    LimitExceeded,
    MalformedMessageError,
    RemoteError,
    UnexpectedMessageError,
    UnknownMessageError,
)
from gadgetron.limits import LIMITS
from tests import raw_client as raw
from tests.reliability.sessions import make_environment, play

N_RANDOM_SPLITS = 20

STANDARD = "".join(
    f"<reader><slot>{slot}</slot><dll/><classname>readers_writers.{name}</classname></reader>"
    for slot, name in (
        (1008, "acquisition.AcquisitionReader"),
        (1026, "waveform.WaveformReader"),
        (1022, "image.MRIImageReader"),
        (1018, "dicom.DicomImageReader"),
        (1019, "dependency_query.DependencyQueryReader"),
    )
)
ALL = (
    f'<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">{STANDARD}</gadgetronStreamConfiguration>'
)
CONFIG = raw.config_script(ALL.encode())
READY = CONFIG + raw.header()


@dataclass
class Case:
    """Bytes, what they must end with (None for an orderly end), and words of its text."""

    name: str
    data: bytes
    error: type[GadgetronError] | None
    words: str = ""


def u16(value: int) -> bytes:
    return struct.pack("<H", value)


def image(*, data_type: int = 5, size: tuple[int, int, int] = (1, 1, 1), channels: int = 1, meta: bytes = b"") -> bytes:
    head = bytearray(198)
    struct.pack_into("<HH", head, 0, 1, data_type)
    struct.pack_into("<3H", head, 16, *size)
    struct.pack_into("<H", head, 34, channels)
    struct.pack_into("<I", head, 194, len(meta))
    pixels = bytes(raw.PIXEL_BYTES.get(data_type, 0) * size[0] * size[1] * size[2] * channels)
    return u16(raw.IMAGE) + bytes(head) + struct.pack("<Q", len(meta)) + meta + pixels


def control_cases() -> Iterator[Case]:
    yield Case("nothing", b"", None)
    yield Case("half an id", b"\x01", ConnectionLost)
    for message_id in (0, 9, 10, 255, 256, 999, 1007, 1012, 2000, 0x4547, 0x5353, 0x0316, 65535):
        yield Case(f"unknown id {message_id}", u16(message_id), UnknownMessageError, str(message_id))
        yield Case(f"unknown id {message_id} with parameters due", CONFIG + u16(message_id), UnknownMessageError)
        yield Case(f"unknown id {message_id} among data", READY + u16(message_id), UnknownMessageError)
    for message_id in (1008, 1022, 1026):
        yield Case(f"data {message_id} first", u16(message_id), UnexpectedMessageError, "configuration")
        yield Case(
            f"data {message_id} before parameters", CONFIG + u16(message_id), UnexpectedMessageError, "parameters"
        )
    yield Case("parameters first", raw.header(), UnexpectedMessageError, "configuration first")
    yield Case("response", struct.pack("<HQQ", raw.RESPONSE, 1, 0), UnexpectedMessageError)
    yield Case("error", struct.pack("<HQ", raw.ERROR, 3) + b"bad", RemoteError, "bad")
    yield Case("two configurations", CONFIG + CONFIG, UnexpectedMessageError, "configured already")
    yield Case("configuration among data", READY + CONFIG, UnexpectedMessageError, "configured already")
    yield Case("close first", raw.close(), None)
    yield Case("close after configuration", CONFIG + raw.close(), None)
    yield Case("junk after close", READY + raw.close() + bytes(range(100)), None)
    yield Case("text of nothing", raw.text(b"") + raw.close(), None)
    yield Case("text that is no UTF-8", raw.text(b"\xff\xfe\x80") + raw.close(), None)
    yield Case("query that is no UTF-8", raw.query(b"\xff\xfe") + raw.close(), None)
    yield Case("query of nothing", raw.query(b"") + raw.close(), None)


def configuration_cases() -> Iterator[Case]:
    names: dict[str, Any] = {
        "empty": b"",
        "spaces": b"   ",
        "no UTF-8": b"\xff\xfe.xml",
        "absolute": b"/etc/passwd",
        "outside": b"../default.xml",
        "another system's": b"..\\default.xml",
        "with an escape": b"%2e%2e/default.xml",
        "not there": b"not_there.xml",
        "without an ending": b"default",
        "the server's own": b"gadgetron.xml",
        "a variable": b"HOME",
        "line breaks": b"default.xml\nx",
    }
    for what, name in names.items():
        yield Case(f"configuration name {what}", raw.config_file(name), GadgetronError)
    yield Case("configuration name without an end", u16(1) + b"x" * 1024, MalformedMessageError, "no end")
    documents = {
        "nothing": b"",
        "no XML": b"hello",
        "half": b"<gadgetronStreamConfiguration>",
        "DTD": b"<!DOCTYPE a><a/>",
        "another root": b"<a/>",
        "zeros": bytes(50),
        "another encoding": "<a/>".encode("utf-16"),
        "a gadget without a class": ALL.replace("</gadgetronS", "<gadget><name>x</name></gadget></gadgetronS").encode(),
        "an unknown class": ALL.replace("DicomImageReader", "NoSuchReader").encode(),
        "a refused class": ALL.replace("readers_writers.dicom.DicomImageReader", "os.system").encode(),
        "a slot that is no number": ALL.replace("1018", "many").encode(),
        "a negative slot": ALL.replace("1018", "-1").encode(),
        "a slot too large": ALL.replace("1018", "70000").encode(),
        "a slot of the protocol's own": ALL.replace("1018", "4").encode(),
    }
    for what, document in documents.items():
        yield Case(f"configuration text {what}", raw.config_script(document), ConfigurationError)
    too_long = struct.pack("<HI", raw.CONFIG_SCRIPT, LIMITS.max_config_bytes + 1)
    yield Case("configuration text too long", too_long, LimitExceeded, "configuration length")
    too_long = CONFIG + struct.pack("<HI", raw.HEADER, LIMITS.max_header_bytes + 1)
    yield Case("parameters too long", too_long, LimitExceeded, "parameters length")


def data_cases() -> Iterator[Case]:
    yield Case("readout", READY + raw.acquisition(1), None)
    yield Case("readout of no samples", READY + raw.acquisition(1, 0, 2), None)
    yield Case("readout of no channels", READY + raw.acquisition(1, 4, 0), None)
    for bit in (53, 55, 56):
        compressed = raw.acquisition(1, flags=1 << (bit - 1))
        yield Case(f"readout compressed {bit}", READY + compressed, MalformedMessageError, "compressed")
    for n_bytes in (0, 12, 13, 2**32 - 1):
        compressed = raw.acquisition(1, flags=1 << 53, body=struct.pack("<I", n_bytes) + bytes(min(n_bytes, 99)))
        yield Case(f"readout of {n_bytes} compressed bytes", READY + compressed, MalformedMessageError, "compressed")
    for samples, channels, dimensions in ((65535, 65535, 0), (65535, 257, 0), (4096, 4097, 0), (65535, 1, 65535)):
        large = raw.acquisition(1, samples, channels, trajectory_dimensions=dimensions, body=b"")
        yield Case(f"readout {samples} {channels} {dimensions}", READY + large, LimitExceeded, "acquisition")
    for data_type in range(1, 9):
        yield Case(f"image of type {data_type}", READY + image(data_type=data_type), None)
    for data_type in (0, 9, 255, 65535):
        yield Case(f"image of type {data_type}", READY + image(data_type=data_type), MalformedMessageError, "data_type")
    yield Case("image of no pixels", READY + image(size=(0, 1, 1)), None)
    for meta in (b"<a/>", b"no XML", b"<!DOCTYPE a><ismrmrdMeta/>", b"<ismrmrdMeta><meta/>", b"\xff" * 5):
        yield Case(f"image with meta {meta!r}", READY + image(meta=meta), MalformedMessageError)
    huge = image(size=(1, 1, 1))[:200] + struct.pack("<Q", LIMITS.max_attribute_bytes + 1)
    yield Case("image with too much meta", READY + huge, LimitExceeded, "attributes")
    yield Case("DICOM of nothing", READY + struct.pack("<HIQ", 1018, 0, 0), GadgetronError)
    yield Case("DICOM too large", READY + struct.pack("<HI", 1018, 2**32 - 1), LimitExceeded)
    yield Case("dependency query too large", READY + struct.pack("<HQ", 1019, 2**40), LimitExceeded)
    for what, message in {
        "readout": raw.acquisition(1, 3, 2, trajectory_dimensions=1),
        "waveform": raw.waveform(3, 2),
        "image": image(meta=b"<ismrmrdMeta/>"),
        "parameters": raw.header(),
        "text": raw.text(b"hello"),
        "query": raw.query(b"gadgetron::version"),
    }.items():
        for length in (1, 3, len(message) // 2, len(message) - 1):
            yield Case(f"{what} cut off after {length}", READY + message[:length], ConnectionLost)


CASES = [*control_cases(), *configuration_cases(), *data_cases()]


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_error_is_the_same_however_the_bytes_arrive(case: Case) -> None:
    environment = make_environment()
    rng = random.Random(case.name)
    # The configuration in front is the same everywhere: only what follows it is worth being split.
    prefix = len(READY) if case.data.startswith(READY) else len(CONFIG) if case.data.startswith(CONFIG) else 0
    splits: list[tuple[int, ...]] = [(), (prefix, 1) if prefix else (1,)]
    splits += [(prefix, *(rng.randint(1, 60) for _ in range(30))) for _ in range(N_RANDOM_SPLITS)]
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
