"""The smallest foreign module that does something: everything that comes goes back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gadgetron.external import Connection

log = logging.getLogger(__name__)


def pass_through(connection: Connection) -> None:
    """Send every item back."""
    n_items = 0
    for item in connection:
        connection.send(item)
        n_items += 1
    log.info("Passed %d items through.", n_items)
