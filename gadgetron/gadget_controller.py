"""What a gadget sees of the framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gadgetron.errors import GadgetError
from gadgetron.message import MessageBlock

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget


class GadgetController(Protocol):
    """What a gadget sees of the framework."""

    @property
    def working_directory(self) -> Path:
        """Folder in which gadgets may write."""

    def output_ready(self, message: MessageBlock) -> int:
        """Send a message to the client: a GadgetMessageIdentifier block, then the message."""

    def tell_client(self, text: str) -> None:
        """Send the client a text for people."""

    def find_gadget(self, name: str) -> Gadget | None:
        """Give a gadget of the same chain by its name."""

    def parameter(self, name: str) -> str | None:
        """Give a free parameter of this run (`--parameter name=value`)."""


class NoController:
    """Stands in for the framework until a gadget is part of a chain."""

    @property
    def working_directory(self) -> Path:
        """There is none."""
        raise GadgetError("?", "the gadget is not part of a chain, so it has no working directory")

    def output_ready(self, message: MessageBlock) -> int:
        """There is nowhere to send it."""
        raise GadgetError("?", "the gadget is not part of a chain, so there is nowhere to send output")

    def tell_client(self, text: str) -> None:
        """There is no client."""
        raise GadgetError("?", "the gadget is not part of a chain, so there is no client to tell")

    def find_gadget(self, name: str) -> Gadget | None:
        """There is no other gadget."""
        return None

    def parameter(self, name: str) -> str | None:
        """There is none."""
        return None
