"""The old style of foreign modules: a class with `process_config`, `process` and `put_next`."""

from __future__ import annotations

from gadgetron.legacy.gadget import Gadget

__all__ = ["Gadget"]
