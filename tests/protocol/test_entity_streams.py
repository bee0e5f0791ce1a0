"""Multiplexed streams: one type of entity each, as declared or as first seen; and where output goes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gadgetron.errors import LimitExceeded, ManifestError
from gadgetron.limits import Limits
from gadgetron.protocol.entity.control import ManifestEntry
from gadgetron.protocol.entity.frames import FrameHead
from gadgetron.protocol.entity.streams import InputStreams, OutputStreams, check_manifest
from gadgetron.protocol.entity.tables import MRID, EntityType, StorageType
from tests import framed_client as framed

Entry = tuple[int, int, int]


def manifest(*entries: Entry) -> list[ManifestEntry]:
    return [ManifestEntry(*entry) for entry in entries]


def head(entity_type: int, stream: int, storage: int = framed.FLOAT) -> FrameHead:
    return FrameHead(entity_type, storage, stream, 0)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [(0, framed.ACQUISITION, framed.FLOAT), (1, framed.XML_HEADER, framed.NOT_APPLICABLE)],
        [(0, framed.ACQUISITION, framed.CXFLOAT), (0, framed.ACQUISITION, framed.FLOAT)],
        [(5, framed.BLOB, 0), (5, framed.BLOB, 100)],
        [(7, framed.IMAGE, storage) for storage in (0,)],
        [(2**32 - 1, framed.WAVEFORM, framed.DOUBLE)],
    ],
)
def test_a_manifest_that_can_be(entries: Sequence[Entry]) -> None:
    check_manifest(manifest(*entries))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([(3, 8, 7)], "entity type 8 for stream 3"),
        ([(3, framed.ACQUISITION, framed.USHORT)], "stream 3"),
        ([(3, framed.IMAGE, 11)], "stream 3"),
        ([(3, framed.WAVEFORM, framed.FLOAT)], "stream 3"),
        ([(3, framed.ACQUISITION, framed.FLOAT), (3, framed.ACQUISITION, framed.DOUBLE)], "stream 3 twice"),
        ([(3, framed.ACQUISITION, framed.FLOAT), (3, framed.IMAGE, framed.FLOAT)], "stream 3 twice.*ACQ.*IMAGE"),
    ],
)
def test_a_manifest_that_cannot_be_names_the_stream(entries: Sequence[Entry], words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        check_manifest(manifest(*entries))


def test_a_stream_keeps_the_type_it_was_declared_for() -> None:
    streams = InputStreams(manifest((4, framed.IMAGE, framed.SHORT), (5, framed.IMAGE, framed.NOT_APPLICABLE)))
    streams.check(head(framed.IMAGE, 4, framed.SHORT))
    with pytest.raises(ManifestError, match=r"stream 4 was declared for IMAGE \(4\), SHORT \(2\).*IMAGE \(4\), FLOAT"):
        streams.check(head(framed.IMAGE, 4, framed.FLOAT))
    with pytest.raises(ManifestError, match=r"stream 4 .*expected that, WAVEFORM \(3\)"):
        streams.check(head(framed.WAVEFORM, 4, framed.DOUBLE))
    streams.check(head(framed.IMAGE, 5, framed.FLOAT))
    streams.check(head(framed.IMAGE, 5, framed.DOUBLE))


def test_a_stream_keeps_the_type_it_had_first() -> None:
    streams = InputStreams()
    streams.check(head(framed.ACQUISITION, 9))
    streams.check(head(framed.ACQUISITION, 9, framed.SHORT))
    with pytest.raises(
        ManifestError, match=r"stream 9 has carried ACQUISITION \(2\) — expected that, IMAGE \(4\) came"
    ):
        streams.check(head(framed.IMAGE, 9))


def test_both_spellings_of_a_storage_type_are_one() -> None:
    streams = InputStreams(manifest((0, framed.ACQUISITION, framed.CXFLOAT), (1, framed.ACQUISITION, framed.DOUBLE)))
    streams.check(head(framed.ACQUISITION, 0, framed.FLOAT))
    streams.check(head(framed.ACQUISITION, 1, framed.CXDOUBLE))
    with pytest.raises(ManifestError):
        streams.check(head(framed.ACQUISITION, 0, framed.DOUBLE))


def test_streams_are_counted() -> None:
    streams = InputStreams(limits=Limits(max_streams=3))
    for number in range(3):
        streams.check(head(framed.BLOB, number))
    with pytest.raises(LimitExceeded, match="streams of a session is 4, the limit is 3"):
        streams.check(head(framed.BLOB, 3))


def test_each_series_of_images_has_a_stream_of_its_own_from_2_on() -> None:
    streams = OutputStreams()
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 7) == 2
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 1) == 3
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 7) == 2
    assert streams.choose(EntityType.ACQUISITION, StorageType.FLOAT) == 0
    assert streams.choose(EntityType.XML_HEADER, StorageType.NONE) == 1
    assert streams.choose(EntityType.WAVEFORM, StorageType.DOUBLE) == 4


def test_declared_streams_come_first_then_free_ones() -> None:
    declared = manifest((30, framed.IMAGE, framed.FLOAT), (2, framed.WAVEFORM, framed.DOUBLE))
    streams = OutputStreams(declared, peer_streams={3: framed.ACQUISITION})
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 1) == 30
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 2) == 4  # 2 and 3 carry something else
    assert streams.choose(EntityType.IMAGE, StorageType.SHORT, 1) == 5
    assert streams.choose(EntityType.WAVEFORM, StorageType.DOUBLE) == 2


def test_the_cpp_programs_get_nothing_on_streams_they_have_not_declared() -> None:
    streams = OutputStreams(manifest((6004, framed.IMAGE, framed.FLOAT)), MRID)
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 1) == 6004
    assert streams.choose(EntityType.IMAGE, StorageType.FLOAT, 2) == 6004
    assert streams.choose(EntityType.XML_HEADER, StorageType.NONE) == 50
    assert streams.choose(EntityType.IMAGE, StorageType.SHORT, 1) == 1000


def test_an_acquisition_stream_declared_for_something_else_is_avoided() -> None:
    streams = OutputStreams(manifest((0, framed.HANDSHAKE, framed.NOT_APPLICABLE)))
    assert streams.choose(EntityType.ACQUISITION, StorageType.FLOAT) == 2
