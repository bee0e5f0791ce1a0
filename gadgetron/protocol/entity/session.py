"""What the two ends of a framed session share: what was agreed in the handshake, and what came last."""

from __future__ import annotations

from dataclasses import dataclass, field

from gadgetron.protocol.entity.control import Handshake
from gadgetron.protocol.entity.streams import OutputStreams
from gadgetron.protocol.entity.tables import SEED, CommandType, Dialect, EntityType


@dataclass
class EntitySession:
    """The state of one framed session.

    Attributes
    ----------
    dialect
        How the peer writes; it is answered in kind.
    handshake
        What the peer sent first; None before.
    is_accepted
        Whether it has been answered with "accepted".
    output_streams
        Where output goes.
    last_entity_type, last_command_type, last_command_id
        What came last: an error says at what it happened.
    """

    dialect: Dialect = SEED
    handshake: Handshake | None = None
    is_accepted: bool = False
    output_streams: OutputStreams = field(default_factory=OutputStreams)
    last_entity_type: int = EntityType.HANDSHAKE
    last_command_type: int = CommandType.NONE
    last_command_id: int = 0
