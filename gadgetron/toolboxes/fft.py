"""Centred orthonormal Fourier transforms of complex64 arrays with FFTW.

`fft(x, axes)` and `ifft(x, axes)` have k-space center and image center at index n // 2 of each axis, and keep the norm:
along one axis, `fft(x)` is `fftshift(fft(ifftshift(x), norm="ortho"))`.

The shifts are part of the copies into and out of a plan's buffer, they cost nothing. Plans are measured once per
shape and cached. FFTW's planner is not safe in several threads, and a plan's buffer serves one thread at a time:
planning has one lock, and `borrow` hands a plan to one borrower only, making another one where all are lent.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

import numpy as np
import pyfftw
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import empty_aligned, quiet

__all__ = ["PlanCache", "TransformPlan", "borrow", "centred_blocks", "fft", "ifft", "plan_fftw", "warm_up"]

Direction = Literal["FFTW_FORWARD", "FFTW_BACKWARD"]
Index = tuple[Any, ...]
Arguments = ParamSpec("Arguments")


class SizedPlan(Protocol):
    """What a cached plan has to say: the memory of its buffers [bytes]."""

    nbytes: int


AnyPlan = TypeVar("AnyPlan", bound=SizedPlan)

BATCH_BYTES = 1024 * 1024  # stays in the second level cache
MAX_MEASURED_POINTS = 1 << 20  # planning by measurement above this takes longer than it gains
PLANNING_LIMIT_S = 4.0  # a plan that was cut short is up to 17 times slower, for as long as the process lives
MAX_CACHED_BYTES = 64 * 1024 * 1024


class TransformPlan:
    """An unnormalised transform of its own aligned buffer, in place.

    Parameters
    ----------
    shape
        Shape of the buffer.
    axes
        What to transform, counted from 0.
    direction
        FFTW_FORWARD or FFTW_BACKWARD.

    Attributes
    ----------
    buffer
        complex64. Fill it, call `execute`, read it.
    """

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...], direction: Direction) -> None:
        self.buffer = empty_aligned(shape, np.complex64)
        self.nbytes = int(self.buffer.nbytes)
        self.execute = plan_fftw(self.buffer, self.buffer, axes, direction).execute
        self.buffer[...] = 0  # the planner leaves anything behind


def plan_fftw(
    source: NDArray[np.complex64], target: NDArray[np.complex64], axes: tuple[int, ...], direction: Direction
) -> pyfftw.FFTW:
    """Plan a transform of one aligned array into another, or into itself. Overwrites both."""
    return pyfftw.FFTW(
        source,
        target,
        axes=axes,
        direction=direction,
        flags=("FFTW_MEASURE" if source.size <= MAX_MEASURED_POINTS else "FFTW_ESTIMATE",),
        planning_timelimit=PLANNING_LIMIT_S,
    )


class PlanCache:
    """Plans that wait to be used again, the most recently used last, up to a number of bytes."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._free: OrderedDict[tuple[Any, ...], list[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._planning = threading.Lock()

    @contextmanager
    def borrow(
        self, make: Callable[Arguments, AnyPlan], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Iterator[AnyPlan]:
        """Lend a plan to one thread for the duration of a `with`.

        Parameters
        ----------
        make
            Class of the plan. It is called, under the planning lock, if none of its plans for these arguments is free.
        args
            Its arguments, hashable.
        """
        key = (make, *args)
        with self._lock:
            waiting = self._free.get(key)
            plan = waiting.pop() if waiting else None
            if plan is not None:
                self._n_bytes -= plan.nbytes
        if plan is None:
            with self._planning:
                plan = make(*args, **kwargs)
        try:
            yield plan
        finally:
            surplus = self._give_back(key, plan)
            if surplus:
                plan = None
                with self._planning:  # FFTW's destroyer is no more thread-safe than its planner
                    surplus.clear()

    def _give_back(self, key: tuple[Any, ...], plan: Any) -> list[Any]:
        """Put a plan back, and give the plans that are now too many."""
        surplus: list[Any] = []
        with self._lock:
            self._free.setdefault(key, []).append(plan)
            self._free.move_to_end(key)
            self._n_bytes += plan.nbytes
            while self._n_bytes > self._max_bytes:
                oldest, waiting = next(iter(self._free.items()))
                if waiting:
                    surplus.append(waiting.pop())
                    self._n_bytes -= surplus[-1].nbytes
                if not waiting:
                    del self._free[oldest]
        return surplus

    @property
    def nbytes(self) -> int:
        """Memory of the plans that are not lent [bytes]."""
        return self._n_bytes


_cache = PlanCache()
borrow = _cache.borrow


def fft(x: NDArray[Any], axes: Sequence[int], *, out: NDArray[np.complex64] | None = None) -> NDArray[np.complex64]:
    """Transform from image to k-space: centred, orthonormal.

    Parameters
    ----------
    x
        Any shape; computed in complex64.
    axes
        Axes to transform, each once.
    out
        Where the result goes, of the shape of x; may be x itself.

    Returns
    -------
        `out`, or a new array of the shape of x, complex64.
    """
    return _transform(x, axes, "FFTW_FORWARD", out)


def ifft(x: NDArray[Any], axes: Sequence[int], *, out: NDArray[np.complex64] | None = None) -> NDArray[np.complex64]:
    """Transform from k-space to image: centred, orthonormal, the inverse and adjoint of `fft`; parameters as there."""
    return _transform(x, axes, "FFTW_BACKWARD", out)


def warm_up(shapes: Iterable[tuple[tuple[int, ...], tuple[int, ...], Direction]]) -> None:
    """Make plans before they are needed: planning takes 0.1 to 1 s each."""
    for shape, axes, direction in shapes:
        with borrow(TransformPlan, shape, axes, direction):
            continue


@quiet
def _transform(
    x: NDArray[Any], axes: Sequence[int], direction: Direction, out: NDArray[np.complex64] | None
) -> NDArray[np.complex64]:
    if out is None:
        out = np.empty(x.shape, np.complex64)
    elif out.shape != x.shape:
        raise ValueError(f"out has shape {out.shape}, expected {x.shape}")
    n_axes = len(axes)
    if n_axes == 0 or x.size == 0:
        out[...] = x
        return out
    last = tuple(range(-n_axes, 0))
    _transform_last(np.moveaxis(x, axes, last), n_axes, direction, np.moveaxis(out, axes, last))
    return out


def _transform_last(x: NDArray[Any], n_axes: int, direction: Direction, out: NDArray[np.complex64]) -> None:
    """Transform the last axes, in batches that stay in the cache."""
    n_leading = x.ndim - n_axes
    if n_leading > 1 and x.size * 8 > BATCH_BYTES:
        for part, part_out in zip(x, out, strict=True):
            _transform_last(part, n_axes, direction, part_out)
        return
    if n_leading == 0:
        _transform_last(x[np.newaxis], n_axes, direction, out[np.newaxis])
        return
    n_items = x.shape[0] if n_leading == 1 else 1
    n_per_batch = max(1, min(n_items, n_items * BATCH_BYTES // (x.size * 8))) if n_leading == 1 else x.shape[0]
    shape = (n_per_batch, *x.shape[1:])
    axes = tuple(range(n_leading, x.ndim))
    lengths = x.shape[n_leading:]
    scale = np.float32(1.0 / math.sqrt(math.prod(lengths)))
    copies = tuple(centred_blocks(lengths))
    with borrow(TransformPlan, shape, axes, direction) as plan:
        for start in range(0, x.shape[0], n_per_batch):
            batch = x[start : start + n_per_batch]
            batch_out = out[start : start + n_per_batch]
            buffer = plan.buffer[: len(batch)]
            for centred, corner in copies:
                buffer[(..., *corner)] = batch[(..., *centred)]
            plan.execute()
            for centred, corner in copies:
                np.multiply(buffer[(..., *corner)], scale, out=batch_out[(..., *centred)])


def centred_blocks(lengths: Sequence[int]) -> Iterator[tuple[Index, Index]]:
    """Pair each block of a centred array with its place in an array that has the center in its first corner.

    Copying one way is `fftshift`, copying the other way is `ifftshift`, for even and odd lengths.
    """
    halves = []
    for n in lengths:
        center = n // 2
        pairs = [(slice(center, n), slice(0, n - center))]
        if center:
            pairs.append((slice(0, center), slice(n - center, n)))
        halves.append(pairs)
    for combination in product(*halves):
        yield tuple(pair[0] for pair in combination), tuple(pair[1] for pair in combination)
