"""Recon data, image arrays and buckets: the bytes of the C++ program, spelled out, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import ConnectionLost, LimitExceeded, MalformedMessageError
from gadgetron.limits import LIMITS, Limits
from gadgetron.message import make_message
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.recon_types import AcquisitionBucket, ImageArray, ReconBit, ReconBuffer, ReconData
from readers_writers.bucket import AcquisitionBucketReader, AcquisitionBucketWriter
from readers_writers.image_array import ImageArrayReader, ImageArrayWriter
from readers_writers.recon_data import BufferReader, BufferWriter
from tests.readers_writers.messages import (
    acquisition,
    bucket,
    bucket_acquisition,
    image,
    image_array,
    objects,
    read_back,
    recon_buffer,
    recon_data,
    some_waveform,
    waveform,
    written,
)


def u64(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def test_recon_data_on_the_wire() -> None:
    buffer = recon_buffer(has_trajectory=True)
    assert buffer.trajectory is not None
    assert buffer.density is not None
    blank = bytes(340)
    headers = b"".join(blank if head is None else bytes(head) for head in buffer.headers.ravel())
    sampling = struct.pack("<6f15H2x", 300, 200.5, 5, 300, 200, 5, 4, 3, 2, 4, 4, 1, 0, 2, 3, 0, 1, 2, 1, 1, 1)
    expected = b"".join(
        [
            struct.pack("<H", 1023),
            u64(1),
            u64(7, 4, 3, 2, 2, 1, 1, 2) + buffer.data.tobytes(),  # E0 E1 E2 CHA N S LOC
            b"\1" + u64(7, 2, 4, 3, 2, 1, 1, 2) + buffer.trajectory.tobytes(),  # dimensions E0 E1 E2 N S LOC
            b"\1" + u64(6, 4, 3, 2, 1, 1, 2) + buffer.density.tobytes(),
            u64(5, 3, 2, 1, 1, 2) + headers,  # E1 E2 N S LOC
            sampling,
            b"\0",
        ]
    )
    assert len(sampling) == 56
    assert written(BufferWriter(), make_message(ReconData([ReconBit(buffer)]))) == expected


def test_an_image_array_on_the_wire() -> None:
    array = ImageArray(
        np.arange(24, dtype=np.complex64).reshape(2, 1, 1, 1, 1, 3, 4),
        np.empty((2, 1, 1), dtype=object),
        np.full((2, 1, 1), None, dtype=object),
    )
    for slice_ in range(2):
        array.headers[slice_, 0, 0] = objects(image())[0]
    array.meta[1, 0, 0] = ismrmrd.Meta({"Größe": "½"})
    array.waveforms = [some_waveform()]
    data = written(ImageArrayWriter(), make_message(array))
    start = struct.pack("<H", 1024) + u64(7, 4, 3, 1, 1, 1, 1, 2) + array.data.tobytes() + u64(3, 1, 1, 2)
    assert data.startswith(start)
    rest = data[len(start) :]
    assert rest[: 2 * 198] == b"".join(bytes(head) for head in array.headers.ravel())
    rest = rest[2 * 198 :]
    assert rest.startswith(u64(2))
    assert rest.isascii() or b"Gr&#246;&#223;e" in rest
    waveform_bytes = bytes(array.waveforms[0].head) + array.waveforms[0].data.tobytes()
    assert rest.endswith(b"\1" + u64(1) + waveform_bytes + b"\0")


def test_a_bucket_on_the_wire() -> None:
    content: AcquisitionBucket = objects(bucket())[0]
    first, second, third = content.data
    assert second.trajectory is not None
    spaces = [u64(1) + struct.pack("<H", 12) + (u64(1) + b"\0\0") * 8, u64(0) * 9]
    data_stats = u64(3) + spaces[0] + spaces[1] + spaces[0]
    reference_stats = u64(3) + spaces[1] + spaces[1] + spaces[0]
    wave = content.waveforms[0]
    meta = [3, 3 * 340, 3 * 120, 60, 1, 340, 120, 60, len(data_stats), len(reference_stats), 1, 40, 32]
    expected = b"".join(
        [
            struct.pack("<H", 1050) + u64(*meta),
            bytes(first.head) + bytes(second.head) + bytes(third.head),
            second.trajectory.tobytes(),
            first.data.tobytes() + second.data.tobytes() + third.data.tobytes(),
            data_stats,
            bytes(second.head) + second.trajectory.tobytes() + second.data.tobytes(),
            reference_stats,
            bytes(wave.head) + wave.data.tobytes(),
        ]
    )
    assert written(AcquisitionBucketWriter(), make_message(content)) == expected


def test_an_encoding_space_with_nothing_but_calibration_is_an_empty_buffer() -> None:
    data = written(BufferWriter(), make_message(ReconData([ReconBit(None, recon_buffer())])))
    assert data[10:].startswith(u64(7, 0, 0, 0, 0, 0, 0, 0) + b"\0\0" + u64(5, 0, 0, 0, 0, 0) + bytes(56) + b"\1")
    without_dimensions = struct.pack("<H", 1023) + u64(1) + u64(0) + b"\0\0" + u64(0) + bytes(56) + b"\0"
    assert objects(read_back(BufferReader(), without_dimensions))[0] == ReconData([ReconBit(None, None)])


def test_waveforms_are_also_taken_as_the_old_python_interface_sends_them() -> None:
    array: ImageArray = objects(image_array())[0]
    data = written(ImageArrayWriter(), make_message(array))
    head = bytes(array.waveforms[0].head)  # the same for both
    data = data.replace(head, struct.pack("<H", 1026) + head)
    found: ImageArray = objects(read_back(ImageArrayReader(), data))[0]
    assert [bytes(wave.head) for wave in found.waveforms] == [bytes(wave.head) for wave in array.waveforms]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(found.waveforms, array.waveforms, strict=True))


def test_an_image_array_with_fewer_meta_attributes_than_images_is_taken() -> None:
    array: ImageArray = objects(image_array(is_full=False))[0]
    start = written(ImageArrayWriter(), make_message(array))
    head = start[: 2 + 64 + array.data.nbytes + 32 + 6 * 198]
    assert objects(read_back(ImageArrayReader(), head + u64(0) + b"\0\0"))[0].meta.shape == (2, 1, 3)


LIMITED: list[Any] = [
    (BufferReader, struct.pack("<H", 1023) + u64(1025), "encoding spaces"),
    (BufferReader, struct.pack("<H", 1023) + u64(1, 8), "dimensions of data of recon data"),
    (BufferReader, struct.pack("<H", 1023) + u64(1, 7, 2**63, 1, 1, 1, 1, 1, 1), "axis of data"),
    (BufferReader, struct.pack("<H", 1023) + u64(1, 7, *[65_535] * 7), "recon data bytes up to data"),
    (ImageArrayReader, struct.pack("<H", 1024) + u64(7, *[65_535] * 7), "image array bytes"),
    (ImageArrayReader, struct.pack("<H", 1024) + u64(7, *[1] * 7, 0, 3, 1, 1, 1) + bytes(198) + u64(2), "meta"),
    (AcquisitionBucketReader, struct.pack("<H", 1050) + u64(*[2**62] * 13), "bytes of a bucket"),
    (AcquisitionBucketReader, struct.pack("<H", 1050) + u64(*[0] * 8, 2**40, 0, 0, 0, 0), "statistics"),
]


@pytest.mark.parametrize(("reader", "data", "reason"), LIMITED)
def test_sizes_are_refused_before_anything_is_read(reader: Any, data: bytes, reason: str) -> None:
    with pytest.raises(LimitExceeded, match=reason):
        read_back(reader(), data)


@pytest.mark.parametrize("make", [recon_data, image_array, bucket])
def test_a_message_that_is_too_large_as_a_whole_is_refused(make: Callable[[], Any]) -> None:
    writer, reader = {
        recon_data: (BufferWriter(), BufferReader()),
        image_array: (ImageArrayWriter(), ImageArrayReader()),
        bucket: (AcquisitionBucketWriter(), AcquisitionBucketReader()),
    }[make]
    data = written(writer, make())
    limits: Limits = replace(LIMITS, max_recon_data_bytes=500)
    with pytest.raises(LimitExceeded, match="limit is 500"):
        read_back(reader, data, limits=limits)


def with_buffer(**changes: Any) -> Any:
    return make_message(ReconData([ReconBit(replace(recon_buffer(has_trajectory=True), **changes))]))


def broken_bucket(**changes: Any) -> Any:
    content = AcquisitionBucket()
    content.data = [replace(bucket_acquisition(n_dimensions=2), **changes)]
    return make_message(content)


CONTRADICTIONS: list[Any] = [
    (BufferWriter(), with_buffer(data=np.zeros((1, 1), np.complex64)), "dimensions"),
    (BufferWriter(), with_buffer(headers=np.full((1, 1, 1, 2, 3), None)), "headers of data"),
    (BufferWriter(), with_buffer(headers=np.full((2, 1, 1, 2, 3), "x", dtype=object)), "str — expected Acquisition"),
    (BufferWriter(), with_buffer(density=np.zeros((2, 1, 1, 2, 3, 5), np.float32)), "density of data"),
    (BufferWriter(), with_buffer(trajectory=np.zeros((2, 1, 1, 2, 3, 5, 2), np.float32)), "trajectory of data"),
    (BufferWriter(), with_buffer(sampling=replace(recon_buffer().sampling, recon_matrix=(70_000, 1, 1))), "sampling"),
    (BufferWriter(), make_message("no"), "one ReconData"),
    (ImageArrayWriter(), make_message("no"), "one ImageArray"),
    (AcquisitionBucketWriter(), make_message("no"), "one AcquisitionBucket"),
    (AcquisitionBucketWriter(), broken_bucket(data=np.zeros((1, 5), np.complex64)), "readout in the data"),
    (AcquisitionBucketWriter(), broken_bucket(trajectory=None), "trajectory in the data"),
]


@pytest.mark.parametrize(("writer", "message", "reason"), CONTRADICTIONS)
def test_what_contradicts_itself_is_not_written(writer: Any, message: Any, reason: str) -> None:
    with pytest.raises(MalformedMessageError, match=reason):
        written(writer, message)


def changed(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + u64(value) + data[position + 8 :]


def test_sizes_of_a_bucket_that_contradict_its_headers_are_refused() -> None:
    data = written(AcquisitionBucketWriter(), bucket())
    for field, reason in ((0, "for 4 readouts"), (1, "bytes of headers"), (2, "headers ask for"), (3, "trajectories")):
        value = struct.unpack_from("<Q", data, 2 + 8 * field)[0] + 1
        with pytest.raises((MalformedMessageError, ConnectionLost), match=reason):
            AcquisitionBucketReader().read(MemoryStream(changed(data, 2 + 8 * field, value)[2:] + bytes(1000)))


def test_a_flag_that_is_neither_0_nor_1_is_refused() -> None:
    data = struct.pack("<H", 1023) + u64(1, 0) + b"\2"
    with pytest.raises(MalformedMessageError, match="expected 0 or 1"):
        read_back(BufferReader(), data)


def test_headers_and_waveforms_have_the_sizes_of_the_wire() -> None:
    assert len(bytes(objects(acquisition())[0])) == 340
    assert len(bytes(objects(image())[0])) == 198
    assert len(bytes(objects(waveform())[0])) == 40


def test_a_buffer_knows_what_it_weighs() -> None:
    buffer = recon_buffer(has_trajectory=True)
    assert isinstance(buffer, ReconBuffer)
    assert buffer.nbytes == sum(
        a.nbytes for a in (buffer.data, buffer.headers, buffer.trajectory, buffer.density) if a is not None
    )
