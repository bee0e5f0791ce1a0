"""Base classes of the readers and writers: one message kind each, loaded by name like gadgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from gadgetron.message import MessageBlock
from gadgetron.message_types import MessageType

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream


class GadgetMessageReader:
    """Deserializes one kind of message. Subclass this, set `slot` and `emits`, and implement `read`."""

    slot: ClassVar[int]
    """Message id this reader serves unless a configuration says otherwise."""

    emits: ClassVar[tuple[MessageType, ...]] = ()
    """Types of the messages it makes, for the check of a chain before data arrives."""

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the rest of a message whose id has just been read.

        Called in the session's reader thread. Check every length against `gadgetron.limits` before reading that much.
        A view that `stream.read_exactly` returns may be kept as it is: the stream never writes to it again.

        Raises
        ------
        ProtocolError
            If the bytes make no sense.
        ConnectionLost
            If the stream ends inside the message (raised by the stream).
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement read")


class GadgetMessageWriter:
    """Serializes one kind of message. Subclass this, set `slot` and `accepts`, and implement `write`."""

    slot: ClassVar[int]
    """Id that `output_ready` names to choose this writer, unless a configuration says otherwise."""

    accepts: ClassVar[tuple[MessageType, ...]] = ()
    """Types of messages it can write: what falls off the chain's end goes to the first writer that accepts it."""

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one message, its id first. Called in the session's writer task."""
        raise NotImplementedError(f"{type(self).__name__} does not implement write")

    def write_many(self, stream: ByteStream, messages: Sequence[MessageBlock]) -> None:
        """Write several messages in order; override where that is cheaper than one by one."""
        for message in messages:
            self.write(stream, message)
            stream.mark_message()
