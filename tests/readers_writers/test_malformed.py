"""Messages that contradict themselves: which field disagrees is said, on the way in and on the way out."""

from __future__ import annotations

import struct
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import ConfigurationError, LimitExceeded, MalformedMessageError
from gadgetron.message import GadgetContainerMessage, MessageBlock, make_message
from gadgetron.meta import parse_meta, serialize_meta
from gadgetron.protocol.byte_stream import MemoryStream
from readers_writers.acquisition import AcquisitionReader, AcquisitionWriter, CompressedAcquisitionWriter
from readers_writers.dependency_query import DependencyQueryReader, DependencyQueryWriter
from readers_writers.dicom import DicomImageWriter
from readers_writers.image import MRIImageReader, MRIImageWriter
from readers_writers.legacy_image import MRIImageWriterFLOAT
from readers_writers.text import TextWriter
from readers_writers.waveform import WaveformWriter
from tests.readers_writers.messages import (
    acquisition,
    coarse_acquisition,
    image,
    meta,
    objects,
    read_back,
    waveform,
    written,
)


@pytest.mark.parametrize("bit", [53, 55, 56])
def test_acquisitions_compressed_in_other_ways_are_refused_by_name(bit: int) -> None:
    header = ismrmrd.AcquisitionHeader()
    header.set_flag(bit)
    with pytest.raises(MalformedMessageError, match=f"compressed .flag {bit}.*uncompressed"):
        AcquisitionReader().read(MemoryStream(bytes(header)))
    with pytest.raises(MalformedMessageError, match="compressed"):
        written(AcquisitionWriter(), make_message(header, np.zeros((0, 0), np.complex64)))


def test_zfp_is_refused_by_its_name() -> None:
    header = ismrmrd.AcquisitionHeader()
    header.set_flag(53)
    header.set_flag(54)
    with pytest.raises(MalformedMessageError, match="53 ZFP, 54 NHLBI"):
        AcquisitionReader().read(MemoryStream(bytes(header)))


def test_compressed_data_that_does_not_fit_its_header_is_refused() -> None:
    data = written(CompressedAcquisitionWriter(8), coarse_acquisition())
    for n_bytes, expected in ((4, "bytes .4."), (2**32 - 1, "at most")):
        damaged = data[:342] + struct.pack("<I", n_bytes) + data[346:]
        with pytest.raises(MalformedMessageError, match=expected):
            read_back(AcquisitionReader(), damaged)
    with pytest.raises(MalformedMessageError, match="values .2."):
        read_back(AcquisitionReader(), data[:346] + struct.pack("<Q", 2) + data[354:])


def test_samples_are_counted_before_compressed_data_is_read() -> None:
    header = ismrmrd.AcquisitionHeader()
    header.set_flag(54)
    header.active_channels = header.number_of_samples = 65_535
    with pytest.raises(LimitExceeded, match="acquisition bytes"):
        AcquisitionReader().read(MemoryStream(bytes(header) + struct.pack("<I", 100)))


@pytest.mark.parametrize(
    ("bits", "tolerance"), [(0, None), (8, lambda _header: 1.0), (1, None), (32, None), (-1, None)]
)
def test_a_compression_that_is_none_is_refused(bits: int, tolerance: Any) -> None:
    with pytest.raises(ConfigurationError, match="precision"):
        CompressedAcquisitionWriter(bits, tolerance)


def test_readouts_that_cannot_be_compressed_are_written_as_they_are() -> None:
    message = acquisition()
    objects(message)[1][0, 0] = np.nan
    assert written(CompressedAcquisitionWriter(8), message) == written(AcquisitionWriter(), message)
    without = CompressedAcquisitionWriter(tolerance=lambda _header: None)
    assert written(without, message) == written(AcquisitionWriter(), message)


