"""Passes on whatever comes."""

from __future__ import annotations

from typing import Any

from gadgetron.legacy import Gadget


class Passthrough(Gadget):
    """Put every item as it came."""

    def process(self, *parts: Any) -> None:
        """Pass one item on."""
        self.put_next(*parts)
