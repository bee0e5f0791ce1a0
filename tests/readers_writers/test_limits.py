"""Rows R05 to R07: a length is compared with its limit before anything is allocated for it."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ismrmrd
import pytest

from gadgetron.errors import ConnectionLost, LimitExceeded, MalformedMessageError
from gadgetron.limits import KIB, MIB, Limits
from gadgetron.message_io import GadgetMessageReader
from gadgetron.protocol.byte_stream import MemoryStream
from readers_writers.acquisition import AcquisitionReader
from readers_writers.dependency_query import DependencyQueryReader
from readers_writers.dicom import DicomImageReader
from readers_writers.image import MRIImageReader
from readers_writers.legacy_image import LegacyImageAttribReaderFLOAT, LegacyImageReaderCPLX
from readers_writers.text import TextReader
from readers_writers.waveform import WaveformReader
from tests.readers_writers.messages import KINDS, acquisition, image, objects, read_back, waveform, written

MAX_PEAK_BYTES = 1 * MIB
U32_LENGTHS = [2**31 - 1, 2**31, 2**32 - 1]
U64_LENGTHS = [*U32_LENGTHS, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= MAX_PEAK_BYTES
    finally:
        tracemalloc.stop()


def read(reader: GadgetMessageReader, data: bytes) -> None:
    # A block that is smaller than the smallest limit, so that the stream's own block does not hide an allocation.
    reader.read(MemoryStream(data, limits=Limits(receive_block_bytes=64 * KIB)))


def acquisition_header(samples: int, channels: int, dimensions: int = 0) -> bytes:
    header = ismrmrd.AcquisitionHeader()
    header.number_of_samples, header.active_channels, header.trajectory_dimensions = samples, channels, dimensions
    return bytes(header)


def image_header(channels: int = 1, matrix: tuple[int, int, int] = (1, 1, 1), data_type: int = 8) -> bytes:
    header = ismrmrd.ImageHeader()
    header.channels, header.data_type = channels, data_type
    header.matrix_size[:] = matrix
    return bytes(header)


def waveform_header(samples: int, channels: int) -> bytes:
    header = ismrmrd.WaveformHeader()
    header.number_of_samples, header.channels = samples, channels
    return bytes(header)


TOO_LARGE: list[Any] = [
    pytest.param(AcquisitionReader, acquisition_header(65535, 65535), "acquisition bytes", id="R06-acquisition"),
    pytest.param(
        AcquisitionReader, acquisition_header(65535, 1, 65535), "trajectory_dimensions 65535", id="R06-trajectory"
    ),
    pytest.param(WaveformReader, waveform_header(65535, 65535), "waveform bytes", id="R06-waveform"),
    pytest.param(MRIImageReader, image_header(65535, (65535,) * 3), "image bytes", id="R06-image"),
    pytest.param(LegacyImageReaderCPLX, image_header(65535, (65535,) * 3), "image bytes", id="R06-legacy-image"),
    *(
        pytest.param(
            MRIImageReader, image_header(channels, matrix, data_type), "image bytes", id=f"R07-{data_type}-{i}"
        )
        for i, (channels, matrix) in enumerate([(32768, (32768, 32768, 32768)), (16384, (16384, 32768, 65535 - 32767))])
        for data_type in (1, 5, 7, 8)
    ),
]
for reader_class, head in [
    (MRIImageReader, image_header()),
    (LegacyImageAttribReaderFLOAT, image_header()),
]:
    TOO_LARGE += [
        pytest.param(
            reader_class, head + struct.pack("<Q", n), "meta attributes", id=f"R05-{reader_class.__name__}-{n}"
        )
        for n in U64_LENGTHS
    ]
TOO_LARGE += [
    *(pytest.param(TextReader, struct.pack("<I", n), "text bytes", id=f"R05-text-{n}") for n in U32_LENGTHS),
    *(
        pytest.param(DicomImageReader, struct.pack("<I", n), "DICOM file bytes", id=f"R05-dicom-{n}")
        for n in U32_LENGTHS
    ),
    *(
        pytest.param(DicomImageReader, struct.pack("<IQ", 0, n), "DICOM file name", id=f"R05-dicom-name-{n}")
        for n in U64_LENGTHS
    ),
    *(
        pytest.param(DicomImageReader, struct.pack("<IQQ", 0, 0, n), "DICOM meta", id=f"R05-dicom-meta-{n}")
        for n in U64_LENGTHS
    ),
    *(
        pytest.param(DependencyQueryReader, struct.pack("<Q", n), "dependency query", id=f"R05-dependency-{n}")
        for n in U64_LENGTHS
    ),
]


@pytest.mark.parametrize(("reader", "data", "field"), TOO_LARGE)
def test_too_large_a_length_is_refused_before_memory_is_taken(
    reader: Callable[[], GadgetMessageReader], data: bytes, field: str
) -> None:
    with little_memory(), pytest.raises(LimitExceeded) as caught:
        read(reader(), data)
    assert field in caught.value.field
    assert caught.value.value > caught.value.limit


@pytest.mark.parametrize("length", [0, 1])
def test_short_lengths_are_lengths_like_any_other(length: int) -> None:
    with little_memory(), pytest.raises(ConnectionLost):
        read(MRIImageReader(), image_header() + struct.pack("<Q", length))
    with pytest.raises(ConnectionLost):
        read(TextReader(), struct.pack("<I", length)[: 3 + length])


LIMITED: list[Any] = [
    pytest.param("acquisition", lambda: acquisition(2, 8), "max_acquisition_bytes", 2 * 8 * 8, id="acquisition"),
    pytest.param("waveform", lambda: waveform(2, 8), "max_waveform_bytes", 2 * 8 * 4, id="waveform"),
    pytest.param("image-float32", lambda: image(shape=(1, 1, 4, 4)), "max_image_bytes", 64, id="image"),
    pytest.param("text", KINDS["text"].message, "max_text_bytes", 13, id="text"),
    pytest.param("dicom", KINDS["dicom"].message, "max_blob_bytes", 6, id="dicom"),
]


@pytest.mark.parametrize(("name", "make", "limit", "size"), LIMITED)
def test_every_limit_admits_its_own_size_and_no_byte_more(name: str, make: Any, limit: str, size: int) -> None:
    kind = KINDS[name]
    data = written(kind.writer, make())
    assert objects(read_back(kind.reader, data, limits=Limits(**{limit: size})))
    with pytest.raises(LimitExceeded) as caught:
        read_back(kind.reader, data, limits=Limits(**{limit: size - 1}))
    assert (caught.value.value, caught.value.limit) == (size, size - 1)


def test_attributes_are_limited_when_they_are_written_too() -> None:
    kind = KINDS["image-float32"]
    n_bytes = objects(read_back(kind.reader, written(kind.writer, kind.message())))[0].attribute_string_len
    data = written(kind.writer, kind.message(), Limits(max_attribute_bytes=n_bytes))
    assert objects(read_back(kind.reader, data, limits=Limits(max_attribute_bytes=n_bytes)))
    with pytest.raises(LimitExceeded):
        written(kind.writer, kind.message(), Limits(max_attribute_bytes=n_bytes - 1))
    with pytest.raises(LimitExceeded):
        read_back(kind.reader, data, limits=Limits(max_attribute_bytes=n_bytes - 1))


def test_an_unknown_data_type_is_named() -> None:
    with pytest.raises(MalformedMessageError, match="data_type is 9"):
        read(MRIImageReader(), image_header(data_type=9))
