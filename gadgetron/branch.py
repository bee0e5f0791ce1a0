"""Branches: the beginning of parallel streams. Subclass `Branch`, and put each message to the streams it is for."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gadgetron.errors import GadgetError
from gadgetron.gadget import MAX_PENDING_BYTES, Gadget
from gadgetron.message import (
    GadgetContainerMessage,
    MessageBlock,
    MessageKind,
    close_message,
    matches,
)
from gadgetron.message_types import MessageType
from gadgetron.task import Task

__all__ = ["Branch", "Fanout", "copy_message"]


class Branch(Gadget):
    """A gadget with several tasks downstream: the streams of a parallel node, by their keys.

    Implement `process(message)`, which calls `put_to(key, message)`. Messages of other types than `accepts` by-pass the
    whole parallel node: they go to what comes behind its merge. Parameters and the end go to every stream, in order
    with the messages, by themselves.

    Whoever takes a message owns it: a message that is put to more than one stream is copied (`copy_message`).
    """

    keys: ClassVar[tuple[str, ...] | None] = None
    """Keys of the streams that it puts to; None if that is left to the configuration."""

    emits_to: ClassVar[Mapping[str, tuple[MessageType, ...]]] = {}
    """Types of the messages that it puts to a stream; those it accepts for keys that are not named."""

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._streams: dict[str, Task] = {}
        self._pending: dict[str, list[MessageBlock]] | None = None  # what `process` has put during a batch
        self._pending_nbytes = 0

    @property
    def stream_keys(self) -> tuple[str, ...]:
        """Keys of the streams, in the order of the configuration."""
        return tuple(self._streams)

    def put_to(self, key: str, message: MessageBlock) -> None:
        """Give a message to a stream. Waits while the stream is full.

        Raises
        ------
        GadgetError
            If there is no stream of that key.
        QueueClosed
            If the session is ending; let it pass.
        """
        stream = self._streams.get(key)
        if stream is None:
            known = ", ".join(self._streams) or "none"
            raise GadgetError(self.name, f"there is no stream with the key {key!r} — streams: {known}")
        self.messages_out += 1
        if self._pending is None:
            stream.putq(message)
            return
        self._pending.setdefault(key, []).append(message)
        self._pending_nbytes += message.nbytes
        if self._pending_nbytes >= MAX_PENDING_BYTES:
            self._put_pending()

    def matches(self, message: MessageBlock) -> bool:
        """Tell whether a message is of a type that this branch accepts."""
        return any(matches(message, message_type) for message_type in self.accepts)

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Call `process` for each message; each stream gets what is put meanwhile in one queue operation."""
        self._pending = {} if len(messages) > 1 else None
        for message in messages:
            if self.matches(message):
                self._check(self.process(message))
            else:
                self.pass_on(message)
        self._put_pending()
        self._pending = None

    def _put_pending(self) -> None:
        if self._pending:
            pending, self._pending, self._pending_nbytes = self._pending, {}, 0
            for key, messages in pending.items():
                self._streams[key].put_many(messages)

    def connect_streams(self, streams: Mapping[str, Task], bypass: Task) -> None:
        """Set the heads of the streams, and where messages of other types go. For the framework."""
        self._streams = dict(streams)
        self.connect(_Outlet([*streams.values(), bypass], bypass))


class Fanout(Branch):
    """A branch that gives every message to every stream."""

    def process(self, message: MessageBlock) -> None:
        """Put a copy to each stream but the last, which gets the message itself."""
        *others, last = self.stream_keys
        for key in others:
            self.put_to(key, copy_message(message))
        self.put_to(last, message)


class _Outlet(Task):
    """What stands downstream of a branch: has no thread. Parameters and the end go everywhere, other messages by."""

    def __init__(self, everywhere: Sequence[Task], bypass: Task) -> None:
        super().__init__("outlet")
        self._everywhere = everywhere
        self._bypass = bypass

    def putq(self, message: MessageBlock) -> int:
        if message.kind is MessageKind.DATA:
            return self._bypass.putq(message)
        for task in self._everywhere:
            task.putq(close_message() if message.kind is MessageKind.CLOSE else message)
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        self._bypass.put_many(messages)


def copy_message(message: MessageBlock) -> MessageBlock:
    """Copy a message, its arrays and headers included: nothing that is done to the one is seen in the other."""
    cont = None if message.cont is None else copy_message(message.cont)
    if isinstance(message, GadgetContainerMessage):
        return GadgetContainerMessage(_copied(message.object), cont)
    duplicate = copy.copy(message)
    duplicate.cont = cont
    return duplicate


def _copied(obj: Any) -> Any:
    if isinstance(obj, np.ndarray) and obj.dtype != object:
        return np.array(obj, order="C")
    if isinstance(obj, ctypes.Structure):
        return type(obj).from_buffer_copy(obj)
    return copy.deepcopy(obj)
