"""The client's side of the framed protocol: the handshake, what it sends besides data, and what it receives."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING

from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetronError,
    ProtocolError,
    RemoteError,
    UnexpectedMessageError,
)
from gadgetron.limits import LIMITS, Limits, check
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.protocol.entity.codec import EntityCodec
from gadgetron.protocol.entity.control import ErrorReport, Handshake, ManifestEntry, XmlHeader
from gadgetron.protocol.entity.entities import Entity, frame_buffers, read_entity
from gadgetron.protocol.entity.frames import FrameLimits, read_frame_head
from gadgetron.protocol.entity.session import EntitySession
from gadgetron.protocol.entity.streams import InputStreams, OutputStreams
from gadgetron.protocol.entity.tables import (
    ACQUISITION_STREAM,
    SEED,
    CommandType,
    ConfigurationType,
    ConnectionStatus,
    EntityType,
    StorageType,
    entity_name,
)
from gadgetron.protocol.wire import text_of

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream

WAVEFORM_STREAM = 100
MANIFEST = (
    ManifestEntry(ACQUISITION_STREAM, EntityType.ACQUISITION, StorageType.FLOAT),
    ManifestEntry(SEED.header_stream, EntityType.XML_HEADER, StorageType.NONE),
    ManifestEntry(WAVEFORM_STREAM, EntityType.WAVEFORM, StorageType.DOUBLE),
)
"""What our client declares. Images it sends, and blobs, go on the next free streams."""

DENIAL_PATIENCE_S = 2.0  # for the ERROR behind a handshake that denies

_REASONS: dict[int, str] = {
    ConnectionStatus.DENIED_UNKNOWN_USER: "unknown user",
    ConnectionStatus.DENIED_SERVER_BUSY: "server busy",
    ConnectionStatus.DENIED_MANIFEST_ERROR: "manifest error",
}


class EntityClient:
    """What a client needs to know of a framed session.

    Parameters
    ----------
    name
        What the client calls itself.
    """

    def __init__(self, name: str = "gadgetron", limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._frame_limits = FrameLimits(limits)
        self._name = name.encode()
        session = EntitySession(is_accepted=True, output_streams=OutputStreams(MANIFEST))
        self.codec = EntityCodec(session)
        self._streams = InputStreams(MANIFEST, limits)
        self.n_commands = 0

    def shake_hands(self, stream: ByteStream, timeout_s: float) -> None:
        """Introduce ourselves, and wait for the answer.

        Raises
        ------
        RemoteError
            If the server denies the connection; the text says why.
        PeerTimeout
            If it does not answer in time.
        ConnectionLost
            If it hangs up.
        ProtocolError
            If its answer is none.
        """
        handshake = Handshake(
            time.time_ns(),  # the standard wants the time of day here; nothing is measured by it
            ConnectionStatus.REQUEST,
            self._name,
            MANIFEST,
            SEED.handshake_stream,
        )
        stream.write(*frame_buffers(handshake))
        stream.phase_deadline = monotonic() + timeout_s
        answer = self.read(stream)
        if answer is None:
            raise ConnectionLost("the server hung up instead of answering the handshake: does it speak this protocol?")
        if isinstance(answer, ErrorReport):
            raise RemoteError(text_of(answer.description))
        if not isinstance(answer, Handshake):
            raise UnexpectedMessageError(f"got {entity_name(answer.entity_type)} instead of an answer to the handshake")
        if answer.connection_status != ConnectionStatus.ACCEPTED:
            raise RemoteError(self._denial(stream, answer.connection_status))
        stream.phase_deadline = None

    def _denial(self, stream: ByteStream, status: int) -> str:
        text = f"the connection was denied: {_REASONS.get(status, f'status {status}')}"
        stream.phase_deadline = monotonic() + DENIAL_PATIENCE_S
        try:
            report = self.read(stream)
        except GadgetronError:
            return text  # it is told, if not in full
        return f"{text}: {text_of(report.description)}" if isinstance(report, ErrorReport) else text

    def read(self, stream: ByteStream) -> Entity | None:
        """Read one entity; None if the stream ends before it."""
        head = read_frame_head(stream, self._frame_limits)
        if head is None:
            return None
        self._streams.check(head)
        return read_entity(stream, head)

    # What is sent besides data

    def configuration_file(self, name: str) -> bytes:
        """Make the command that names one of the server's configurations.

        Raises
        ------
        ConfigurationError
            If it is no name.
        """
        data = name.encode()
        if not data or b"\0" in data:
            raise ConfigurationError("the configuration's name is empty, or has a NUL character in it")
        return self._command(CommandType.CONFIGURATION, ConfigurationType.FILE, data)

    def configuration_script(self, xml: bytes) -> bytes:
        """Make the command that carries a configuration."""
        return self._command(CommandType.CONFIGURATION, ConfigurationType.ENCLOSED, xml)

    def parameters(self, data: bytes) -> bytes:
        """Make the XML header."""
        check("parameters bytes", len(data), self._limits.max_header_bytes)
        return b"".join(frame_buffers(XmlHeader(data, SEED.header_stream)))

    def close(self) -> bytes:
        """Make the command that says that no more comes."""
        return self._command(CommandType.STOP)

    def text(self, _text: str) -> bytes:
        """Refuse: there is no entity for it."""
        raise ProtocolError("the framed protocol has no texts")

    def query(self, _number: int, _question: bytes) -> bytes:
        """Refuse: there is no entity for it."""
        raise ProtocolError("the framed protocol has no queries: ask by the classic one")

    def _command(
        self,
        command_type: CommandType,
        config_type: ConfigurationType = ConfigurationType.NONE,
        config: bytes = b"",
    ) -> bytes:
        check("configuration bytes", len(config), self._limits.max_config_bytes)
        self.n_commands += 1
        stream = MemoryStream()
        self.codec.write_command(
            stream, command_type, config_type=config_type, config=config, command_id=self.n_commands
        )
        return bytes(stream.written)
