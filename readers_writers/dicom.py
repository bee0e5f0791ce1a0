"""DICOM files (1018), as opaque bytes with a name and perhaps meta attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ismrmrd import Meta

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.meta import parse_meta, serialize_meta
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U32, U64, read_bytes_u32, read_bytes_u64, text_of

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream

MAX_NAME_BYTES = 4096
MAX_U32 = 2**32 - 1


class DicomImageReader(GadgetMessageReader):
    """Reads DICOM files: makes messages of the file (bytes), its name (str), and Meta where there is any.

    The name is the sender's: it is no path, and nobody should open a file by it.
    """

    slot: ClassVar[int] = MessageID.DICOM_WITHNAME
    emits: ClassVar[tuple[MessageType, ...]] = ((bytes, str), (bytes, str, Meta))

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the file behind an id."""
        data = read_bytes_u32(stream, "DICOM file bytes", stream.limits.max_blob_bytes)
        name = text_of(read_bytes_u64(stream, "DICOM file name bytes", MAX_NAME_BYTES))
        limit = stream.limits.max_attribute_bytes
        text = read_bytes_u64(stream, "DICOM meta attributes bytes", limit).rstrip(b"\0")
        meta = GadgetContainerMessage(parse_meta(text, "a DICOM file", limit)) if text else None
        message = GadgetContainerMessage(data, GadgetContainerMessage(name, meta))
        message.charge(len(data))
        return message


class DicomImageWriter(GadgetMessageWriter):
    """Writes DICOM files: messages as the reader makes them."""

    slot: ClassVar[int] = MessageID.DICOM_WITHNAME
    accepts: ClassVar[tuple[MessageType, ...]] = ((bytes, str),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one file.

        Raises
        ------
        LimitExceeded
            If file, name or meta attributes are longer than a reader would take.
        """
        file = as_container_message(message, bytes)
        name = as_container_message(message.cont, str)
        if file is None or name is None:
            raise MalformedMessageError(f"{message!r}: a DICOM file is bytes and str (its name)")
        check("DICOM file bytes", len(file.object), min(stream.limits.max_blob_bytes, MAX_U32))
        name_data = name.object.encode("utf-8", errors="replace")
        check("DICOM file name bytes", len(name_data), MAX_NAME_BYTES)
        meta = as_container_message(name.cont, Meta)
        text = b"" if meta is None else serialize_meta(meta.object, "a DICOM file", stream.limits.max_attribute_bytes)
        stream.write(
            U16.pack(MessageID.DICOM_WITHNAME) + U32.pack(len(file.object)),
            file.object or b"",
            U64.pack(len(name_data)) + name_data + U64.pack(len(text)) + text,
        )
