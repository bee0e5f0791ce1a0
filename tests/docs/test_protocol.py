"""docs/protocol.md: its client of plain sockets works, and its tables say what the headers and the limits are."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import ismrmrd
import pytest

from gadgetron.limits import LIMITS, MIB
from gadgetron.protocol.arrays import IMAGE_DTYPES
from gadgetron.protocol.message_ids import MessageID
from tests.docs.pages import DOCS, read_blocks, run_page

PAGE = DOCS / "protocol.md"
TEXT = PAGE.read_text(encoding="utf-8")
TYPES = {
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
    "i32": ctypes.c_int32,
    "f32": ctypes.c_float,
}


@pytest.mark.slow
def test_the_client_of_plain_sockets_gets_its_image(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    run_page(PAGE, folder)


def test_the_client_has_thirty_lines() -> None:
    (client,) = (block for block in read_blocks(PAGE) if block.file_name == "raw_client.py")
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


def _sizes(*names: str) -> str:
    return ", ".join(_size(getattr(LIMITS, name)) for name in names)


def _size(n_bytes: int) -> str:
    if n_bytes >= 1024 * MIB:
        return f"{n_bytes // (1024 * MIB)} GiB"
    return f"{n_bytes // MIB} MiB" if n_bytes >= MIB else f"{n_bytes // 1024} KiB"
