"""The active object that writes a session's output, and never makes the chain wait for a slow client."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

import structlog

from gadgetron.errors import GadgetronError, QueueClosed, describe
from gadgetron.limits import LIMITS, MIB, Limits
from gadgetron.output import Output
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.spill import SpillFile

log = structlog.get_logger()

SPILL_READ_BYTES = 1 * MIB
MAX_BATCH = 64
DISCARD_S = 0.05
JOIN_S = 0.02
SPILL_PATIENCE_S = 0.1  # a client that takes nothing for so long is busy sending: do not wait for it


class OutputCodec(Protocol):
    """How one protocol puts output on a stream."""

    def write_many(self, stream: ByteStream, outputs: Sequence[Output]) -> None:
        """Write messages in order."""

    def write_error(self, stream: ByteStream, error: GadgetronError) -> None:
        """Tell the peer what went wrong."""

    def write_close(self, stream: ByteStream) -> None:
        """Tell the peer that this was all."""


class WriterTask:
    """A thread that writes outputs to a stream.

    What the client has not taken waits in memory up to `limits.writer_queue_bytes`. Above that the chain waits as long
    as the client goes on taking output; when it takes none, output goes, serialized, to an unlinked temporary file. So
    a client that sends everything before it reads anything gets everything, and memory stays bounded.

    Parameters
    ----------
    stream, codec
        Where to, and in which form.
    on_failure
        Called in the writer's thread when writing fails.
    """

    def __init__(
        self,
        stream: ByteStream,
        codec: OutputCodec,
        *,
        on_failure: Callable[[BaseException], None],
        session_name: str = "",
        limits: Limits = LIMITS,
    ) -> None:
        self._stream = stream
        self._codec = codec
        self._on_failure = on_failure
        self._limits = limits
        self._session_name = session_name
        self._thread = threading.Thread(target=self._run, name=f"{session_name}/writer-0", daemon=True)
        # The lock guards everything below. It is never held while the stream is written to.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._producers_waiting = 0
        self._waiting: deque[tuple[Output, int]] = deque()
        self._waiting_bytes = 0  # queued, and being written
        self._spill: SpillFile | None = None
        self._is_finishing = False
        self._is_aborted = False
        self._is_broken = False
        self._error: GadgetronError | None = None
        self._thread_waits = False
        self._in_hand = 0  # messages that the thread has taken and not written yet
        self.written = 0
        self.dropped = 0
        self.spilled = 0

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put_many(self, outputs: Sequence[Output]) -> None:
        """Take messages, in order; wait only while the memory for them is full and the client goes on taking output.

        Raises
        ------
        QueueClosed
            If the session is ending.
        StorageError
            If the client has taken so little that the temporary file is full.
        """
        sizes = [output.message.nbytes for output in outputs]
        with self._lock:
            if self._is_aborted or self._is_finishing:
                raise QueueClosed("no more output is taken")
            for output, size in zip(outputs, sizes, strict=True):
                if self._has_room(size):
                    self._waiting.append((output, size))
                    self._waiting_bytes += size
                else:
                    self._put_on_disk(output)
            if self._thread_waits:
                self._changed.notify()

    def _has_room(self, size: int) -> bool:
        """Tell whether a message can wait in memory; wait for that as long as the client goes on taking output."""
        taken = self._stream.bytes_written
        deadline = monotonic() + SPILL_PATIENCE_S
        while self._spill is None and not self._is_aborted:
            if not self._waiting_bytes or self._waiting_bytes + size <= self._limits.writer_queue_bytes:
                return True
            remaining_s = deadline - monotonic()
            if remaining_s <= 0:
                return False
            if self._thread_waits:
                self._changed.notify()  # what has been appended before is what is in the way
            self._producers_waiting += 1
            self._room.wait(remaining_s)
            self._producers_waiting -= 1
            if self._stream.bytes_written != taken:
                taken = self._stream.bytes_written
                deadline = monotonic() + SPILL_PATIENCE_S
        if self._is_aborted:
            raise QueueClosed("no more output is taken")
        return False

    def _put_on_disk(self, output: Output) -> None:
        if self._spill is None:
            self._spill = SpillFile(self._limits)
            log.info("output.spilling", session=self._session_name, waiting_bytes=self._waiting_bytes)
        try:
            self._codec.write_many(self._spill, [output])
        except BaseException:
            self._spill.forget_unfinished()  # or the next message would be taken for the rest of this one
            if not self._spill.n_messages:
                self._spill.close()
                self._spill = None
            raise
        self._spill.complete_message()
        self.spilled += 1

    def abort(self, error: GadgetronError | None = None) -> None:
        """Drop what has not been begun; refuse what comes; tell this error, even after `finish`. Idempotent."""
        with self._lock:
            self._error = self._error or error
            if not self._is_aborted:
                self._is_aborted = True
                self._drop()
                self._changed.notify()

    def _drop(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting_bytes -= sum(size for _, size in self._waiting)
        self._waiting.clear()
        self._room.notify_all()

    def finish(self, error: GadgetronError | None) -> None:
        """Write what is left, the error if there is one, and the close message; return when done, or failed."""
        with self._lock:
            self._error = self._error or error
            self._is_finishing = True
            self._changed.notify()
        while self._thread.is_alive():
            self._thread.join(JOIN_S)
            if self._error is not None and self._thread.is_alive():
                # A client that sends everything before it reads anything has to be rid of it before it can be told.
                self._stream.discard_input(monotonic() + DISCARD_S, self._limits.linger_bytes)

    def _run(self) -> None:
        structlog.contextvars.bind_contextvars(session=self._session_name)
        try:
            while self._write_some():
                pass
            if self._error is not None:
                self._codec.write_error(self._stream, self._error)
            self._codec.write_close(self._stream)
        except BaseException as error:  # noqa: BLE001  # a configured writer may raise anything; the session ends with it
            try:
                self._on_failure(error)  # first, or a gadget's QueueClosed could be told instead
            finally:
                self.abort()
            if not isinstance(error, GadgetronError) or not error.peer_is_gone:
                self._tell(error)
        finally:
            with self._lock:
                self._is_broken = True
                self._is_aborted = True
                self._drop()
                self.dropped += self._in_hand
                spill, self._spill = self._spill, None
            if spill is not None:
                self.dropped += spill.n_messages
                spill.close()

    def _tell(self, error: BaseException) -> None:
        """Tell the client that the writer itself failed, if it failed between two messages."""
        told = (
            error
            if isinstance(error, GadgetronError)
            else GadgetronError(f"the output could not be written: {describe(error)}")
        )
        if self._stream.message_end != self._stream.bytes_written:
            return  # in the middle of a message: whatever came now would be taken for its content
        try:
            self._codec.write_error(self._stream, told)
            self._codec.write_close(self._stream)
        except GadgetronError as second:
            log.debug("output.error_not_told", error=str(second))

    def _write_some(self) -> bool:
        """Write what is waiting; False when there will be no more."""
        with self._lock:
            while not self._waiting and (self._spill is None or self._is_aborted) and not self._is_finishing:
                self._thread_waits = True
                self._changed.wait()
                self._thread_waits = False
            if self._is_aborted:
                # Wait for `finish`, which says what to tell.
                while not self._is_finishing:
                    self._changed.wait()
                return False
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            self._in_hand = len(batch)
        if batch:
            self._write_batch(batch)
            return True
        if self._spill is not None:
            self._write_spilled()
            return True
        return False

    def _write_batch(self, batch: list[tuple[Output, int]]) -> None:
        # Large messages one at a time, so that an abort need not wait for the whole batch.
        outputs: list[Output] = []
        nbytes = 0
        while batch:
            output, size = batch.pop(0)
            outputs.append(output)
            nbytes += size
            if nbytes >= SPILL_READ_BYTES or not batch:
                self._codec.write_many(self._stream, outputs)
                with self._lock:
                    self._waiting_bytes -= nbytes
                    self.written += len(outputs)
                    self._in_hand -= len(outputs)
                    if self._producers_waiting:
                        self._room.notify_all()
                    if self._is_aborted:
                        self.dropped += self._in_hand
                        self._in_hand = 0
                        self._waiting_bytes -= sum(size for _, size in batch)
                        return
                outputs, nbytes = [], 0

    def _write_spilled(self) -> None:
        while True:
            with self._lock:
                spill = self._spill
                if spill is None:
                    return
                data, n_messages, is_whole = spill.take(SPILL_READ_BYTES)
                self._in_hand = n_messages
                if spill.n_messages == 0 and is_whole:
                    self._spill = None
                    spill.close()
            self._stream.write(data)
            self.written += n_messages
            self._in_hand = 0
            if is_whole:
                self._stream.mark_message()
                return
