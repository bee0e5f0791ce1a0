"""Dependency queries (1019): the answer to which earlier measurements (noise, for instance) the server still has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ismrmrd import Meta

from gadgetron.errors import MalformedMessageError
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.meta import parse_meta, serialize_meta
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U64, read_bytes_u64

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream


class DependencyQueryReader(GadgetMessageReader):
    """Reads answers to dependency queries: makes messages of one Meta."""

    slot: ClassVar[int] = MessageID.DEPENDENCY_QUERY
    emits: ClassVar[tuple[MessageType, ...]] = ((Meta,),)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the answer behind an id."""
        limit = stream.limits.max_attribute_bytes
        text = read_bytes_u64(stream, "dependency query bytes", limit).rstrip(b"\0")
        return GadgetContainerMessage(parse_meta(text, "a dependency query", limit) if text else Meta())


class DependencyQueryWriter(GadgetMessageWriter):
    """Writes answers to dependency queries."""

    slot: ClassVar[int] = MessageID.DEPENDENCY_QUERY
    accepts: ClassVar[tuple[MessageType, ...]] = ((Meta,),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one answer.

        Raises
        ------
        LimitExceeded
            If it is longer than a reader would take.
        """
        meta = as_container_message(message, Meta)
        if meta is None:
            raise MalformedMessageError(f"{message!r}: an answer to a dependency query is one Meta")
        text = serialize_meta(meta.object, "a dependency query", stream.limits.max_attribute_bytes)
        stream.write(U16.pack(MessageID.DEPENDENCY_QUERY) + U64.pack(len(text)) + text)
