"""Memory for arrays: aligned, reused, and not shared by accident."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

Allocator = Callable[[tuple[int, ...], type[np.complex64]], NDArray[np.complex64]]
"""Makes an uninitialised aligned array: `empty_aligned`, or the `take` of a pool."""

ALIGNMENT_BYTES = 64
MAX_SHARED_BYTES = 1024 * 1024
SHARED_POOL_BYTES = 96 * 1024 * 1024  # one session at full speed uses two thirds of it
N_OWN_REFERENCES = 2  # to an array that is free: the pool's list's, and getrefcount's argument


quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
"""Decorator for arithmetic on samples: what is not finite stays so, and is no reason for warnings."""


def empty_aligned(shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
    """Make an uninitialised C-ordered array that begins at a multiple of 64 bytes, as FFTW and BLAS like it."""
    return _view(np.empty(math.prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT_BYTES, np.uint8), shape, dtype)


def _view(raw: NDArray[np.uint8], shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
    skip = -raw.ctypes.data % ALIGNMENT_BYTES
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    return raw[skip : skip + n_bytes].view(dtype).reshape(shape)


def owned(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Give an array that may be kept: itself, or a copy if it is a view of something much larger.

    Readouts arrive as views of receive blocks of several MiB; one that is kept would keep its whole block. Views of
    blocks up to 1 MiB (the batches in which gadgets work) stay as they are.
    """
    base: Any = array.base
    if base is None:
        return array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if getattr(base, "nbytes", sys.maxsize) <= max(MAX_SHARED_BYTES + ALIGNMENT_BYTES, 2 * array.nbytes):
        return array
    return array.copy()


class ArrayPool:
    """Reuses large arrays once nobody refers to them any more.

    Fresh memory costs a page fault for every 4 KiB: cropping readouts into new arrays takes three times as long. An
    array that is still referred to, directly or by a view, is never handed out: an empty pool just makes a new one.

    Parameters
    ----------
    max_bytes
        What the pool keeps at most, lent or not; arrays beyond that are ordinary ones.

    Notes
    -----
    For any number of threads. What one has let go of serves the next, so sessions share `shared_pool`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._raw: list[NDArray[np.uint8]] = []
        # Whoever holds the lock is the only one who can make new references to an array that has none.
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """Give an uninitialised aligned array of this shape."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT_BYTES
        raws = self._raw
        with self._lock:
            for index in range(len(raws)):
                if raws[index].nbytes == n_bytes and sys.getrefcount(raws[index]) == N_OWN_REFERENCES:
                    return _view(raws[index], shape, dtype)
            self._make_room(n_bytes)
            raw = np.empty(n_bytes, np.uint8)
            if self._kept_bytes + n_bytes <= self._max_bytes:
                self._kept_bytes += n_bytes
                raws.append(raw)
        return _view(raw, shape, dtype)

    def _make_room(self, n_bytes: int) -> None:
        """Let go of the oldest arrays that nobody refers to, as many as needed."""
        raws = self._raw
        if n_bytes > self._max_bytes:
            return
        index = 0
        while self._kept_bytes + n_bytes > self._max_bytes and index < len(raws):
            if sys.getrefcount(raws[index]) == N_OWN_REFERENCES:
                self._kept_bytes -= raws.pop(index).nbytes
            else:
                index += 1

    @property
    def nbytes(self) -> int:
        """Memory of the arrays that the pool keeps [bytes]."""
        return self._kept_bytes


shared_pool = ArrayPool(SHARED_POOL_BYTES)
"""Where gadgets take the arrays that they give away."""
