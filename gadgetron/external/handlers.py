"""Handlers that a module registers while it is imported: what a runner calls if the module has no default target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Handler = Callable[[Any], Any]

registered: list[Handler] = []

_hook: Callable[[Handler], Any] = registered.append


def register_handler(handler: Handler) -> None:
    """Offer a function that takes a connection."""
    _hook(handler)


def push_register_handler_hook(hook: Callable[[Handler], Any]) -> None:
    """Have a function called with each handler that is registered from now on, instead of keeping it."""
    global _hook  # noqa: PLW0603 - who pushes one means every module of this process
    _hook = hook
