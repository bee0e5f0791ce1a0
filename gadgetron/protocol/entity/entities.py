"""Every entity there is: from bytes, and to bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gadgetron.errors import ConnectionLost
from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.protocol.entity.control import Blob, Command, ErrorReport, Handshake, XmlHeader
from gadgetron.protocol.entity.data import Acquisition, Image, Waveform
from gadgetron.protocol.entity.frames import FrameHead, FrameLimits, frame_start, pack_head, read_frame_head
from gadgetron.protocol.entity.tables import SEED, Dialect, EntityType
from gadgetron.protocol.wire import U64

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import Buffer, ByteStream

DataEntity = Acquisition | Waveform | Image | Blob
Entity = Handshake | Command | Acquisition | Waveform | Image | XmlHeader | ErrorReport | Blob

CLASSES: dict[int, type[Entity]] = {
    EntityType.HANDSHAKE: Handshake,
    EntityType.COMMAND: Command,
    EntityType.ACQUISITION: Acquisition,
    EntityType.WAVEFORM: Waveform,
    EntityType.IMAGE: Image,
    EntityType.XML_HEADER: XmlHeader,
    EntityType.ERROR: ErrorReport,
    EntityType.BLOB: Blob,
}


DATA_CLASSES: dict[int, type[DataEntity]] = {
    EntityType.ACQUISITION: Acquisition,
    EntityType.WAVEFORM: Waveform,
    EntityType.IMAGE: Image,
    EntityType.BLOB: Blob,
}


def read_data(stream: ByteStream, head: FrameHead) -> DataEntity:
    """Read an entity whose type is in DATA_CLASSES; otherwise as `read_entity`."""
    return DATA_CLASSES[head.entity_type].read(stream, head)


def read_entity(stream: ByteStream, head: FrameHead) -> Entity:
    """Read the entity behind a frame's head: every byte of the frame, and none more.

    Raises
    ------
    LimitExceeded
        If anything in it is larger than allowed. Nothing has been allocated for it then.
    MalformedMessageError
        If the frame is longer or shorter than its entity, or its numbers make no sense.
    ConnectionLost
        If the stream ends inside it.
    """
    return CLASSES[head.entity_type].read(stream, head)


def frame_buffers(entity: Entity, dialect: Dialect = SEED) -> list[Buffer]:
    """Make the frame of an entity, as buffers for one gathered write."""
    parts = entity.parts()
    n_bytes = sum(memoryview(part).nbytes for part in parts)
    return [frame_start(entity.entity_type, entity.storage_type, entity.stream, n_bytes, dialect), *parts]


def encode_entity(entity: Entity) -> bytes:
    """Serialize an entity without the size of the frame."""
    head = pack_head(entity.entity_type, entity.storage_type, entity.stream)
    return head + b"".join(bytes(memoryview(part).cast("B")) for part in entity.parts())


def decode_entity(data: bytes, limits: Limits = LIMITS) -> Entity:
    """Parse an entity without the size of the frame.

    Raises
    ------
    ProtocolError
        As `read_entity`.
    """
    stream = MemoryStream(U64.pack(len(data)) + data, limits=limits)
    head = read_frame_head(stream, FrameLimits(limits))
    if head is None:
        raise ConnectionLost("the data ends before its entity header")
    return read_entity(stream, head)
