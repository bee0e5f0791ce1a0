"""Merges: the end of parallel streams. Subclass `Merge`, and take the streams' messages as they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gadgetron.errors import LimitExceeded, QueueClosed
from gadgetron.gadget import Gadget
from gadgetron.limits import LIMITS
from gadgetron.message import MessageBlock, MessageKind, ParametersMessage, close_message, matches
from gadgetron.message_types import MessageType
from gadgetron.task import Task

__all__ = ["Merge"]

BYPASS = None
"""Stands for a key where messages come by the parallel streams."""


class Merge(Gadget):
    """A gadget with several tasks upstream: the streams of a parallel node, by their keys.

    Implement `process(key, message)`, which puts results as other gadgets do. It is called for the messages of all
    streams as they arrive, in the order of each stream; there is one inbox, so no stream ever waits for another one.
    What has to wait for its counterpart is stashed: `stash`, `take`. `close` is called when every stream has ended.

    A message of a type that the merge does not take from its stream is passed on, as by other gadgets.
    """

    inputs: ClassVar[Mapping[str, tuple[MessageType, ...]] | None] = None
    """Keys of the streams that it needs, and the types that it takes from each; None for any keys and any types."""

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._gate = _Gate(self)
        self._stashes: dict[str, deque[tuple[MessageBlock, int]]] = {}
        self._stashed_nbytes = 0

    def process(self, key: str, message: MessageBlock) -> Any:
        """Process one message of a stream."""
        raise NotImplementedError(f"{type(self).__name__} does not implement process")

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Call `process` for each message with its stream's key."""
        for envelope in messages:
            key, message = _opened(envelope)
            if key is BYPASS:
                self.put_next(message)  # of no type that the branch has accepted, or it would have been an error there
            elif self.takes(key, message):
                self._check(self.process(key, message))
            else:
                self.pass_on(message)

    def takes(self, key: str, message: MessageBlock) -> bool:
        """Tell whether this merge processes a message of a stream."""
        if self.inputs is None:
            return True
        return any(matches(message, message_type) for message_type in self.inputs.get(key, ()))

    def stash(self, key: str, message: MessageBlock) -> None:
        """Keep a message until `take`.

        Raises
        ------
        LimitExceeded
            If more is stashed than one session may hold.
        """
        nbytes = message.nbytes
        if self._stashed_nbytes + nbytes > LIMITS.max_session_bytes:
            raise LimitExceeded(
                f"bytes that wait in {self.name} for another stream",
                self._stashed_nbytes + nbytes,
                LIMITS.max_session_bytes,
            )
        self._stashed_nbytes += nbytes
        self._stashes.setdefault(key, deque()).append((message, nbytes))

    def take(self, key: str) -> MessageBlock | None:
        """Give the message of a stream that was stashed first, or None if there is none."""
        waiting = self._stashes.get(key)
        if not waiting:
            return None
        message, nbytes = waiting.popleft()
        self._stashed_nbytes -= nbytes
        return message

    def n_stashed(self, key: str) -> int:
        """Give the number of messages of a stream that are stashed."""
        return len(self._stashes.get(key, ()))

    def input_for(self, key: str | None) -> Task:
        """Make the task that stands at the end of a stream; BYPASS for what comes by them. For the framework."""
        return _Inlet(self._gate, key)

    def abort(self) -> int:
        """End now: drop what is queued and wake everybody who waits here."""
        dropped = super().abort()
        self._gate.abort()
        return dropped


class _Envelope(MessageBlock):
    """A message in a merge's inbox, with the key of its stream."""

    __slots__ = ("key", "message")

    def __init__(self, key: str | None, message: MessageBlock) -> None:
        super().__init__()
        self.key = key
        self.message = message

    @property
    def own_nbytes(self) -> int:
        return self.message.nbytes


def _opened(envelope: MessageBlock) -> tuple[str | None, MessageBlock]:
    if not isinstance(envelope, _Envelope):
        raise TypeError(f"{envelope!r} was put to a merge without the key of its stream")
    return envelope.key, envelope.message


class _Inlet(Task):
    """The end of one stream: has no thread; who puts here puts to the merge's inbox."""

    def __init__(self, gate: _Gate, key: str | None) -> None:
        super().__init__(f"input {key}")
        self._gate = gate
        self._key = key
        gate.add(key)

    def putq(self, message: MessageBlock) -> int:
        if message.kind is MessageKind.DATA:
            self._gate.put(self._key, [_Envelope(self._key, message)])
        elif isinstance(message, ParametersMessage):
            self._gate.put_parameters(self._key, message)
        else:
            self._gate.put_close(self._key)
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        self._gate.put(self._key, [_Envelope(self._key, message) for message in messages])


class _Gate:
    """Makes one of the parameters, and one of the ends, that come through every stream.

    Guarantees
    ----------
    * Parameters reach the inbox when the last stream has brought them: behind everything that any stream has put before
      them, before anything that any stream puts after them. A stream that is ahead waits here until then. No other
      stream can be kept from getting so far by that: the branch put the parameters to all streams before anything else,
      and what they put goes into an inbox that is always being emptied.
    * The end reaches the inbox when the last stream has ended. One that has ended is waited for no more.

    The condition protects the two sets; no data is put while it is held.
    """

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._changed = threading.Condition()
        self._keys: set[str | None] = set()
        self._ahead: set[str | None] = set()  # streams that have brought parameters which others have not brought yet
        self._ended: set[str | None] = set()
        self._parameters: ParametersMessage | None = None
        self._is_aborted = False

    def add(self, key: str | None) -> None:
        self._keys.add(key)

    def put(self, key: str | None, messages: Sequence[MessageBlock]) -> None:
        self._wait_for_others(key)
        self._merge.inbox.put_many(messages)

    def put_parameters(self, key: str | None, parameters: ParametersMessage) -> None:
        self._wait_for_others(key)
        with self._changed:
            self._ahead.add(key)
            self._parameters = parameters
            self._release()

    def put_close(self, key: str | None) -> None:
        self._wait_for_others(key)
        with self._changed:
            self._ended.add(key)
            self._release()
            if self._ended >= self._keys:
                self._merge.inbox.put(close_message())

    def _wait_for_others(self, key: str | None) -> None:
        if key not in self._ahead:  # only the stream itself, in whose order this is called, puts its key there
            return
        with self._changed:
            while key in self._ahead:
                if self._is_aborted:
                    raise QueueClosed("the merge was aborted")
                self._changed.wait()

    def _release(self) -> None:
        """Let the parameters through if every stream has brought them. With the condition held."""
        if self._parameters is not None and self._ahead | self._ended >= self._keys:
            self._merge.inbox.put(self._parameters)
            self._parameters = None
            self._ahead.clear()
            self._changed.notify_all()

    def abort(self) -> None:
        with self._changed:
            self._is_aborted = True
            self._changed.notify_all()
