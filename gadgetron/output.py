"""What goes out of a session: messages for writers, and the two ends of a session that the engine knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gadgetron.errors import GadgetronError
from gadgetron.message import MessageBlock

if TYPE_CHECKING:
    from gadgetron.controller import GadgetStreamController
    from gadgetron.message_io import GadgetMessageWriter


@dataclass(frozen=True, slots=True)
class Output:
    """One message on its way out.

    Attributes
    ----------
    message_id
        The slot it was put for, or the writer's own.
    message
        The blocks that the writer takes.
    writer
        Who can serialize it; None for the few messages that every protocol has a form for (TEXT, RESPONSE, HEADER).
    """

    message_id: int
    message: MessageBlock
    writer: GadgetMessageWriter | None


@dataclass(frozen=True, slots=True)
class QueryResponse:
    """The answer to a QUERY."""

    correlation_id: int
    data: bytes


class MessageSource(Protocol):
    """Where a session's messages come from."""

    def run(self, controller: GadgetStreamController) -> None:
        """Read messages and hand them to the controller until the end of the input. In the session's own thread.

        Returns at the close message and at the end of the input on a message boundary; raises what is wrong otherwise,
        and QueueClosed after `wake`.
        """

    def wake(self) -> None:
        """Make `run` or `watch` return soon. From any thread; idempotent."""

    def watch(self, timeout_s: float) -> bool:
        """Wait, reading nothing, until `wake` or the timeout; True if the peer has gone for good."""

    def finish(self) -> None:
        """End the connection in order, after the last output. Idempotent."""


class MessageSink(Protocol):
    """Where a session's messages go."""

    def open(self) -> None:
        """Get ready."""

    def put_many(self, outputs: Sequence[Output]) -> None:
        """Take messages, in order. From any thread.

        Raises
        ------
        QueueClosed
            If nothing is taken any more.
        """

    def abort(self, error: GadgetronError | None = None) -> None:
        """Drop what has not been begun; refuse what comes; have this error delivered by `finish`. Idempotent."""

    def finish(self, error: GadgetronError | None) -> None:
        """Deliver what is left, then the error if there is one, then the end; return when done, or failed."""

    @property
    def written(self) -> int:
        """Messages delivered."""

    @property
    def dropped(self) -> int:
        """Messages dropped."""
