"""Whether orphans become children of this process: as the first of a container, or because it has asked for that."""

from __future__ import annotations

import ctypes
import os
from functools import cache

_PR_GET_CHILD_SUBREAPER = 37


def adopts_orphans() -> bool:
    """Tell whether this process has to wait for children that it has not started."""
    return os.getpid() == 1 or is_subreaper()


@cache
def is_subreaper() -> bool:
    """Tell whether this process is a child subreaper, prctl(2). It decides that before it starts anything."""
    value = ctypes.c_int(0)
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0) == 0 and bool(value.value)
