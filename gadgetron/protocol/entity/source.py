"""Reads a session's messages in the framed protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from gadgetron.errors import (
    ConfigurationError,
    MalformedMessageError,
    ServerBusy,
    UnexpectedMessageError,
    UnknownUserError,
)
from gadgetron.limits import LIMITS, Limits
from gadgetron.message import MessageBlock, config_message
from gadgetron.protocol.entity.codec import EntityCodec
from gadgetron.protocol.entity.control import Command, ErrorReport, Handshake, XmlHeader
from gadgetron.protocol.entity.entities import read_data, read_entity
from gadgetron.protocol.entity.frames import FrameHead, FrameLimits, read_frame_head
from gadgetron.protocol.entity.messages import FORMS, has_entity_form, to_message
from gadgetron.protocol.entity.streams import InputStreams, OutputStreams, check_manifest
from gadgetron.protocol.entity.tables import (
    MRID,
    SEED,
    CommandType,
    ConfigurationType,
    ConnectionStatus,
    EntityType,
    StorageType,
    command_name,
    entity_name,
)
from gadgetron.protocol.stream_source import StreamSource
from gadgetron.protocol.wire import text_of

if TYPE_CHECKING:
    from gadgetron.chain import Chain
    from gadgetron.controller import GadgetStreamController
    from gadgetron.protocol.byte_stream import ByteStream

log = structlog.get_logger()

_DATA = (EntityType.ACQUISITION, EntityType.IMAGE, EntityType.WAVEFORM, EntityType.BLOB)
_COMMANDS = frozenset(int(kind) for kind in CommandType)
_DEFAULT_CONFIGURATIONS = (
    ConfigurationType.NONE,
    ConfigurationType.RECON_SHORT,
    ConfigurationType.RECON_INT,
    ConfigurationType.RECON_FLOAT,
    ConfigurationType.RECON_DOUBLE,
)


class EntitySource(StreamSource):
    """Reads entities from a stream: the handshake, which it answers, then whatever comes until STOP.

    Data messages are handed over in batches: whatever has arrived when the stream would have to wait.

    Parameters
    ----------
    stream
        Where to read; finished and closed by `finish`.
    codec
        What writes to the same stream. The source itself writes the answer to the handshake, before any output.
    """

    def __init__(self, stream: ByteStream, codec: EntityCodec, limits: Limits = LIMITS) -> None:
        super().__init__(stream, limits)
        self._codec = codec
        self._session = codec.session
        self._frame_limits = FrameLimits(limits)
        self._streams = InputStreams(limits=limits)

    def run(self, controller: GadgetStreamController) -> None:
        """Read until STOP, or the end of the stream on a frame boundary."""
        stream, session, limits = self.stream, self._session, self._limits
        batch: list[MessageBlock] = []
        max_batch = limits.queue_messages

        def hand_over() -> None:
            if batch:
                messages = batch[:]
                batch.clear()
                controller.data(messages)

        controller.check_chain = check_entity_forms
        stream.phase_deadline = controller.phase_deadline
        if not self._shake_hands(controller):
            controller.end_of_input()
            return
        stream.phase_deadline = None  # whoever has been accepted may take any time to configure
        stream.before_wait = hand_over
        is_streaming = False
        try:
            while True:
                head = read_frame_head(stream, self._frame_limits)
                if head is None:
                    hand_over()
                    controller.end_of_input()
                    return
                session.last_entity_type = head.entity_type
                self._streams.check(head)
                if head.entity_type in _DATA:
                    if not is_streaming:
                        self._get_ready_for_data(controller)
                        is_streaming = True
                    batch.append(to_message(read_data(stream, head), limits))
                    if len(batch) >= max_batch:
                        hand_over()
                    continue
                hand_over()
                if not self._read_control(head, controller):
                    return
        finally:
            stream.before_wait = None

    def watch(self, timeout_s: float) -> bool:
        """Wait until `wake` or the timeout.

        A peer that hangs up after STOP is let go: it may be a calibration, which takes nothing. Who has gone although
        there is output for it is noticed when that is written.
        """
        self.stream.wait_for_wake(timeout_s)
        return False

    # The handshake

    def _shake_hands(self, controller: GadgetStreamController) -> bool:
        """Read the handshake and answer it; False if the stream ends before it."""
        stream, session = self.stream, self._session
        head = read_frame_head(stream, self._frame_limits)
        if head is None:
            return False
        session.last_entity_type = head.entity_type
        dialect = MRID if head.has_magic else SEED
        session.dialect = dialect
        if head.entity_type != EntityType.HANDSHAKE:
            raise UnexpectedMessageError(
                f"got {entity_name(head.entity_type)} first: a session begins with a handshake"
            )
        if head.storage_type == StorageType.CHAR:
            session.dialect = replace(dialect, control_storage=StorageType.CHAR)
        handshake = Handshake.read(stream, head)
        if handshake.connection_status not in (ConnectionStatus.REQUEST, ConnectionStatus.NOT_ASSIGNED):
            raise UnexpectedMessageError(
                f"the handshake's connection status is {handshake.connection_status} — expected 201, a request"
            )
        session.handshake = handshake
        self._admit(handshake, head, controller)
        self._codec.write_handshake(stream, ConnectionStatus.ACCEPTED)
        session.is_accepted = True
        log.info("session.framed", dialect=dialect.name, n_declared=len(handshake.manifest))
        return True

    def _admit(self, handshake: Handshake, head: FrameHead, controller: GadgetStreamController) -> None:
        environment = controller.environment
        if environment.known_clients and text_of(handshake.client_name) not in environment.known_clients:
            raise UnknownUserError(f"no client called {text_of(handshake.client_name)[:80]!r} is served here")
        check_manifest(handshake.manifest)
        self._streams = InputStreams(handshake.manifest, self._limits)
        self._streams.check(head)
        session = self._session
        session.output_streams = OutputStreams(handshake.manifest, session.dialect, self._streams.types)
        admission = environment.admission
        if admission.active >= admission.max_sessions:
            raise ServerBusy(f"{admission.active} reconstructions are running, as many as this server allows")

    # Everything else

    def _get_ready_for_data(self, controller: GadgetStreamController) -> None:
        """Have a chain that takes data, before any is read; refuse it otherwise."""
        if controller.awaits_configuration:
            controller.default_configuration()
        controller.begin_without_parameters()
        controller.data(())

    def _read_control(self, head: FrameHead, controller: GadgetStreamController) -> bool:
        """Read an entity that is not data; False after STOP."""
        entity = read_entity(self.stream, head)
        if isinstance(entity, Command):
            return self._obey(entity, controller)
        if isinstance(entity, XmlHeader):
            if controller.awaits_configuration:
                controller.default_configuration()
            controller.parameters(config_message(entity.xml))
        elif isinstance(entity, ErrorReport):
            controller.peer_error(text_of(entity.description))
        else:
            raise UnexpectedMessageError(f"got {entity_name(head.entity_type)} again: a session has one handshake")
        return True

    def _obey(self, command: Command, controller: GadgetStreamController) -> bool:
        session, kind = self._session, command.command_type
        session.last_command_type, session.last_command_id = kind, command.command_id
        if kind in (CommandType.STOP, CommandType.CLOSE_CONNECTION):
            controller.end_of_input()
            return False
        if kind == CommandType.CONFIGURATION:
            self._configure(command, controller)
        elif kind in _COMMANDS and kind != CommandType.NONE:
            raise UnexpectedMessageError(f"command {command_name(kind)} means nothing to this server")
        elif kind != CommandType.NONE:
            raise MalformedMessageError(f"command_type is {kind} — known are 1000 to 1004 and 2001 to 2004")
        session.last_command_type, session.last_command_id = CommandType.NONE, 0
        return True

    @staticmethod
    def _configure(command: Command, controller: GadgetStreamController) -> None:
        if command.config_type == ConfigurationType.FILE:
            controller.configuration_file(_file_name(command.config))
        elif command.config_type == ConfigurationType.ENCLOSED:
            controller.configuration_script(command.config)
        elif command.config_type in _DEFAULT_CONFIGURATIONS:
            controller.default_configuration()
        else:
            raise MalformedMessageError(f"config_type is {command.config_type} — known are 700 to 706")


def _file_name(config: bytes) -> str:
    name = config.rstrip(b"\0")
    if not name:
        raise MalformedMessageError("the configuration file name is empty")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedMessageError("the configuration file name is not UTF-8 text") from error


def check_entity_forms(chain: Chain) -> None:
    """Refuse a chain with a reader or a writer whose messages no entity can carry.

    Raises
    ------
    ConfigurationError
        Naming each one, with its slot.
    """
    forms = ", ".join(name for _, name in FORMS)
    readers = [(slot, reader, reader.emits) for slot, reader in chain.readers.items()]
    writers = [(slot, writer, writer.accepts) for slot, writer in chain.writers.items()]
    refused = [
        f"{type(component).__name__} (slot {slot})"
        for slot, component, types in [*readers, *writers]
        if not has_entity_form(types)
    ]
    if refused:
        raise ConfigurationError(
            f"the framed protocol has no form for the messages of {', '.join(refused)} — it has {forms}"
        )
