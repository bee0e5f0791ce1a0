"""How many threads BLAS has: one, the one that calls it, wherever gadgets work.

OpenBLAS's own threads wait for one another by spinning, and gadgets need the processors meanwhile: docs/performance.md
has the numbers.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

__all__ = ["one_blas_thread", "use_one_blas_thread"]

log = structlog.get_logger()

MAPS_PATH = Path("/proc/self/maps")
BLAS_NAMES = tuple(
    f"{prefix}openblas_{{}}_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)

Setter = Callable[[int], object]


def use_one_blas_thread() -> None:
    """Set it for good, in every copy of OpenBLAS that NumPy and SciPy have brought; others stay as they are."""
    for setter, _ in _openblas():
        setter(1)


class _Limit:
    """One BLAS thread while anybody is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the next two
        self._n_inside = 0
        self._before: list[tuple[Setter, int]] = []

    def enter(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._before = _openblas()
                for setter, _ in self._before:
                    setter(1)
            self._n_inside += 1

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                for setter, n_threads in self._before:
                    setter(n_threads)


_limit = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Set it for as long as anybody, in whichever thread, is inside; then it is as before."""
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


def _openblas() -> list[tuple[Setter, int]]:
    """Give what sets the number of threads of each copy of OpenBLAS, and how many it has now."""
    import scipy.linalg  # noqa: F401  # loads SciPy's

    try:
        mapped = MAPS_PATH.read_text(errors="replace").splitlines()
    except OSError:
        log.debug("process.no_maps")  # not Linux
        return []
    found: list[tuple[Setter, int]] = []
    for path in sorted({line.split(maxsplit=5)[5] for line in mapped if "openblas" in line.lower()}):
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            log.debug("process.blas_not_opened", error=str(error))
            continue
        for name in BLAS_NAMES:
            setter, getter = (getattr(library, name.format(what), None) for what in ("set", "get"))
            if setter is not None and getter is not None:
                found.append((setter, getter()))
    return found
