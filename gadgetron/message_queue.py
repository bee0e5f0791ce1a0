"""A queue bounded in bytes and messages, which fails its producers when its consumer is gone."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import get_ident
from time import monotonic

from gadgetron.errors import QueueClosed
from gadgetron.limits import LIMITS
from gadgetron.message import MessageBlock, MessageKind

DATA = MessageKind.DATA


@dataclass(frozen=True)
class QueueStatistics:
    """A snapshot of one queue."""

    messages: int
    nbytes: int
    peak_nbytes: int
    put: int
    is_closed: bool


class MessageQueue(queue.Queue[MessageBlock]):
    """Bounded hand-over of messages from any number of producers to one gadget's threads.

    Guarantees
    ----------
    * Order is kept. `put` blocks while the queue holds `max_messages` or `max_bytes`. CONFIG and CLOSE are always
      admitted, so no end is ever stuck.
    * A large message (more than half of `max_bytes`), of whatever size, is admitted when the queue is empty and a
      consumer idle: one in the consumer's hands and one in its producer's keep both busy; a third would only cost
      memory, and delay the first. Small messages of others wait behind it. A consumer that puts to itself is idle.
    * After `close` (the consumer is gone) every blocked and every later `put` raises QueueClosed: a dead gadget never
      leaves its producer waiting. Blocked and later gets raise QueueClosed too.
    * `get_many` hands out DATA messages in order, never across a CONFIG or CLOSE. Those two are handed out alone, only
      when every batch handed out before has been acknowledged with `done`, and nothing follows until they have been:
      with several threads at one queue, a barrier.

    The lock (`mutex`) protects the deque, the counters and the flags; it is never held while a message is processed.
    """

    def __init__(self, max_messages: int = LIMITS.queue_messages, max_bytes: int = LIMITS.queue_bytes) -> None:
        super().__init__(maxsize=max_messages)
        self.max_bytes = max_bytes
        self._nbytes = 0
        self._peak_nbytes = 0
        self._put_count = 0
        self._in_flight = 0
        self._barrier = False
        self._closed = False
        self._waiting_getters = 0
        self._waiting_putters = 0
        self._waiting_large = 0
        self._working: set[int] = set()  # threads that have a batch in their hands

    def _init(self, maxsize: int) -> None:
        self.queue: deque[MessageBlock] = deque()
        self._sizes: deque[int] = deque()

    # Producers

    def put(self, item: MessageBlock, block: bool = True, timeout: float | None = None) -> None:
        """Append one message; see `put_many`.

        Raises
        ------
        queue.Full
            If there is no room: at once with block=False, otherwise after `timeout` seconds.
        """
        self._append([item], [item.nbytes], block, timeout)

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        """Append messages in one lock operation; wait only while the queue is already full.

        The whole batch is taken at once, so the queue can exceed its mark by one batch.

        Raises
        ------
        QueueClosed
            If the consumer is gone, before or while waiting.
        """
        if messages:
            self._append(messages, [message.nbytes for message in messages], True, None)

    def _append(self, messages: Sequence[MessageBlock], sizes: list[int], block: bool, timeout: float | None) -> None:
        is_control = all(message.kind is not DATA for message in messages)
        with self.mutex:
            if not is_control:
                self._wait_for_room(2 * max(sizes) > self.max_bytes, block, timeout)
            if self._closed:
                raise QueueClosed("the queue's consumer is gone")
            self.queue.extend(messages)
            self._sizes.extend(sizes)
            self._nbytes += sum(sizes)
            self._peak_nbytes = max(self._peak_nbytes, self._nbytes)
            self._put_count += len(messages)
            if self._waiting_getters:
                self.not_empty.notify()

    def _has_room(self, is_large: bool) -> bool:
        if is_large:
            if self.queue:
                return False
            return self._in_flight == 0 or self._waiting_getters > 0 or get_ident() in self._working
        if self._waiting_large and get_ident() not in self._working:
            return False  # or other producers' small ones would keep the consumer busy for ever
        return not self.queue or (len(self.queue) < self.maxsize and self._nbytes < self.max_bytes)

    def _wait_for_room(self, is_large: bool, block: bool, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        while not self._closed and not self._has_room(is_large):
            if not block:
                raise queue.Full
            remaining = None if deadline is None else deadline - monotonic()
            if remaining is not None and remaining <= 0:
                raise queue.Full
            self._waiting_putters += 1
            self._waiting_large += is_large
            try:
                self.not_full.wait(remaining)
            finally:
                self._waiting_putters -= 1
                self._waiting_large -= is_large
                if is_large:
                    self.not_full.notify_all()

    # The consumer

    def get(self, block: bool = True, timeout: float | None = None) -> MessageBlock:
        """Take one message and acknowledge it at once: for a single consumer that needs no barrier.

        Raises
        ------
        queue.Empty
            If there is none: at once with block=False, otherwise after `timeout` seconds.
        QueueClosed
            If the queue has been closed.
        """
        message = self.get_many(1, timeout if block else 0.0)[0]
        self.done()
        return message

    def get_many(self, limit: int, timeout: float | None = None) -> list[MessageBlock]:
        """Take what is waiting, up to a limit, in one lock operation. Acknowledge with `done` when it is processed.

        Raises
        ------
        queue.Empty
            If nothing could be handed out within `timeout` seconds.
        QueueClosed
            If the queue has been closed.
        """
        deadline = None if timeout is None else monotonic() + timeout
        with self.mutex:
            while True:
                if self._closed:
                    raise QueueClosed("the queue is closed")
                if self.queue and not self._barrier:
                    if self.queue[0].kind is DATA:
                        return self._take(limit)
                    if self._in_flight == 0:
                        self._barrier = True
                        return self._take(1)
                remaining = None if deadline is None else deadline - monotonic()
                if remaining is not None and remaining <= 0:
                    raise queue.Empty
                self._waiting_getters += 1
                if self._waiting_putters:  # perhaps for an idle consumer
                    self.not_full.notify_all()
                try:
                    self.not_empty.wait(remaining)
                finally:
                    self._waiting_getters -= 1

    def _take(self, limit: int) -> list[MessageBlock]:
        waiting = self.queue
        batch = [waiting.popleft()]
        nbytes = self._sizes.popleft()
        if batch[0].kind is DATA:
            while waiting and len(batch) < limit and waiting[0].kind is DATA:
                batch.append(waiting.popleft())
                nbytes += self._sizes.popleft()
        self._nbytes -= nbytes
        self._in_flight += 1
        self._working.add(get_ident())
        if self._waiting_putters:
            self.not_full.notify_all()
        if waiting and self._waiting_getters:
            self.not_empty.notify()
        return batch

    def done(self) -> None:
        """Acknowledge the batch that this thread got last: its outputs have been put."""
        with self.mutex:
            self._in_flight -= 1
            self._working.discard(get_ident())
            if self._in_flight == 0:
                self._barrier = False
                if self._waiting_putters:
                    self.not_full.notify_all()
            if self._waiting_getters and self.queue:
                self.not_empty.notify()

    def get_nowait_many(self, limit: int) -> list[MessageBlock]:
        """Take what is waiting without waiting; an empty list if there is nothing."""
        try:
            return self.get_many(limit, 0.0)
        except queue.Empty:
            return []

    # The end

    def close(self) -> int:
        """Drop what is queued, wake everybody with QueueClosed, and refuse what comes later. Idempotent.

        Returns
        -------
            The number of DATA messages that were dropped.
        """
        with self.mutex:
            self._closed = True
            dropped = sum(message.kind is DATA for message in self.queue)
            self.queue.clear()
            self._sizes.clear()
            self._nbytes = 0
            self.not_empty.notify_all()
            self.not_full.notify_all()
        return dropped

    @property
    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    @property
    def nbytes(self) -> int:
        """Bytes that are waiting."""
        return self._nbytes

    def statistics(self) -> QueueStatistics:
        """Take a consistent snapshot of the counters."""
        with self.mutex:
            return QueueStatistics(len(self.queue), self._nbytes, self._peak_nbytes, self._put_count, self._closed)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return (
            f"<MessageQueue {len(self.queue)}/{self.maxsize} messages, {self._nbytes}/{self.max_bytes} bytes, {state}>"
        )
