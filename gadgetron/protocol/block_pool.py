"""Receive blocks that are used again when nobody refers to them any more."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

MAX_POOLED_BLOCKS = 8  # one session at full speed uses six
N_OWN_REFERENCES = 2  # to a block that is free: the pool's list's, and getrefcount's argument


class BlockPool:
    """Receive blocks, used again when nobody refers to them any more: it spares the page faults of fresh memory.

    A block is free when the pool's own list is all that refers to it; views that messages hold keep it from being
    reused, so what a reader handed out is never written to again. For any number of threads: streams share one pool.
    """

    def __init__(self, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._blocks: list[np.ndarray[Any, Any]] = []
        # Whoever holds the lock is the only one who can make new references to a block that has none.
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> memoryview:
        """Give a block of that size which nobody else uses; never waits for one."""
        with self._lock:
            blocks = self._blocks
            for index in range(len(blocks)):
                # No variable for the block: whether that is a reference of its own depends on the Python version, and
                # one counted too many would hand out a block that is in use.
                if blocks[index].nbytes == n_bytes and sys.getrefcount(blocks[index]) == N_OWN_REFERENCES:
                    return blocks[index].data
            fresh = np.empty(n_bytes, np.uint8)
            if len(self._blocks) < self._max_blocks:
                self._blocks.append(fresh)
        return fresh.data


receive_blocks = BlockPool(MAX_POOLED_BLOCKS)
