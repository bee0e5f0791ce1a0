"""Frames: a u64 size, and an entity that fills it exactly."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import Limits, check
from gadgetron.protocol.entity.tables import VERSION, Dialect, EntityType, entity_name
from gadgetron.protocol.wire import U32, U64

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream

HEAD_BYTES = 16
SIZE_BYTES = 8
HANDSHAKE_BYTES = 36
"""The smallest handshake: no name, no manifest."""

MAGIC = b"MRID"

_HEAD = struct.Struct("<4I")
_MAGIC_NUMBER = U32.unpack(MAGIC)[0]
_MAGIC_EXTRA_BYTES = len(MAGIC) + HEAD_BYTES


class FrameHead(NamedTuple):
    """The entity header of a frame, and how much follows it.

    Attributes
    ----------
    n_bytes
        Bytes behind the entity header, to the end of the frame.
    has_magic
        Whether "MRID" and another copy of the header came before.
    """

    entity_type: int
    storage_type: int
    stream: int
    n_bytes: int
    has_magic: bool = False


class FrameLimits:
    """How large frames may be.

    Attributes
    ----------
    largest
        Of any type [bytes].
    of_type
        By entity type [bytes].
    """

    def __init__(self, limits: Limits) -> None:
        self.of_type = _largest_of_type(limits)
        self.largest = max(self.of_type.values())


def _largest_of_type(limits: Limits) -> dict[int, int]:
    most_control_bytes = 1024  # the fixed fields of any entity
    body_bytes = {
        EntityType.HANDSHAKE: limits.max_handshake_bytes - most_control_bytes,
        EntityType.COMMAND: limits.max_config_bytes + 4 * limits.max_command_entities,
        EntityType.ACQUISITION: limits.max_acquisition_bytes * 2,  # doubles weigh twice what they are in a message
        EntityType.WAVEFORM: limits.max_waveform_bytes * 2,
        EntityType.IMAGE: limits.max_image_bytes + limits.max_attribute_bytes,
        EntityType.XML_HEADER: limits.max_header_bytes,
        EntityType.ERROR: limits.max_text_bytes,
        EntityType.BLOB: limits.max_blob_bytes + limits.max_text_bytes,
    }
    return {entity_type: n_bytes + most_control_bytes for entity_type, n_bytes in body_bytes.items()}


def read_frame_head(stream: ByteStream, limits: FrameLimits) -> FrameHead | None:
    """Read the size and the entity header of a frame; None if the stream ends before it.

    Nothing is allocated for what follows.

    Raises
    ------
    LimitExceeded
        If the frame is larger than any of its type may be.
    MalformedMessageError
        If the frame is too short for a header, the version is not ours, or the entity type is unknown.
    """
    start = stream.read_frame_start(SIZE_BYTES)
    if start is None:
        return None
    (frame_bytes,) = U64.unpack(start)
    if frame_bytes < HEAD_BYTES:
        raise MalformedMessageError(f"frame_size is {frame_bytes} — the entity header alone has {HEAD_BYTES} bytes")
    if frame_bytes > limits.largest:
        check("frame_size", frame_bytes, limits.largest)
    head_bytes = stream.read_exactly(HEAD_BYTES)
    version, entity_type, storage_type, number = _HEAD.unpack(head_bytes)
    if version == _MAGIC_NUMBER:
        return _read_magic_head(stream, frame_bytes, bytes(head_bytes), limits)
    head = FrameHead(entity_type, storage_type, number, frame_bytes - HEAD_BYTES)
    if version != VERSION or frame_bytes > limits.of_type.get(entity_type, 0):
        _refuse(version, head, frame_bytes, limits)
    return head


def _refuse(version: int, head: FrameHead, frame_bytes: int, limits: FrameLimits) -> None:
    if version != VERSION:
        raise MalformedMessageError(f"entity version is {version} — expected {VERSION}")
    limit = limits.of_type.get(head.entity_type)
    if limit is None:
        raise MalformedMessageError(f"entity type is {head.entity_type} — known are 0 to {max(EntityType)}")
    check(f"frame_size of {entity_name(head.entity_type)}", frame_bytes, limit)


def _read_magic_head(stream: ByteStream, frame_bytes: int, first: bytes, limits: FrameLimits) -> FrameHead:
    """Read the head of a frame that begins with "MRID", whose first 16 bytes have been read."""
    rest_bytes = frame_bytes - _MAGIC_EXTRA_BYTES
    if rest_bytes < 0:
        raise MalformedMessageError(
            f"frame_size is {frame_bytes} — MRID and an entity header have {_MAGIC_EXTRA_BYTES} bytes"
        )
    copied = first[len(MAGIC) :] + bytes(stream.read_exactly(len(MAGIC)))
    version, entity_type, storage_type, number = _HEAD.unpack(copied)
    head = FrameHead(entity_type, storage_type, number, rest_bytes, True)
    _refuse(version, head, frame_bytes, limits)
    if entity_type == EntityType.XML_HEADER:
        return head
    if rest_bytes < HEAD_BYTES:
        raise MalformedMessageError(f"frame_size is {frame_bytes} — {entity_name(entity_type)} does not fit")
    if bytes(stream.read_exactly(HEAD_BYTES)) != copied:
        raise MalformedMessageError(f"the two entity headers of a frame differ: {entity_name(entity_type)}")
    return head._replace(n_bytes=rest_bytes - HEAD_BYTES)


def pack_head(entity_type: int, storage_type: int, stream: int) -> bytes:
    """Make an entity header."""
    return _HEAD.pack(VERSION, entity_type, storage_type, stream)


def frame_start(entity_type: int, storage_type: int, stream: int, n_bytes: int, dialect: Dialect) -> bytes:
    """Make what comes before n bytes of an entity: frame size and entity header, as a peer of this dialect has them."""
    head = _HEAD.pack(VERSION, entity_type, storage_type, stream)
    if not dialect.has_magic:
        return U64.pack(HEAD_BYTES + n_bytes) + head
    if entity_type == EntityType.XML_HEADER:
        return U64.pack(_MAGIC_EXTRA_BYTES + n_bytes) + MAGIC + head
    return U64.pack(_MAGIC_EXTRA_BYTES + HEAD_BYTES + n_bytes) + MAGIC + head + head


def wrong_length(head: FrameHead, expected: int, why: str) -> MalformedMessageError:
    """Make the error of a frame that is longer or shorter than its entity."""
    found = HEAD_BYTES + head.n_bytes
    how = "longer" if head.n_bytes > expected else "shorter"
    return MalformedMessageError(
        f"the frame of {entity_name(head.entity_type)} on stream {head.stream} is {how} than its entity: "
        f"{found} bytes — {HEAD_BYTES + expected} expected ({why})"
    )


class Cursor:
    """Takes fields off the body of an entity, whose length has been checked against a limit.

    Parameters
    ----------
    body
        Everything behind the entity header.
    """

    def __init__(self, head: FrameHead, body: memoryview) -> None:
        self._head = head
        self._body = body
        self._position = 0

    def unpack(self, layout: struct.Struct, field: str) -> tuple[Any, ...]:
        """Take numbers."""
        return layout.unpack(self.take(layout.size, field))

    def take(self, n_bytes: int, field: str) -> memoryview:
        """Take bytes."""
        end = self._position + n_bytes
        if end > len(self._body):
            raise wrong_length(self._head, end, field)
        piece = self._body[self._position : end]
        self._position = end
        return piece

    def end(self) -> None:
        """Make sure that there is no more."""
        if self._position != len(self._body):
            raise wrong_length(self._head, self._position, "all its fields")
