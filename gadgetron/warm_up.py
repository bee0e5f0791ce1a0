"""What a daemon does once, so that no client waits for it: imports, schemas, the stock chain, plans for transforms."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from functools import partial

import structlog

from gadgetron.blas import use_one_blas_thread
from gadgetron.environment import Environment
from gadgetron.errors import GadgetronError

__all__ = ["PlanAhead", "tune_process", "warm_up"]

log = structlog.get_logger()

CONFIGURATION = "default.xml"
MATRIX = 256
N_COILS = 16  # a plan for readouts is for one number of coils; others are planned when they come

M_ARENA_MAX = -8  # of <malloc.h>
MAX_ARENAS = 2
GC_THRESHOLDS = (20_000, 20, 50)


def tune_process() -> None:
    """Set what only a process of our own may set. Before any thread starts.

    Threads share two of the C library's heaps instead of having up to eight for each processor: what one session has
    freed serves the next one. Peak memory with 16 sessions at once: 840 MB without, 630 MB with it, at the same speed.

    The garbage collector comes by after 20 000 new objects instead of 700, which is 5 % of a session's processor time:
    a session's readouts on their way look like garbage in the making to it.

    BLAS works in the thread that calls it. OpenBLAS's own threads wait for one another by spinning; gadgets need the
    processors meanwhile: sessions of Generic_Cartesian_Grappa.xml took 7 of NumPy's time with them, 3.3 without.
    """
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MAX_ARENAS)
    except (AttributeError, OSError):
        log.debug("process.no_mallopt")  # not the GNU C library
    gc.set_threshold(*GC_THRESHOLDS)
    use_one_blas_thread()


def warm_up(environment: Environment) -> None:
    """Import and compile what sessions of the stock chain need, before the first client can connect.

    Parameters
    ----------
    environment
        What sessions share; its loader and configurations are used, no chain is started.
    """
    from gadgetron.chain import build_chain
    from gadgetron.configuration.schema import preload
    from gadgetron.configuration.search import load_configuration

    preload()
    try:
        build_chain(load_configuration(CONFIGURATION, environment.search), environment)
    except GadgetronError as error:  # a site's own default.xml may be broken: who asks for it is told
        log.warning("server.warm_up_failed", error=str(error))
    gc.collect()
    gc.freeze()  # what is here now stays: the collector need not look at it again


class PlanAhead:
    """Planning of the usual transforms, in a thread of its own: the server can be reached meanwhile."""

    def __init__(self) -> None:
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plan-ahead", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Skip what has not been begun, and join the thread: FFTW must not be planning when the process ends."""
        self._is_ending.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        for plan in _usual_transforms():
            if self._is_ending.is_set():
                return
            plan()


def _usual_transforms() -> Iterator[Callable[[], object]]:
    import numpy as np

    from gadgetron.toolboxes.coils import rss_image
    from gadgetron.toolboxes.readout import crop_readouts

    readouts = [np.zeros((N_COILS, 2 * MATRIX), np.complex64)] * 16
    yield partial(crop_readouts, readouts, MATRIX)
    yield partial(rss_image, np.zeros((1, 1, MATRIX, MATRIX), np.complex64))
    yield partial(crop_readouts, readouts[:1], MATRIX)
