"""The entities that steer a session: handshake, command, error, XML header. And blobs, which are as simple."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from gadgetron.limits import check
from gadgetron.protocol.entity.frames import Cursor, FrameHead, pack_head, wrong_length
from gadgetron.protocol.entity.tables import (
    CommandType,
    ConfigurationType,
    ConnectionStatus,
    EntityType,
    ErrorType,
    StorageType,
)
from gadgetron.protocol.wire import U32

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream

_HANDSHAKE = struct.Struct("<Q3I")
_MANIFEST_ENTRY = struct.Struct("<3I")
_COMMAND = struct.Struct("<4I")
_ERROR = struct.Struct("<5I")


class ManifestEntry(NamedTuple):
    """What one stream carries."""

    stream: int
    entity_type: int
    storage_type: int


@dataclass(slots=True)
class Handshake:
    """The first entity of a session, and the answer to it.

    Attributes
    ----------
    timestamp
        When the client began, by its clock; the answer repeats it.
    client_name
        As it was sent; conventionally UTF-8.
    """

    entity_type: ClassVar[EntityType] = EntityType.HANDSHAKE

    timestamp: int = 0
    connection_status: int = ConnectionStatus.NOT_ASSIGNED
    client_name: bytes = b""
    manifest: tuple[ManifestEntry, ...] = ()
    stream: int = 0
    storage_type: int = StorageType.NONE

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header."""
        limits = stream.limits
        cursor = Cursor(head, stream.read_exactly(head.n_bytes))
        timestamp, status, name_bytes, n_entries = cursor.unpack(_HANDSHAKE, "timestamp to manifest_size")
        check("client_name_length", name_bytes, limits.max_client_name_bytes)
        check("manifest_size", n_entries, limits.max_manifest_entries)
        name = bytes(cursor.take(name_bytes, f"client_name_length {name_bytes}"))
        entries = cursor.take(_MANIFEST_ENTRY.size * n_entries, f"manifest_size {n_entries}")
        cursor.end()
        manifest = tuple(ManifestEntry(*entry) for entry in _MANIFEST_ENTRY.iter_unpack(entries))
        return cls(timestamp, status, name, manifest, head.stream, head.storage_type)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        start = _HANDSHAKE.pack(self.timestamp, self.connection_status, len(self.client_name), len(self.manifest))
        return [start + self.client_name + b"".join(_MANIFEST_ENTRY.pack(*entry) for entry in self.manifest)]


@dataclass(slots=True)
class Command:
    """Something to do, or done."""

    entity_type: ClassVar[EntityType] = EntityType.COMMAND

    command_type: int = CommandType.NONE
    command_id: int = 0
    config_type: int = ConfigurationType.NONE
    config: bytes = b""
    entities: tuple[int, ...] = ()
    stream: int = 0
    storage_type: int = StorageType.NONE

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header."""
        limits = stream.limits
        cursor = Cursor(head, stream.read_exactly(head.n_bytes))
        command_type, command_id, config_type, config_bytes = cursor.unpack(_COMMAND, "command_type to config_length")
        check("config_length", config_bytes, limits.max_config_bytes)
        config = bytes(cursor.take(config_bytes, f"config_length {config_bytes}"))
        (n_entities,) = cursor.unpack(U32, "n_entities")
        check("n_entities", n_entities, limits.max_command_entities)
        entities = cursor.take(4 * n_entities, f"n_entities {n_entities}")
        cursor.end()
        return cls(
            command_type,
            command_id,
            config_type,
            config,
            struct.unpack(f"<{n_entities}I", entities),
            head.stream,
            head.storage_type,
        )

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        start = _COMMAND.pack(self.command_type, self.command_id, self.config_type, len(self.config))
        n_entities = len(self.entities)
        return [start + self.config + struct.pack(f"<I{n_entities}I", n_entities, *self.entities)]


@dataclass(slots=True)
class ErrorReport:
    """What went wrong, at which command or entity."""

    entity_type: ClassVar[EntityType] = EntityType.ERROR

    error_type: int = ErrorType.UNKNOWN
    command_type: int = CommandType.NONE
    command_id: int = 0
    failed_entity_type: int = EntityType.COMMAND
    description: bytes = b""
    stream: int = 0
    storage_type: int = StorageType.NONE

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header."""
        cursor = Cursor(head, stream.read_exactly(head.n_bytes))
        error_type, command_type, command_id, failed, n_bytes = cursor.unpack(
            _ERROR, "error_type to description_length"
        )
        check("description_length", n_bytes, stream.limits.max_text_bytes)
        description = bytes(cursor.take(n_bytes, f"description_length {n_bytes}"))
        cursor.end()
        return cls(error_type, command_type, command_id, failed, description, head.stream, head.storage_type)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        numbers = (self.error_type, self.command_type, self.command_id, self.failed_entity_type)
        return [_ERROR.pack(*numbers, len(self.description)) + self.description]


@dataclass(slots=True)
class XmlHeader:
    """The ISMRMRD header of a scan."""

    entity_type: ClassVar[EntityType] = EntityType.XML_HEADER

    xml: bytes = b""
    stream: int = 1
    storage_type: int = StorageType.NONE

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header."""
        check("XML header bytes", head.n_bytes, stream.limits.max_header_bytes)
        xml = bytes(stream.read_exactly(head.n_bytes))
        if head.has_magic:  # the C++ branch leaves the copy of the entity header out here; one who has it is understood
            xml = xml.removeprefix(pack_head(head.entity_type, head.storage_type, head.stream))
        return cls(xml, head.stream, head.storage_type)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        return [self.xml]


@dataclass(slots=True)
class Blob:
    """Some binary object, with its description."""

    entity_type: ClassVar[EntityType] = EntityType.BLOB

    description: bytes = b""
    data: bytes = field(default=b"", repr=False)
    stream: int = 0
    storage_type: int = StorageType.CHAR

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header."""
        if head.n_bytes < U32.size:
            raise wrong_length(head, U32.size, "description_length")
        n_bytes = stream.read_u32()
        check("description_length", n_bytes, stream.limits.max_text_bytes)
        data_bytes = head.n_bytes - U32.size - n_bytes
        if data_bytes < 0:
            raise wrong_length(head, U32.size + n_bytes, f"description_length {n_bytes}")
        check("blob bytes", data_bytes, stream.limits.max_blob_bytes)
        description = bytes(stream.read_exactly(n_bytes))
        return cls(description, bytes(stream.read_exactly(data_bytes)), head.stream, head.storage_type)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        return [U32.pack(len(self.description)) + self.description, self.data]
