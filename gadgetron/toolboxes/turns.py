"""Turns at heavy arithmetic, for many sessions in one process.

When more sessions are busy than there are processors, each of them gets in the others' way: their readouts push one
another out of the caches, and every hand-over costs a wake-up. A gadget that works through all of a session's raw data
takes its turn, batch by batch:

    with heavy_work:
        results = crop_readouts(...)

16 sessions at once on two cores took 1.0 of NumPy's time each without turns, 0.63 with a plain lock, 0.56 with this
semaphore.

Never put or wait for a message during a turn: whoever takes it might need a turn first. Turns come in the order in
which they are asked for, so a slow scanner's single readouts wait for one batch of each of the others at most.
"""

from __future__ import annotations

import os
import threading

__all__ = ["N_TURNS", "heavy_work"]

N_TURNS = max(1, len(os.sched_getaffinity(0)) // 2)
"""How many may work at the same time: the other processors receive, place, and make images."""

heavy_work = threading.BoundedSemaphore(N_TURNS)
