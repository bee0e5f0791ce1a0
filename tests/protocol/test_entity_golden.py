"""Entities that the C++ library wrote: they decode to what it says, and encode to the same bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from gadgetron.errors import ConnectionLost, GadgetronError, MalformedMessageError
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.protocol.entity.control import Command, ErrorReport, Handshake
from gadgetron.protocol.entity.data import (
    ACQUISITION_FIELDS,
    ACQUISITION_HEADER_BYTES,
    IMAGE_FIELDS,
    IMAGE_HEADER_BYTES,
    WAVEFORM_HEADER_BYTES,
    Acquisition,
    Image,
    Waveform,
)
from gadgetron.protocol.entity.entities import decode_entity, encode_entity, read_entity
from gadgetron.protocol.entity.frames import HEAD_BYTES, FrameLimits, read_frame_head
from tests.reference import reference_file, reference_files

FILES = reference_files("golden/entity", "*.bin")


def golden(name: str) -> bytes:
    return reference_file("golden", "entity", f"{name}.bin").read_bytes()


@pytest.mark.parametrize("path", FILES)
def test_decodes_and_encodes_to_the_same_bytes(path: Path) -> None:
    data = path.read_bytes()
    assert encode_entity(decode_entity(data)) == data


@pytest.mark.parametrize("path", FILES)
def test_every_truncation_is_an_error(path: Path) -> None:
    data = path.read_bytes()
    frame = struct.pack("<Q", len(data)) + data
    stream_limits = FrameLimits(MemoryStream().limits)
    for length in range(1, len(frame)):
        stream = MemoryStream(frame[:length])
        with pytest.raises(ConnectionLost):
            head = read_frame_head(stream, stream_limits)
            if head is not None:
                read_entity(stream, head)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("change", [-16, -8, -1, 1, 8, 16])
def test_a_frame_longer_or_shorter_than_its_entity_is_an_error(path: Path, change: int) -> None:
    data = path.read_bytes()
    wrong = data + bytes(change) if change > 0 else data[:change]
    with pytest.raises(MalformedMessageError, match=r"longer|shorter"):
        decode_entity(wrong)


@pytest.mark.parametrize("name", ["info.txt", "2x_info.txt"])
def test_layouts_are_those_of_the_cpp_library(name: str) -> None:
    layouts = {"AcquisitionHeader": ACQUISITION_FIELDS, "ImageHeader": IMAGE_FIELDS}
    sizes = {
        "AcquisitionHeader": ACQUISITION_HEADER_BYTES,
        "ImageHeader": IMAGE_HEADER_BYTES,
        "WaveformHeader": WAVEFORM_HEADER_BYTES,
    }
    n_checked = 0
    for line in reference_file("golden", "entity", name).read_text().splitlines():
        words = line.split()
        if words[0] == "sizeof":
            told = dict(zip(words[1::2], map(int, words[2::2]), strict=True))
            for header, size in sizes.items():
                assert told.get(header, size) == size
        elif words[0] == "off" and words[2] not in ("version", "entity_type", "storage_type", "stream"):
            dtype, offset = layouts[words[1]].fields[words[2]][:2]
            assert (offset + HEAD_BYTES, dtype.itemsize) == (int(words[3]), int(words[4])), line
            n_checked += 1
    assert n_checked > 30


def test_control_entities_hold_what_was_put_in() -> None:
    handshake = decode_entity(golden("2x_handshake"))
    assert isinstance(handshake, Handshake)
    assert handshake.timestamp == 0x0102030405060708
    assert handshake.connection_status == 201
    assert handshake.client_name.decode() == "Client é"
    assert handshake.manifest == ((5002, 2, 7), (50, 5, 100))
    command = decode_entity(golden("2x_command_config"))
    assert isinstance(command, Command)
    assert (command.command_type, command.command_id, command.config_type) == (1004, 9, 701)
    assert command.config == b"default.xml"
    entities = decode_entity(golden("2x_command_entities"))
    assert isinstance(entities, Command)
    assert entities.entities == (0x07058BB0, 0x5598)
    report = decode_entity(golden("2x_error"))
    assert isinstance(report, ErrorReport)
    assert (report.error_type, report.command_type, report.command_id, report.failed_entity_type) == (20001, 1004, 0, 2)
    assert report.description == b"bad data"


def test_data_entities_hold_what_was_put_in() -> None:
    acquisition = decode_entity(golden("acq_f32_traj"))
    assert isinstance(acquisition, Acquisition)
    fields = acquisition.fields
    n_samples, n_channels = int(fields["number_of_samples"]), int(fields["active_channels"])
    assert acquisition.samples.shape == (n_channels, n_samples)
    assert acquisition.trajectory is not None
    assert acquisition.trajectory.shape == (n_samples, fields["trajectory_dimensions"])
    assert acquisition.samples[0, :3].tolist() == [0, 1 - 1j, 2 - 2j]
    shorts = decode_entity(golden("2x_acq_i16"))
    assert isinstance(shorts, Acquisition)
    assert shorts.samples[0, :3].tolist() == [[0, 0], [1, -1], [2, -2]]
    image = decode_entity(golden("img_f32_attr"))
    assert isinstance(image, Image)
    assert image.attributes == b"<ismrmrdMeta/>"
    assert image.pixels.shape == (2, 3, 4, 5)
    assert image.pixels[1, 2, 3, 4] == image.pixels.max()
    waveform = decode_entity(golden("2x_waveform"))
    assert isinstance(waveform, Waveform)
    assert waveform.fields["number_of_samples"] == 5
    assert np.array_equal(waveform.samples, np.zeros(5))


@pytest.mark.parametrize("path", FILES)
def test_bytes_of_another_type_never_escape_as_anything_but_our_errors(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for entity_type in range(10):
        struct.pack_into("<I", data, 4, entity_type)
        try:
            decode_entity(bytes(data))
        except GadgetronError:
            continue