def test_a_tolerance_may_depend_on_the_header() -> None:
    message = acquisition(n_channels=4, n_samples=100)
    writer = CompressedAcquisitionWriter(tolerance=lambda header: 0.001 * header.scan_counter)
    read = read_back(AcquisitionReader(), data := written(writer, message))
    assert len(data) < 342 + 4 + 13 + 800
    difference = objects(read)[1] - objects(message)[1]
    assert 0.01 < np.abs(difference.real).max() <= 0.077


def test_other_flags_are_no_compression() -> None:
    header = ismrmrd.AcquisitionHeader()
    for bit in (52, 57, 64, 1):
        header.set_flag(bit)
    read = objects(AcquisitionReader().read(MemoryStream(bytes(header))))
    assert read[0].flags == header.flags


def with_field(message: MessageBlock, name: str, value: Any) -> MessageBlock:
    setattr(objects(message)[0], name, value)
    return message


def with_block(message: MessageBlock, index: int, obj: Any) -> MessageBlock:
    items = objects(message)
    items[index:] = [obj]
    return make_message(*items)


CONTRADICTIONS: list[Any] = [
    (AcquisitionWriter, with_field(acquisition(), "active_channels", 4), "active_channels"),
    (AcquisitionWriter, with_field(acquisition(), "number_of_samples", 6), "number_of_samples"),
    (AcquisitionWriter, with_field(acquisition(), "trajectory_dimensions", 2), "trajectory is missing"),
    (AcquisitionWriter, with_field(acquisition(n_dimensions=3), "trajectory_dimensions", 2), "trajectory_dimensions"),
    (AcquisitionWriter, with_field(acquisition(n_dimensions=3), "trajectory_dimensions", 0), "trajectory_dimensions"),
    (AcquisitionWriter, with_block(acquisition(), 1, np.zeros((3, 5), np.complex128)), "Array.complex64"),
    (AcquisitionWriter, with_block(acquisition(), 1, np.zeros(15, np.complex64)), "shape"),
    (AcquisitionWriter, make_message("no header"), "an acquisition is"),
    (WaveformWriter, with_field(waveform(), "channels", 1), "channels"),
    (WaveformWriter, with_block(waveform(), 1, np.zeros((2, 4), np.int32)), "a waveform is"),
    (MRIImageWriter, with_field(image(), "channels", 1), "channels disagrees"),
    (MRIImageWriter, with_field(image(), "matrix_size", (4, 3, 2)), "matrix_size disagrees"),
    (MRIImageWriter, with_block(image(), 1, np.zeros((1, 3, 4), np.float32)), "disagrees"),
    (MRIImageWriter, with_block(image(), 1, np.zeros((2, 1, 3, 4), np.int64)), "int64"),
    (MRIImageWriter, with_block(image(), 1, np.zeros((2, 1, 3, 4), bool)), "bool"),
    (MRIImageWriter, with_block(image(), 1, "no pixels"), "an image is"),
    (MRIImageWriterFLOAT, image(np.uint16), "uint16 — MRIImageWriterFLOAT writes float32"),
    (TextWriter, make_message(b"bytes"), "a text is"),
    (DicomImageWriter, make_message(b"file"), "a DICOM file is"),
    (DependencyQueryWriter, make_message({}), "one Meta"),
]


@pytest.mark.parametrize(("writer", "message", "text"), CONTRADICTIONS)
def test_a_writer_refuses_what_contradicts_itself_and_writes_nothing(
    writer: Any, message: MessageBlock, text: str
) -> None:
    stream = MemoryStream()
    with pytest.raises(MalformedMessageError, match=text):
        writer().write(stream, message)
    assert not stream.written


def test_image_headers_follow_the_array_and_the_attributes() -> None:
    message = image(np.int32, meta=meta(a=1))
    objects(message)[0].data_type = 5
    objects(message)[0].attribute_string_len = 12345
    data = written(MRIImageWriter(), message)
    read = objects(read_back(MRIImageReader(), data))
    assert read[0].data_type == 4
    assert read[0].attribute_string_len == struct.unpack_from("<Q", data, 200)[0]
    assert data[208 + read[0].attribute_string_len - 1] == 0
    assert read[1].dtype == np.int32


