"""One port, two protocols: a peer's first bytes tell which one it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from gadgetron.errors import GadgetronError, PeerTimeout, UnexpectedMessageError
from gadgetron.limits import LIMITS, Limits
from gadgetron.output import Output
from gadgetron.protocol.classic import ClassicCodec, ClassicSource
from gadgetron.protocol.entity.codec import EntityCodec
from gadgetron.protocol.entity.control import Handshake
from gadgetron.protocol.entity.frames import HANDSHAKE_BYTES, SIZE_BYTES, FrameLimits, read_frame_head
from gadgetron.protocol.entity.session import EntitySession
from gadgetron.protocol.entity.source import EntitySource
from gadgetron.protocol.entity.tables import MRID, SEED, EntityType
from gadgetron.protocol.stream_source import StreamSource

if TYPE_CHECKING:
    from gadgetron.controller import GadgetStreamController
    from gadgetron.protocol.byte_stream import ByteStream

log = structlog.get_logger()

SIZE_PATIENCE_S = 0.5  # from one byte of a frame's size to the next


class Protocols(Enum):
    """Which protocols a port serves."""

    BOTH = "both"
    CLASSIC = "classic"
    ENTITY = "entity"


def is_framed(stream: ByteStream) -> bool:
    """Tell from a connection's first bytes whether a framed handshake begins; they are not taken.

    A classic session begins with a u16 from 1 to 8; a framed one with the u64 size of a handshake, 36 to 65535, whose
    last six bytes are zero. No more bytes are waited for than needed to see that it is not framed; and not for long,
    since a size arrives in one piece.

    Raises
    ------
    ConnectionLost
        If the stream ends inside what could be the size of a handshake.
    PeerTimeout
        If nothing comes in time.
    """
    start = stream.peek(2)
    if start is None or start[0] | start[1] << 8 < HANDSHAKE_BYTES:
        return False
    phase_deadline = stream.phase_deadline
    try:
        for n_bytes in range(3, SIZE_BYTES + 1):
            deadline = monotonic() + SIZE_PATIENCE_S
            stream.phase_deadline = deadline if phase_deadline is None else min(deadline, phase_deadline)
            start = stream.peek(n_bytes)
            if start is None or start[-1]:
                return False
    except PeerTimeout:
        return (
            False  # then the first two bytes were a message id, and its sender waits to be told what is wrong with it
        )
    finally:
        stream.phase_deadline = phase_deadline
    return True


class DetectedCodec:
    """Writes in the protocol that was detected; in the classic one before."""

    def __init__(self) -> None:
        self.chosen: ClassicCodec | EntityCodec = ClassicCodec()

    def write_many(self, stream: ByteStream, outputs: Sequence[Output]) -> None:
        """Write messages in order."""
        self.chosen.write_many(stream, outputs)

    def write_error(self, stream: ByteStream, error: GadgetronError) -> None:
        """Tell the peer what went wrong."""
        self.chosen.write_error(stream, error)

    def write_close(self, stream: ByteStream) -> None:
        """Tell the peer that this was all."""
        self.chosen.write_close(stream)


class DetectingSource(StreamSource):
    """Reads a session's messages in the protocol that the peer speaks.

    Parameters
    ----------
    stream
        Where to read; finished and closed by `finish`.
    codec
        What writes to the same stream.
    protocols
        Those that are served.
    """

    def __init__(
        self,
        stream: ByteStream,
        codec: DetectedCodec,
        limits: Limits = LIMITS,
        protocols: Protocols = Protocols.BOTH,
    ) -> None:
        super().__init__(stream, limits)
        self._codec = codec
        self._protocols = protocols
        self._chosen: ClassicSource | EntitySource | None = None

    def run(self, controller: GadgetStreamController) -> None:
        """Read to the end, as the protocol's own source does."""
        self.stream.phase_deadline = controller.phase_deadline
        if is_framed(self.stream):
            codec = self._codec.chosen = EntityCodec(EntitySession())
            self._check_served(Protocols.ENTITY)
            self._chosen = EntitySource(self.stream, codec, self._limits)
        else:
            self._check_served(Protocols.CLASSIC)
            self._chosen = ClassicSource(self.stream, self._limits)
        self._chosen.run(controller)

    def watch(self, timeout_s: float) -> bool:
        """Wait, as the protocol's own source does."""
        return self._chosen.watch(timeout_s) if self._chosen is not None else super().watch(timeout_s)

    def _check_served(self, spoken: Protocols) -> None:
        if self._protocols not in (Protocols.BOTH, spoken):
            raise UnexpectedMessageError(f"this port serves the {self._protocols.value} protocol only")


def refusing_codec(stream: ByteStream, patience_s: float, limits: Limits = LIMITS) -> ClassicCodec | EntityCodec:
    """Give what tells a peer, in its own protocol, that it is refused; as far as that can be seen within a time."""
    stream.phase_deadline = monotonic() + patience_s
    try:
        if not is_framed(stream):
            return ClassicCodec()
    except GadgetronError:
        return ClassicCodec()
    session = EntitySession()
    try:
        head = read_frame_head(stream, FrameLimits(limits))
        if head is not None and head.entity_type == EntityType.HANDSHAKE:
            session.dialect = MRID if head.has_magic else SEED
            session.handshake = Handshake.read(stream, head)
    except GadgetronError as error:
        log.debug("connection.no_handshake", error=str(error))
    return EntityCodec(session)
