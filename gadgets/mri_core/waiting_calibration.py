"""Recon data that waits for calibration data, and lines that are put together until they calibrate."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gadgetron.limits import LIMITS, check
from gadgetron.message import Array, Container
from gadgetron.recon_types import ReconBit, ReconBuffer, ReconData

__all__ = ["CalibrationLines", "LineHistory", "WaitingLine"]


@dataclass(frozen=True, slots=True)
class CalibrationLines:
    """Calibration data on the grid of its buffer.

    Attributes
    ----------
    data
        Shape (LOC, S, N, CHA, E2, E1, E0), complex64.
    lines
        Which lines are in it, shape (LOC, S, N, E2, E1).
    headers
        Those of the buffer, with S and N as they were before the average.
    """

    data: Array[np.complex64]
    lines: Array[np.bool_]
    headers: Array[np.object_]

    def with_lines_of(self, older: CalibrationLines) -> CalibrationLines:
        """Give these lines, and those of another buffer where there are none here. New arrays."""
        here = self.lines[:, :, :, np.newaxis, :, :, np.newaxis]
        headers = self.headers
        if headers.shape == older.headers.shape:
            headers = np.where(headers.astype(bool), headers, older.headers)  # a header is true, None is not
        return CalibrationLines(np.where(here, self.data, older.data), self.lines | older.lines, headers)


class LineHistory:
    """The newest of each line of successive buffers.

    Attributes
    ----------
    n_buffers
        How many have been added.
    """

    def __init__(self) -> None:
        self.n_buffers = 0
        self._lines: CalibrationLines | None = None

    def add(self, lines: CalibrationLines) -> CalibrationLines:
        """Take the lines of a buffer, and give all that are known."""
        known = self._lines
        if known is not None and known.data.shape == lines.data.shape:
            lines = lines.with_lines_of(known)
        else:
            lines = replace(lines, data=lines.data.copy())  # it may be imaging data, which others change in its place
        self.n_buffers += 1
        self._lines = lines
        return lines

    @property
    def nbytes(self) -> int:
        """Memory of the lines."""
        return 0 if self._lines is None else int(self._lines.data.nbytes)


class WaitingLine:
    """Recon data in the order in which it came: none overtakes another that waits.

    A bit waits under a key, with the calibration data that it has itself.
    """

    def __init__(self) -> None:
        self._messages: deque[Container[ReconData]] = deque()
        self._bits: dict[Hashable, list[tuple[ReconBit, ReconBuffer | None]]] = {}
        self._held: set[int] = set()  # ids of bits that wait; the messages keep them alive

    def add(self, message: Container[ReconData]) -> None:
        """Take a message.

        Raises
        ------
        LimitExceeded
            If more waits than a session may hold.
        """
        self._messages.append(message)
        if len(self._messages) > 1:
            n_bytes = sum(waiting.object.nbytes for waiting in self._messages)
            check("bytes of recon data that waits for calibration", n_bytes, LIMITS.max_session_bytes)

    def hold(self, key: Hashable, bit: ReconBit, own: ReconBuffer | None) -> None:
        """Have a bit of the last message wait."""
        self._bits.setdefault(key, []).append((bit, own))
        self._held.add(id(bit))

    def release(self, key: Hashable) -> list[tuple[ReconBit, ReconBuffer | None]]:
        """Give the bits that wait under a key, and their own calibration data; they wait no longer."""
        released = self._bits.pop(key, [])
        self._held.difference_update(id(bit) for bit, _ in released)
        return released

    @property
    def keys(self) -> list[Any]:
        """Keys under which bits wait."""
        return list(self._bits)

    def ready(self) -> Iterator[Container[ReconData]]:
        """Give the messages, in order, up to the first with a bit that waits."""
        while self._messages and self._held.isdisjoint(map(id, self._messages[0].object.bits)):
            yield self._messages.popleft()
