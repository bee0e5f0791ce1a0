"""docs/protocols.md: its clients of plain sockets work, and its tables say what the headers and the limits are."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgetron.limits import LIMITS, MIB
from gadgetron.protocol.arrays import IMAGE_DTYPES
from gadgetron.protocol.entity.data import (
    ACQUISITION_FIELDS,
    ACQUISITION_HEADER_BYTES,
    IMAGE_FIELDS,
    IMAGE_HEADER_BYTES,
    WAVEFORM_FIELDS,
    WAVEFORM_HEADER_BYTES,
)
from gadgetron.protocol.entity.frames import HEAD_BYTES
from gadgetron.protocol.entity.headers import WAVEFORM_MARK
from gadgetron.protocol.entity.tables import SEED, STORAGE, CommandType, ConnectionStatus, EntityType, StorageType
from gadgetron.protocol.message_ids import MessageID
from tests.docs.pages import DOCS, read_blocks, run_page

PAGE = DOCS / "protocols.md"
CLASSIC, _, FRAMED = PAGE.read_text(encoding="utf-8").partition("\n# The framed protocol\n")
TEXT = CLASSIC
TYPES = {
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
    "i32": ctypes.c_int32,
    "f32": ctypes.c_float,
}


@pytest.mark.slow
def test_the_clients_of_plain_sockets_get_their_images(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    run_page(PAGE, folder)


@pytest.mark.parametrize("name", ["raw_client.py", "framed_client.py"])
def test_the_clients_have_thirty_lines(name: str) -> None:
    (client,) = (block for block in read_blocks(PAGE) if block.file_name == name)
    _, _, conversation = client.text.partition("with socket")
    assert len([line for line in conversation.splitlines() if line.strip()]) <= 30


@pytest.mark.parametrize(
    ("title", "structure"),
    [
        ("Acquisition header", ismrmrd.AcquisitionHeader),
        ("Image header", ismrmrd.ImageHeader),
        ("Waveform header", ismrmrd.WaveformHeader),
    ],
)
def test_the_tables_of_headers_are_the_headers(title: str, structure: type[ctypes.Structure]) -> None:
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    assert int(section.split()[0]) == ctypes.sizeof(structure)
    rows = re.findall(r"^\| (\d+) \| (\w+)(?: × (\d+))? \| (\w+) \|$", section, re.MULTILINE)
    assert [name for *_, name in rows] == [name for name, *_ in structure._fields_]
    for offset, kind, count, name in rows:
        field = getattr(structure, name)
        assert (field.offset, field.size) == (int(offset), ctypes.sizeof(TYPES[kind]) * int(count or 1)), name


def test_the_flags_and_counters_are_those_of_ismrmrd() -> None:
    section = TEXT.partition("`idx` holds")[2].partition("\n## ")[0]
    counters = re.split(r",\s+", section.partition("in this order, ")[2].partition(", and user")[0])
    assert counters == [name for name, _ in ismrmrd.EncodingCounters._fields_][:-1]
    flags = re.findall(r"(\d+)(?: is)?\s+(ACQ_\w+)", section)
    assert len(flags) == 4
    assert all(getattr(ismrmrd, name) == int(number) for number, name in flags)


def test_the_names_of_messages_are_ours() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", TEXT, re.MULTILINE)
    assert len(rows) > 12
    for number, name in rows:
        assert MessageID(int(number)).name in (name, f"{name}_FILE"), number


def test_the_data_types_are_ours() -> None:
    listed = dict(re.findall(r"(\d) ([uifc]\d+)", TEXT.partition("`data_type` is")[2].partition(".")[0]))
    wire = {
        number: re.sub(r"\d+", lambda bits: str(int(bits[0]) // 8), kind) if kind[0] != "c" else kind
        for number, kind in listed.items()
    }
    assert {int(number): kind for number, kind in wire.items()} == {
        n: dtype.str[1:] for n, dtype in IMAGE_DTYPES.items()
    }


def test_the_limits_are_ours() -> None:
    rows = dict(
        re.findall(
            r"^\| ([a-z][^|]+) \| ([^|]+) \|$", TEXT.partition("## Limits")[2].partition("\n## ")[0], re.MULTILINE
        )
    )
    assert rows["configuration, parameters, text"] == _sizes("max_config_bytes", "max_header_bytes", "max_text_bytes")
    assert rows["acquisition (trajectory and data)"] == _sizes("max_acquisition_bytes")
    assert rows["waveform"] == _sizes("max_waveform_bytes")
    assert rows["image, its meta attributes"] == _sizes("max_image_bytes", "max_attribute_bytes")
    assert rows["from connecting to the configuration"] == f"{LIMITS.handshake_deadline_s:g} s"
    assert rows["from the configuration to the parameters"] == f"{LIMITS.header_deadline_s:g} s"
    per_mib = f"{LIMITS.frame_deadline_s:g} s, and {LIMITS.frame_deadline_s_per_mib:g} s for each MiB"
    assert rows["from a message's first byte to its last"] == per_mib
    assert rows["between messages"] == f"{LIMITS.idle_between_frames_s / 60:g} min"
    assert rows["output is waiting and the client neither takes nor sends"] == f"{LIMITS.stall_s:g} s"


@pytest.mark.parametrize(
    ("title", "layout", "n_bytes", "structure"),
    [
        ("acquisition", ACQUISITION_FIELDS, ACQUISITION_HEADER_BYTES, ismrmrd.AcquisitionHeader),
        ("image", IMAGE_FIELDS, IMAGE_HEADER_BYTES, ismrmrd.ImageHeader),
        ("waveform", WAVEFORM_FIELDS, WAVEFORM_HEADER_BYTES, ismrmrd.WaveformHeader),
    ],
)
def test_the_tables_of_framed_headers_are_the_headers(
    title: str, layout: np.dtype[np.void], n_bytes: int, structure: type[ctypes.Structure]
) -> None:
    section = FRAMED.partition(f"## Framed {title} header\n")[2].partition("\n## ")[0]
    assert int(section.split()[0]) == n_bytes
    rows = re.findall(r"^\| (\d+) \| (\w+)(?: × (\d+))? \| (\w+) \|([^|]*)\|$", section, re.MULTILINE)
    assert [name for *_, name, _ in rows] == list(layout.names or ())
    classic_names = {name for name, *_ in structure._fields_}
    for offset, kind, count, name, classic in rows:
        dtype, position = (layout.fields or {})[name][:2]
        assert position + HEAD_BYTES == int(offset), name
        assert dtype.itemsize == ctypes.sizeof(TYPES[kind]) * int(count or 1), name
        assert classic.strip() in ("", "see below") or set(classic.strip().split(" × ")) <= classic_names, name


def test_the_numbers_of_the_framed_protocol_are_ours() -> None:
    def section(title: str) -> str:
        return FRAMED.partition(f"## {title}\n")[2].partition("\n## ")[0]

    entities = re.findall(r"^\| (\d) \| ([A-Z_]+) \|", section("Frames"), re.MULTILINE)
    assert [EntityType[name] for _, name in entities] == [int(number) for number, _ in entities] == list(range(8))
    storage = re.findall(
        r"^\| (\d+) \| (\w+) \| (\w*) ?\| (\w*)[^|]*\| (?:pairs of )?(\w*) ?\|$", section("Storage types"), re.MULTILINE
    )
    assert [StorageType[name] for _, name, *_ in storage] == [int(number) for number, *_ in storage]
    for number, _, pixel, message_pixel, component in storage[:-1]:
        ours = STORAGE[int(number)]
        assert _bits(pixel) == ours.pixel
        assert _bits(message_pixel) == ours.message_pixel
        assert (_bits(component) if component else None) == ours.component
    streams = dict(re.findall(r"^\| (\d+) \| (\w+)", section("Streams"), re.MULTILINE))
    assert streams["65536"].startswith("handshake")
    assert (SEED.handshake_stream, SEED.command_stream, SEED.error_stream, SEED.header_stream) == (
        65536,
        65537,
        65538,
        1,
    )
    assert str(WAVEFORM_MARK) in FRAMED
    controls = section("Handshake, command, error and blob")
    for number, name in re.findall(r"(\d{4}) ([A-Z_]{4,})", controls):
        assert CommandType[name] == int(number)
    for status in ConnectionStatus:
        assert str(int(status)) in controls


def test_the_limits_of_the_framed_protocol_are_ours() -> None:
    section = FRAMED.partition("## Limits of the framed protocol")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([a-z][^|]+) \| (\d[^|]*) \|$", section, re.MULTILINE))
    assert rows == {
        "frame of a handshake": f"{LIMITS.max_handshake_bytes} bytes",
        "client name": _size(LIMITS.max_client_name_bytes),
        "entries of a manifest": str(LIMITS.max_manifest_entries),
        "n_entities of a command": str(LIMITS.max_command_entities),
        "description of an error or a blob": _size(LIMITS.max_text_bytes),
        "blob": _size(LIMITS.max_blob_bytes),
        "streams of a session": str(LIMITS.max_streams),
    }


def _bits(kind: str) -> np.dtype[Any]:
    """The type that a table calls `u16`, or `c8` for eight bytes."""
    letter, size = kind[0], int(kind[1:])
    return np.dtype(f"<{letter}{size if letter == 'c' else size // 8}")


def _sizes(*names: str) -> str:
    return ", ".join(_size(getattr(LIMITS, name)) for name in names)


def _size(n_bytes: int) -> str:
    if n_bytes >= 1024 * MIB:
        return f"{n_bytes // (1024 * MIB)} GiB"
    return f"{n_bytes // MIB} MiB" if n_bytes >= MIB else f"{n_bytes // 1024} KiB"
