"""A stream in memory that delivers and takes in small pieces, and fails where it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from gadgetron.errors import ConnectionLost, GadgetronError
from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.byte_stream import Buffer, ByteStream


class FaultyStream(ByteStream):
    """A stream over bytes in memory, with the faults of real ones.

    Parameters
    ----------
    data
        What can be read.
    pieces
        Sizes in which it arrives, one after another; the last size is for all the rest. Everything at once by default.
    fail_read_at, fail_write_at
        After how many bytes reading, or writing, fails; None for never. Reading ends in order after the data.
    error
        What is raised there; a ConnectionLost by default.
    write_piece
        How many bytes are taken at most by one system call.

    Notes
    -----
    `written` is a bytearray of everything that was taken.
    """

    def __init__(
        self,
        data: Buffer = b"",
        *,
        pieces: Iterable[int] = (),
        fail_read_at: int | None = None,
        fail_write_at: int | None = None,
        error: GadgetronError | None = None,
        write_piece: int = 1 << 30,
        limits: Limits = LIMITS,
    ) -> None:
        super().__init__(limits)
        self._input = memoryview(data).cast("B")
        self._position = 0
        sizes = list(pieces) or [1 << 30]
        self._pieces: Iterator[int] = chain(sizes, repeat(sizes[-1]))
        self._fail_read_at = fail_read_at
        self._fail_write_at = fail_write_at
        self._error = error if error is not None else ConnectionLost("the connection was lost: as the test wants it")
        self._write_piece = write_piece
        self.written = bytearray()

    def _receive_into(self, view: memoryview, deadline: float) -> int:
        end = len(self._input)
        if self._fail_read_at is not None:
            end = min(end, self._fail_read_at)
            if self._position >= end:
                raise self._error
        size = min(len(view), end - self._position, max(1, next(self._pieces)))
        view[:size] = self._input[self._position : self._position + size]
        self._position += size
        return size

    def _send(self, views: list[memoryview]) -> int:
        room = self._write_piece
        if self._fail_write_at is not None:
            room = min(room, self._fail_write_at - len(self.written))
            if room <= 0:
                raise self._error
        before = len(self.written)
        for view in views:
            self.written += view[: room - (len(self.written) - before)]
            if len(self.written) - before >= room:
                break
        return len(self.written) - before
