"""Memory for arrays: aligned, reused, and not shared by accident."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

Allocator = Callable[[tuple[int, ...], type[np.complex64]], NDArray[np.complex64]]
"""Makes an uninitialised aligned array: `empty_aligned`, or the `take` of a pool."""

ALIGNMENT_BYTES = 64
MAX_SHARED_BYTES = 1024 * 1024


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

    Fresh memory costs a page fault for every 4 KiB, which for streams of arrays of equal size is a noticeable part of
    the work. An array that is still referred to, directly or by a view, is never handed out: an empty pool just makes
    a new one.

    Parameters
    ----------
    max_bytes
        What the pool keeps at most; arrays beyond that are ordinary ones.

    Notes
    -----
    For one thread at a time: each gadget has its own.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._raw: list[NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """Give an uninitialised aligned array of this shape."""
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT_BYTES
        n_known_references = 2  # the list's and the argument's
        for index in range(len(self._raw)):
            if self._raw[index].nbytes == n_bytes and sys.getrefcount(self._raw[index]) == n_known_references:
                return _view(self._raw[index], shape, dtype)
        raw = np.empty(n_bytes, np.uint8)
        self._raw = [kept for kept in self._raw if kept.nbytes == n_bytes]  # the size changed: the others are history
        if (len(self._raw) + 1) * n_bytes <= self._max_bytes:
            self._raw.append(raw)
        return _view(raw, shape, dtype)
