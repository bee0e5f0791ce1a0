"""How a connector says what is no data: in the classic protocol, or in the framed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from ismrmrd import AcquisitionHeader, ImageHeader, WaveformHeader

from gadgetron.errors import ConnectionLost, RemoteError, UnexpectedMessageError
from gadgetron.limits import Limits
from gadgetron.message import MessageBlock, config_message
from gadgetron.message_io import GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.protocol import classic_client
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.protocol.entity.client import EntityClient
from gadgetron.protocol.entity.control import Command, ErrorReport, Handshake, XmlHeader
from gadgetron.protocol.entity.data import Acquisition, Image, Waveform
from gadgetron.protocol.entity.messages import to_message
from gadgetron.protocol.entity.tables import CommandType, command_name, entity_name
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import text_of


class ClientWire(Protocol):
    """What a client says besides data, as bytes."""

    def shake_hands(self, stream: ByteStream, timeout_s: float) -> None:
        """Begin the session, on a stream nobody else uses yet."""

    def configuration_file(self, name: str) -> bytes:
        """Make what names a configuration."""

    def configuration_script(self, xml: bytes) -> bytes:
        """Make what carries a configuration."""

    def parameters(self, data: bytes) -> bytes:
        """Make what carries parameters."""

    def text(self, text: str) -> bytes:
        """Make a line for the server's log."""

    def query(self, number: int, question: bytes) -> bytes:
        """Make a question."""

    def close(self) -> bytes:
        """Make what says that no more comes."""


class ClassicWire:
    """The classic protocol's."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def shake_hands(self, stream: ByteStream, timeout_s: float) -> None:
        """Do nothing: a classic session begins with what is sent first."""

    def configuration_file(self, name: str) -> bytes:
        """Make CONFIG_FILE."""
        return classic_client.configuration_file_frame(name)

    def configuration_script(self, xml: bytes) -> bytes:
        """Make CONFIG_SCRIPT."""
        return classic_client.configuration_script_frame(xml, self._limits)

    def parameters(self, data: bytes) -> bytes:
        """Make HEADER."""
        return classic_client.parameters_frame(data, self._limits)

    def text(self, text: str) -> bytes:
        """Make TEXT."""
        return classic_client.text_frame(text, self._limits)

    def query(self, number: int, question: bytes) -> bytes:
        """Make QUERY."""
        return classic_client.query_frame(number, question, self._limits)

    def close(self) -> bytes:
        """Make CLOSE."""
        return classic_client.CLOSE_FRAME


class EntityWriter(GadgetMessageWriter):
    """Writes every message that has an entity form, for a client.

    Parameters
    ----------
    client
        Whose codec chooses the streams.
    """

    slot: ClassVar[int] = MessageID.ISMRMRD_ACQUISITION
    accepts: ClassVar[tuple[MessageType, ...]] = ((AcquisitionHeader,), (WaveformHeader,), (ImageHeader,), (bytes, str))

    def __init__(self, client: EntityClient) -> None:
        self._codec = client.codec

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one message."""
        self._codec.write_messages(stream, [message])

    def write_many(self, stream: ByteStream, messages: Sequence[MessageBlock]) -> None:
        """Write messages in as few system calls as possible."""
        self._codec.write_messages(stream, messages)


def entity_writers(client: EntityClient) -> dict[int, GadgetMessageWriter]:
    """Give the writer of each message id that has an entity form: always the same one."""
    writer = EntityWriter(client)
    ids = (MessageID.ISMRMRD_ACQUISITION, MessageID.ISMRMRD_WAVEFORM, MessageID.ISMRMRD_IMAGE, MessageID.DICOM_WITHNAME)
    return dict.fromkeys(map(int, ids), writer)


def read_result(client: EntityClient, stream: ByteStream, limits: Limits) -> tuple[int, MessageBlock] | None:
    """Read what a server sends: a message with the id that the classic protocol has for it, or None at DONE.

    Raises
    ------
    RemoteError
        If the server reports an error.
    ConnectionLost
        If it hangs up before DONE.
    """
    entity = client.read(stream)
    if entity is None:
        raise ConnectionLost("the server hung up without DONE: results may be missing")
    if isinstance(entity, ErrorReport):
        raise RemoteError(text_of(entity.description))
    if isinstance(entity, Command):
        if entity.command_type in (CommandType.DONE, CommandType.CLOSE_CONNECTION):
            return None
        raise UnexpectedMessageError(f"the server sent the command {command_name(entity.command_type)}")
    if isinstance(entity, Handshake):
        raise UnexpectedMessageError(f"the server sent {entity_name(entity.entity_type)} again")
    if isinstance(entity, XmlHeader):
        return MessageID.HEADER, config_message(entity.xml)
    message = to_message(entity, limits)
    if isinstance(entity, Acquisition):
        return MessageID.ISMRMRD_ACQUISITION, message
    if isinstance(entity, Waveform):
        return MessageID.ISMRMRD_WAVEFORM, message
    return MessageID.ISMRMRD_IMAGE if isinstance(entity, Image) else MessageID.DICOM_WITHNAME, message