def test_an_image_without_meta_says_so_with_a_zero() -> None:
    for message in (image(), image(meta=meta())):
        data = written(MRIImageWriter(), message)
        assert struct.unpack_from("<Q", data, 200) == (0,)
        assert len(objects(read_back(MRIImageReader(), data))) == 2


def test_big_endian_pixels_are_turned_round() -> None:
    message = image(np.uint16)
    expected = written(MRIImageWriter(), message)
    block = message.cont
    assert isinstance(block, GadgetContainerMessage)
    block.object = block.object.astype(">u2")
    assert written(MRIImageWriter(), message) == expected


def test_new_image_writers_write_1022_with_meta() -> None:
    data = written(MRIImageWriterFLOAT(), image(meta=meta(a="b")))
    assert struct.unpack_from("<H", data) == (1022,)
    assert objects(read_back(MRIImageReader(), data))[2] == {"a": "b"}


def test_compatibility_mode_leaves_meta_out() -> None:
    data = written(MRIImageWriterFLOAT(legacy_image_messages=True), image(meta=meta(a="b")))
    assert struct.unpack_from("<H", data) == (1010,)
    assert len(data) == 2 + 198 + 2 * 3 * 4 * 4


def image_with_attributes(text: bytes) -> bytes:
    message = image(np.uint16, (1, 1, 1, 1))
    header = objects(message)[0]
    header.data_type = 1
    return struct.pack("<H", 1022) + bytes(header) + struct.pack("<Q", len(text)) + text + b"\1\0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"<ismrmrdMeta>", "not well-formed"),
        (b"not xml at all", "not well-formed"),
        (b"<other/>", "root element other"),
        (b"<ismrmrdMeta><meta><value>1</value></meta></ismrmrdMeta>", "0 names"),
        (b"<ismrmrdMeta><meta><name/><value>1</value></meta></ismrmrdMeta>", "not empty"),
        (b"<!DOCTYPE ismrmrdMeta><ismrmrdMeta/>", "DOCTYPE"),
        (b"\xff\xfe\0", ""),
    ],
)
def test_broken_meta_attributes_are_named(text: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessageError, match=f"meta attributes of an image.*{reason}"):
        read_back(MRIImageReader(), image_with_attributes(text))


def test_deep_meta_attributes_are_refused() -> None:
    with pytest.raises(LimitExceeded, match="depth"):
        read_back(MRIImageReader(), image_with_attributes(b"<ismrmrdMeta>" * 100))


@pytest.mark.parametrize("text", [b"\0", b"\0\0\0"])
def test_attributes_of_nothing_but_nul_are_none(text: bytes) -> None:
    assert len(objects(read_back(MRIImageReader(), image_with_attributes(text)))) == 2


def test_meta_values_survive_whatever_characters_they_have() -> None:
    values = {'tab\tand & < > "': "line\nfeed\rreturn", "many": ["1", "", "3"], "number": 2.5}
    text = serialize_meta(ismrmrd.Meta(values), "an image")
    assert parse_meta(text, "an image") == {**values, "number": "2.5"}
    assert ismrmrd.Meta.deserialize(text.decode())["many"] == ["1", None, "3"]


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert parse_meta(serialize_meta(meta(a="\0\x1b[2J\ud800"), "x"), "x") == {"a": "��[2J�"}


def test_repeated_names_gather_their_values() -> None:
    text = b"<ismrmrdMeta>" + b"".join(
        b"<meta><name>a</name>" + values + b"</meta>"
        for values in (b"<value>1</value>", b"<value>2</value><value>3</value>", b"<value>4</value>")
    )
    assert parse_meta(text + b"</ismrmrdMeta>", "x") == {"a": ["1", "2", "3", "4"]}


def test_an_empty_answer_to_a_dependency_query_is_an_empty_meta() -> None:
    assert objects(read_back(DependencyQueryReader(), struct.pack("<HQ", 1019, 0))) == [{}]
