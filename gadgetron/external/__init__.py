"""The foreign side: what a module in another process needs to be part of a Gadgetron's chain.

A module is a function that takes a `Connection`: it iterates over what comes, and sends what it makes. It runs in one
of two ways. Active: a Gadgetron starts it, `python -m gadgetron PORT MODULE [TARGET]`. Passive: it listens, and the
Gadgetron connects: `gadgetron.external.listen(port, handler)`.

The interface is that of the package `gadgetron` 1.4, so that modules written for it run unchanged. Arrays of recon
data, image arrays and buckets have the axes of the C++ Gadgetron, fastest first.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gadgetron.external.connection import Connection
    from gadgetron.external.listen import listen

__all__ = ["Connection", "listen"]

_MODULES = ("channel", "connection", "constants", "handlers", "readers", "writers")


def __getattr__(name: str) -> Any:
    """Import on first use: the types import `constants` from here, and the connection imports the types."""
    if name == "Connection":
        return import_module(f"{__name__}.connection").Connection
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """The package itself. `listen` is the function, although there is a module of that name, too."""

    @property
    def listen(self) -> Any:
        return import_module(f"{__name__}.listen").listen

    @listen.setter
    def listen(self, module: ModuleType) -> None:
        """Nothing: importing the module sets the name, which is the function's."""


sys.modules[__name__].__class__ = _Package
