"""The merge for streams that have nothing to do with each other."""

from __future__ import annotations

from gadgetron.merge import Merge
from gadgetron.message import MessageBlock


class UnorderedMerge(Merge):
    """Pass on what comes out of the streams as it comes. Each stream's own order is kept."""

    def process(self, key: str, message: MessageBlock) -> None:
        """Pass a message on."""
        self.put_next(message)
