"""Every kind of message: what is written is read back, whole, in pieces, or not at all."""

from __future__ import annotations

import struct
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import ConnectionLost
from gadgetron.message import GadgetContainerMessage, matches
from gadgetron.protocol.byte_stream import MemoryStream
from tests.readers_writers.messages import KINDS, Kind, assert_same, every_kind, objects, read_back, written


@every_kind()
@pytest.mark.parametrize("chunk_bytes", [0, 1, 7, 341])
def test_what_is_written_is_read_back(kind: Kind, chunk_bytes: int) -> None:
    message = kind.message()
    data = written(kind.writer, message)
    assert struct.unpack_from("<H", data) == (kind.message_id,)
    assert_same(message, read_back(kind.reader, data, chunk_bytes))


@every_kind()
def test_a_message_cut_at_any_byte_is_a_lost_connection(kind: Kind) -> None:
    data = written(kind.writer, kind.message())
    for end in range(2, len(data)):
        stream = MemoryStream(data[:end])
        stream.read_u16()
        with pytest.raises(ConnectionLost, match="inside a message"):
            kind.reader.read(stream)


@every_kind()
def test_many_messages_in_one_call_are_the_same_bytes_as_one_by_one(kind: Kind) -> None:
    messages = [kind.message() for _ in range(600)]
    stream = MemoryStream()
    kind.writer.write_many(stream, messages)
    assert bytes(stream.written) == b"".join(written(kind.writer, message) for message in messages)


@every_kind()
def test_readers_and_writers_declare_what_they_emit_and_accept(kind: Kind) -> None:
    message = kind.message()
    assert any(matches(message, accepted) for accepted in kind.writer.accepts)
    emitted = read_back(kind.reader, written(kind.writer, message))
    n_blocks = len(objects(emitted))
    assert any(len(types) == n_blocks and matches(emitted, types) for types in kind.reader.emits)


@every_kind()
def test_arrays_are_writable_contiguous_and_weigh_their_own_bytes(kind: Kind) -> None:
    message = read_back(kind.reader, written(kind.writer, kind.message()))
    n_bytes = 0
    for item in objects(message):
        if isinstance(item, np.ndarray):
            assert item.flags.writeable
            assert item.flags.c_contiguous
            n_bytes += item.nbytes
    assert n_bytes <= message.nbytes < n_bytes + 10_000


def test_two_messages_from_one_receive_block_do_not_share_memory() -> None:
    kind = KINDS["acquisition"]
    stream = MemoryStream(2 * written(kind.writer, kind.message()))
    first, second = (objects(kind.reader.read(stream)) for _ in range(2) if stream.read_u16())
    first[1][:] = 7
    first[0].scan_counter = 1
    assert not np.any(second[1] == 7)
    assert second[0].scan_counter == 77


@pytest.mark.parametrize("name", ["acquisition-trajectory", "waveform", "image-complex64", "legacy-float"])
def test_arrays_need_not_be_contiguous_to_be_written(name: str) -> None:
    kind = KINDS[name]
    message = kind.message()
    expected = written(kind.writer, message)
    block = message.cont
    while isinstance(block, GadgetContainerMessage):
        if isinstance(block.object, np.ndarray):
            block.object = np.asfortranarray(np.repeat(block.object, 2, axis=-1))[..., ::2]
        block = block.cont
    assert written(kind.writer, message) == expected


def test_a_writer_does_not_change_the_message() -> None:
    kind = KINDS["image-float32"]
    message = kind.message()
    before = bytes(objects(message)[0])
    written(kind.writer, message)
    assert bytes(objects(message)[0]) == before


@pytest.mark.parametrize(
    ("name", "item_class"),
    [("acquisition-trajectory", ismrmrd.Acquisition), ("image-uint16", ismrmrd.Image), ("waveform", ismrmrd.Waveform)],
)
def test_the_ismrmrd_package_reads_and_writes_the_same_bytes(name: str, item_class: Any) -> None:
    kind = KINDS[name]
    message = kind.message()
    for item in objects(message):
        if isinstance(item, ismrmrd.Meta):
            del item["Empty"]  # which the package reads as None and writes as "None"
    theirs = item_class.from_bytes(written(kind.writer, message)[2:])
    assert np.array_equal(theirs.data, objects(message)[1])
    assert_same(message, read_back(kind.reader, struct.pack("<H", kind.message_id) + theirs.to_bytes()))
