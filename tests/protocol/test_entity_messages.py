"""From entities to messages and back: every storage type, and what does not fit."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from ismrmrd import AcquisitionHeader, ImageHeader, Meta, WaveformHeader

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.limits import LIMITS
from gadgetron.message import MessageBlock, blocks, config_message, make_message
from gadgetron.protocol.entity.data import Acquisition, Image
from gadgetron.protocol.entity.entities import decode_entity, encode_entity
from gadgetron.protocol.entity.messages import from_message, has_entity_form, to_message
from gadgetron.protocol.entity.tables import STORAGE, StorageType
from tests import framed_client as framed

SAMPLES = [1, -2, 3, 4, -5, 6, 7, 8, 9, 10, 11, -12]


def objects(data: bytes) -> list[Any]:
    """The objects of the message of an entity."""
    message = to_message(decode_entity(data), LIMITS)  # type: ignore[arg-type]  # data entities only
    return [block.object for block in blocks(message)]  # type: ignore[attr-defined]  # all of them are containers


@pytest.mark.parametrize(
    "storage", [framed.SHORT, framed.INT, framed.FLOAT, framed.DOUBLE, framed.CXFLOAT, framed.CXDOUBLE]
)
def test_samples_of_every_storage_type_become_complex64(storage: int) -> None:
    header, samples = objects(framed.acquisition(5, 3, 2, storage=storage, samples=SAMPLES))
    assert isinstance(header, AcquisitionHeader)
    assert (header.scan_counter, header.number_of_samples, header.active_channels) == (5, 3, 2)
    assert samples.dtype == np.complex64
    expected = np.array(SAMPLES, np.float32).view(np.complex64).reshape(2, 3)
    assert np.array_equal(samples, expected)
    assert samples.flags.writeable


@pytest.mark.parametrize("storage", [0, 1, 3, 5, 6, 11, 99, 100, 2**32 - 1])
def test_samples_of_no_complex_type_are_refused(storage: int) -> None:
    data = bytearray(framed.acquisition())
    struct.pack_into("<I", data, 8, storage)
    with pytest.raises(MalformedMessageError, match=f"storage type of an acquisition is .*{storage}"):
        decode_entity(bytes(data))


@pytest.mark.parametrize("storage", [framed.SHORT, framed.FLOAT, framed.DOUBLE])
@pytest.mark.parametrize(("n_samples", "n_channels"), [(0, 2), (3, 0), (0, 0)])
def test_a_readout_of_nothing_has_its_shape(storage: int, n_samples: int, n_channels: int) -> None:
    _, samples = objects(framed.acquisition(1, n_samples, n_channels, storage=storage))
    assert samples.shape == (n_channels, n_samples)


def test_a_trajectory_is_before_the_samples() -> None:
    body = struct.pack("<6f", *range(6)) + struct.pack("<6f", 1, 0, 2, 0, 3, 0)
    data = bytearray(framed.acquisition(1, 3, 1, samples=b""))
    struct.pack_into("<I", data, 204, 2)
    _, samples, trajectory = objects(bytes(data) + body)
    assert samples.tolist() == [[1, 2, 3]]
    assert trajectory.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_double_too_large_for_a_float_is_refused_and_infinity_is_not() -> None:
    with pytest.raises(MalformedMessageError, match="too large"):
        objects(framed.acquisition(1, 1, 1, storage=framed.DOUBLE, samples=[1e300, 0]))
    _, samples = objects(framed.acquisition(1, 1, 1, storage=framed.DOUBLE, samples=[float("inf"), 0]))
    assert np.isinf(samples[0, 0])


@pytest.mark.parametrize("storage_type", STORAGE)
def test_images_of_every_storage_type_become_messages(storage_type: StorageType) -> None:
    storage = STORAGE[storage_type]
    pixels = np.arange(24).reshape(2, 1, 3, 4).astype(storage.pixel)
    header, array = objects(framed.image(pixels.tobytes(), (2, 1, 3, 4), storage_type))
    assert isinstance(header, ImageHeader)
    assert array.dtype == storage.message_pixel
    assert np.array_equal(array, pixels)
    assert tuple(header.matrix_size) == (4, 3, 1)
    numbers = {1: "u2", 2: "i2", 3: "u4", 4: "i4", 5: "f4", 6: "f8", 7: "c8", 8: "c16"}
    assert np.dtype(numbers[header.data_type]) == array.dtype


@pytest.mark.parametrize("storage_type", [StorageType.UINT64, StorageType.INT64])
def test_a_pixel_that_does_not_fit_is_an_error(storage_type: StorageType) -> None:
    pixels = np.array([2**40], STORAGE[storage_type].pixel)
    with pytest.raises(LimitExceeded, match=f"image pixel .* is {2**40}"):
        objects(framed.image(pixels.tobytes(), (1, 1, 1, 1), storage_type))


def test_a_negative_pixel_that_does_not_fit_is_an_error() -> None:
    pixels = np.array([-(2**40)], "<i8")
    with pytest.raises(LimitExceeded, match=f"image pixel .* is -{2**40}"):
        objects(framed.image(pixels.tobytes(), (1, 1, 1, 1), framed.INT64))


def test_attributes_become_meta() -> None:
    xml = b"<ismrmrdMeta><meta><name>a</name><value>1</value></meta></ismrmrdMeta>\0"
    _, _, meta = objects(framed.image(bytes(4), (1, 1, 1, 1), framed.FLOAT, xml))
    assert isinstance(meta, Meta)
    assert meta["a"] == "1"


def test_attributes_that_are_no_meta_are_an_error() -> None:
    with pytest.raises(MalformedMessageError, match="meta attributes"):
        objects(framed.image(bytes(4), (1, 1, 1, 1), framed.FLOAT, b"abc"))


def test_waveforms_become_whole_numbers() -> None:
    header, values = objects(framed.waveform([0, 1, 2**32 - 1]))
    assert isinstance(header, WaveformHeader)
    assert (header.channels, header.number_of_samples, header.time_stamp) == (1, 3, 7)
    assert values.dtype == np.uint32
    assert values.tolist() == [[0, 1, 2**32 - 1]]


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0**32, float("nan"), float("inf")])
def test_a_waveform_sample_that_does_not_fit_is_named(value: float) -> None:
    with pytest.raises(MalformedMessageError, match="waveform sample 2 is"):
        objects(framed.waveform([0, 1, value]))


def test_a_waveform_of_another_storage_type_is_refused() -> None:
    data = bytearray(framed.waveform([1]))
    struct.pack_into("<I", data, 8, framed.FLOAT)
    with pytest.raises(MalformedMessageError, match="storage type of a waveform"):
        decode_entity(bytes(data))


def test_a_blob_becomes_bytes_with_a_name() -> None:
    assert objects(framed.blob(b"what it is", b"\0\1\2")) == [b"\0\1\2", "what it is"]


def acquisition_message(trajectory: bool = False) -> MessageBlock:
    header = AcquisitionHeader()
    header.version = 1
    header.number_of_samples, header.active_channels, header.available_channels = 4, 2, 3
    header.trajectory_dimensions = 2 if trajectory else 0
    header.sample_time_us = 2.5
    samples = (np.arange(8) * (1 + 2j)).astype(np.complex64).reshape(2, 4)
    parts = [samples, np.arange(8, dtype=np.float32).reshape(4, 2)] if trajectory else [samples]
    return make_message(header, *parts)


def image_message(dtype: str, meta: bool = False) -> MessageBlock:
    header = ImageHeader()
    header.version, header.channels, header.image_series_index = 1, 2, 3
    header.matrix_size[:] = (4, 3, 1)
    header.data_type = {"u2": 1, "i2": 2, "u4": 3, "i4": 4, "f4": 5, "f8": 6, "c8": 7, "c16": 8}[dtype]
    pixels = np.arange(24).astype(dtype).reshape(2, 1, 3, 4)
    return make_message(header, pixels, Meta({"a": "1", "b": ["2", "3"]})) if meta else make_message(header, pixels)


def waveform_message() -> MessageBlock:
    header = WaveformHeader()
    header.version, header.channels, header.number_of_samples = 1, 2, 3
    header.waveform_id, header.flags, header.scan_counter = 5, 2**40, 9
    return make_message(header, np.arange(6, dtype=np.uint32).reshape(2, 3))


MESSAGES = {
    "readout": acquisition_message(),
    "readout with trajectory": acquisition_message(trajectory=True),
    "waveform": waveform_message(),
    "blob": make_message(b"data", "name"),
    **{f"image {dtype}": image_message(dtype) for dtype in ("u2", "i2", "u4", "i4", "f4", "f8", "c8", "c16")},
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_messages_come_back_as_they_were(message: MessageBlock) -> None:
    data = encode_entity(from_message(message, LIMITS))
    back = objects(data)
    for block, found in zip(blocks(message), back, strict=True):
        sent = block.object  # type: ignore[attr-defined]  # all of them are containers
        if isinstance(sent, np.ndarray):
            assert found.dtype == sent.dtype
            assert np.array_equal(found, sent)
        elif isinstance(sent, bytes | str):
            assert found == sent
        else:
            assert bytes(found) == bytes(sent)


@pytest.mark.parametrize("storage_type", STORAGE)
def test_pixels_of_every_storage_type_are_sent_as_they_are(storage_type: StorageType) -> None:
    header = ImageHeader()
    header.channels, header.matrix_size[:] = 1, (3, 1, 1)
    pixels = np.arange(3).astype(STORAGE[storage_type].pixel).reshape(1, 1, 1, 3)
    entity = decode_entity(encode_entity(from_message(make_message(header, pixels), LIMITS)))
    assert isinstance(entity, Image)
    assert entity.storage_type == storage_type
    assert entity.pixels.dtype == pixels.dtype
    assert np.array_equal(entity.pixels, pixels)


def test_meta_comes_back() -> None:
    header, _, meta = objects(encode_entity(from_message(image_message("f4", meta=True), LIMITS)))
    assert meta == {"a": "1", "b": ["2", "3"]}
    assert header.attribute_string_len > 0


def test_pixels_that_are_not_contiguous_are_sent_as_they_look() -> None:
    header = ImageHeader()
    header.channels, header.matrix_size[:] = 1, (3, 2, 1)
    pixels = np.arange(6, dtype=np.float32).reshape(3, 2).T.reshape(1, 1, 2, 3)
    _, found = objects(encode_entity(from_message(make_message(header, pixels), LIMITS)))
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (make_message("text"), "no form"),
        (MessageBlock(), "no form"),
        (make_message(AcquisitionHeader()), "data is missing"),
        (make_message(AcquisitionHeader(), np.zeros((1, 1), np.complex64)), r"shape \(1, 1\)"),
        (make_message(AcquisitionHeader(), np.zeros((0, 0), np.float32)), "data is missing"),
        (make_message(ImageHeader(), np.zeros((1, 1, 1, 1), np.float32)), "pixels has shape"),
        (make_message(ImageHeader(), np.zeros((0, 0, 0, 0), np.bool_)), "bool"),
        (make_message(WaveformHeader()), "data is missing"),
    ],
)
def test_what_has_no_form_is_refused(message: MessageBlock, words: str) -> None:
    with pytest.raises(MalformedMessageError, match=words):
        from_message(message, LIMITS)


def test_a_trajectory_that_contradicts_the_header_is_refused() -> None:
    message = acquisition_message(trajectory=True)
    message.object.trajectory_dimensions = 3  # type: ignore[attr-defined]  # a container
    with pytest.raises(MalformedMessageError, match="trajectory"):
        from_message(message, LIMITS)


def test_parameters_become_the_xml_header() -> None:
    assert encode_entity(from_message(config_message(b"<a/>"), LIMITS)).endswith(b"<a/>")


def test_forms_are_known_by_the_first_block() -> None:
    assert has_entity_form([(ImageHeader, object)])
    assert has_entity_form([(str,), (AcquisitionHeader,)])
    assert has_entity_form([(bytes, str)])
    assert not has_entity_form([(str,)])
    assert not has_entity_form([()])
    assert not has_entity_form([])


def test_samples_and_pixels_are_views_of_what_was_received() -> None:
    acquisition = decode_entity(framed.acquisition())
    assert isinstance(acquisition, Acquisition)
    assert acquisition.samples.base is not None
    image = decode_entity(framed.image(bytes(4), (1, 1, 1, 1), framed.FLOAT))
    assert isinstance(image, Image)
    assert image.pixels.base is not None
