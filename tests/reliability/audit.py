"""What Python did while something ran: files opened, modules imported, programs started, by `sys.addaudithook`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_recordings: list[tuple[int, list[tuple[str, tuple[Any, ...]]]]] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _recordings:
        thread = threading.get_ident()
        for owner, events in _recordings:
            if owner == thread:
                events.append((event, args))


sys.addaudithook(_hook)  # for good: a hook cannot be taken away, so there is one, and it sleeps


@contextmanager
def recorded(*names: str) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Record this thread's audit events; after the block the list holds those of these names."""
    events: list[tuple[str, tuple[Any, ...]]] = []
    entry = (threading.get_ident(), events)
    _recordings.append(entry)
    try:
        yield events
    finally:
        _recordings.remove(entry)
        events[:] = [event for event in events if event[0] in names]
