"""Output that the client does not take, on disk instead of in memory."""

from __future__ import annotations

import os
import tempfile
from collections import deque

from gadgetron.errors import StorageError
from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.byte_stream import ByteStream


class SpillFile(ByteStream):
    """A first-in first-out store of serialized messages in an unlinked temporary file.

    Writers write to it as to any stream; `complete_message` ends a message. `take` gives whole messages back. Nothing
    is left on disk whatever happens to the process. Not thread-safe: its owner has a lock.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        try:
            self._file = tempfile.TemporaryFile(prefix="gadgetron-spill-", buffering=0)  # noqa: SIM115  # closed in close()
        except OSError as error:
            raise StorageError(f"no temporary file for waiting output: {error.strerror}") from error
        self._written = 0
        self._taken = 0
        self._message_ends: deque[int] = deque()

    def complete_message(self) -> None:
        """Note that a message is complete."""
        self._message_ends.append(self._written)

    def forget_unfinished(self) -> None:
        """Drop what was written since the last complete message."""
        self._written = self._message_ends[-1] if self._message_ends else self._taken
        os.ftruncate(self._file.fileno(), self._written)
        os.lseek(self._file.fileno(), self._written, os.SEEK_SET)

    @property
    def n_messages(self) -> int:
        """Messages that are waiting."""
        return len(self._message_ends)

    def take(self, max_bytes: int) -> tuple[bytes, int, bool]:
        """Take the next bytes: whole messages, or a piece of one that is larger than `max_bytes`.

        Returns
        -------
            The bytes, how many messages end with them, and whether they end on a message boundary.
        """
        end = self._taken
        n_messages = 0
        while self._message_ends and self._message_ends[0] - self._taken <= max_bytes:
            end = self._message_ends.popleft()
            n_messages += 1
        is_whole = n_messages > 0
        if not is_whole:
            end = self._taken + max_bytes
        try:
            data = os.pread(self._file.fileno(), end - self._taken, self._taken)
        except OSError as error:
            raise StorageError(f"waiting output cannot be read back: {error.strerror}") from error
        if len(data) != end - self._taken:
            raise StorageError("waiting output cannot be read back: the temporary file is too short")
        self._taken = end
        if not self._message_ends and is_whole:
            self._rewind()
        return data, n_messages, is_whole

    def _rewind(self) -> None:
        os.ftruncate(self._file.fileno(), 0)
        os.lseek(self._file.fileno(), 0, os.SEEK_SET)
        self._written = self._taken = 0

    def _send(self, views: list[memoryview]) -> int:
        size = sum(view.nbytes for view in views)
        if self._written - self._taken + size > self.limits.max_spill_bytes:
            raise StorageError(
                f"the client takes too little: more than {self.limits.max_spill_bytes} bytes of output are waiting"
            )
        try:
            sent = os.writev(self._file.fileno(), views)
        except OSError as error:
            raise StorageError(f"waiting output cannot be stored: {error.strerror}") from error
        self._written += sent
        return sent

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
