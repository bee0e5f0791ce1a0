"""Texts (5): one message for people, `ERROR …` when a reconstruction failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U32, read_bytes_u32, text_of

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream


class TextReader(GadgetMessageReader):
    """Reads texts: makes messages of one str."""

    slot: ClassVar[int] = MessageID.TEXT
    emits: ClassVar[tuple[MessageType, ...]] = ((str,),)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the text behind an id."""
        return GadgetContainerMessage(text_of(read_bytes_u32(stream, "text bytes", stream.limits.max_text_bytes)))


class TextWriter(GadgetMessageWriter):
    """Writes texts, as UTF-8."""

    slot: ClassVar[int] = MessageID.TEXT
    accepts: ClassVar[tuple[MessageType, ...]] = ((str,),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one text.

        Raises
        ------
        LimitExceeded
            If it is longer than a reader would take.
        """
        text = as_container_message(message, str)
        if text is None:
            raise MalformedMessageError(f"{message!r}: a text is one str")
        data = text.object.encode("utf-8", errors="replace")
        check("text bytes", len(data), stream.limits.max_text_bytes)
        stream.write(U16.pack(MessageID.TEXT) + U32.pack(len(data)) + data)


GadgetMessageTextWriter = TextWriter
