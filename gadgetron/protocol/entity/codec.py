"""Writes output in the framed protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetError,
    GadgetronError,
    ManifestError,
    ProtocolError,
    RemoteError,
    ServerBusy,
    ShuttingDown,
    StorageError,
    UnknownUserError,
)
from gadgetron.message import GadgetContainerMessage, MessageBlock
from gadgetron.output import Output
from gadgetron.protocol.entity.control import Command, ErrorReport, Handshake, XmlHeader
from gadgetron.protocol.entity.data import Image
from gadgetron.protocol.entity.entities import Entity, frame_buffers
from gadgetron.protocol.entity.messages import from_message
from gadgetron.protocol.entity.session import EntitySession
from gadgetron.protocol.entity.tables import CommandType, ConnectionStatus, ErrorType
from gadgetron.protocol.message_ids import MessageID

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import Buffer, ByteStream

_DENIALS: tuple[tuple[type[GadgetronError], ConnectionStatus], ...] = (
    (UnknownUserError, ConnectionStatus.DENIED_UNKNOWN_USER),
    (ServerBusy, ConnectionStatus.DENIED_SERVER_BUSY),
    (ShuttingDown, ConnectionStatus.DENIED_SERVER_BUSY),
    (ManifestError, ConnectionStatus.DENIED_MANIFEST_ERROR),
)

_ERROR_TYPES: tuple[tuple[type[GadgetronError], ErrorType], ...] = (
    (ManifestError, ErrorType.MANIFEST),
    (ProtocolError, ErrorType.INPUT_DATA),
    (ConfigurationError, ErrorType.INPUT_DATA),
    (ConnectionLost, ErrorType.INPUT_DATA),
    (RemoteError, ErrorType.INPUT_DATA),
    (GadgetError, ErrorType.INTERNAL),
    (StorageError, ErrorType.INTERNAL),
    (ServerBusy, ErrorType.INTERNAL),
    (ShuttingDown, ErrorType.INTERNAL),
)


class EntityCodec:
    """Writes messages as entities, failures as ERROR, and the end as DONE.

    Parameters
    ----------
    session
        What the source has learned of the peer.
    """

    def __init__(self, session: EntitySession | None = None) -> None:
        self.session = session or EntitySession()

    def write_many(self, stream: ByteStream, outputs: Sequence[Output]) -> None:
        """Write messages in order, in as few system calls as possible.

        Texts for people are left out, this protocol has no form for them; they are in the server's log.
        """
        self.write_messages(stream, [output.message for output in outputs if output.message_id != MessageID.TEXT])

    def write_messages(self, stream: ByteStream, messages: Sequence[MessageBlock]) -> None:
        """Write messages in order."""
        buffers: list[Buffer] = []
        for message in messages:
            buffers += self._buffers(message, stream)
        stream.write(*buffers)
        stream.mark_message()

    def _buffers(self, message: MessageBlock, stream: ByteStream) -> list[Buffer]:
        session = self.session
        entity = from_message(message, stream.limits)
        series = 0
        if isinstance(entity, Image) and isinstance(message, GadgetContainerMessage):
            series = message.object.image_series_index
        elif isinstance(entity, XmlHeader):
            entity.storage_type = session.dialect.control_storage
        entity.stream = session.output_streams.choose(entity.entity_type, entity.storage_type, series)
        return frame_buffers(entity, session.dialect)

    def write_entity(self, stream: ByteStream, entity: Entity) -> None:
        """Write an entity whose stream has been chosen."""
        stream.write(*frame_buffers(entity, self.session.dialect))
        stream.mark_message()

    def write_handshake(self, stream: ByteStream, status: ConnectionStatus) -> None:
        """Answer the peer's handshake: its own words, with this status."""
        dialect = self.session.dialect
        handshake = self.session.handshake or Handshake()
        answer = replace(
            handshake,
            connection_status=status,
            stream=dialect.handshake_stream,
            storage_type=dialect.control_storage,
        )
        self.write_entity(stream, answer)

    def write_command(self, stream: ByteStream, command_type: CommandType, **fields: Any) -> None:
        """Write a command."""
        dialect = self.session.dialect
        command = Command(command_type, stream=dialect.command_stream, storage_type=dialect.control_storage, **fields)
        self.write_entity(stream, command)

    def write_error(self, stream: ByteStream, error: GadgetronError) -> None:
        """Tell the peer what went wrong: an answer that denies, if the handshake has none yet, and ERROR."""
        session = self.session
        if session.handshake is not None and not session.is_accepted:
            status = next((status for kind, status in _DENIALS if isinstance(error, kind)), None)
            if status is not None:
                self.write_handshake(stream, status)
        report = ErrorReport(
            error_type_of(error),
            session.last_command_type,
            session.last_command_id,
            session.last_entity_type,
            error.client_text.encode("utf-8", errors="replace"),
            session.dialect.error_stream,
            session.dialect.control_storage,
        )
        self.write_entity(stream, report)

    def write_close(self, stream: ByteStream) -> None:
        """Write DONE."""
        self.write_command(stream, CommandType.DONE)


def error_type_of(error: GadgetronError) -> ErrorType:
    """Say whose doing an error is, by the numbers of the protocol."""
    return next((number for kind, number in _ERROR_TYPES if isinstance(error, kind)), ErrorType.UNKNOWN)
