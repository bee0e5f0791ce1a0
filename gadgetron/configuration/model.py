"""What a stream configuration says, whichever dialect it is written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A reader or a writer.

    Attributes
    ----------
    dll, classname
        Where the class is: a dotted `classname`, or a plain one that is looked up in `dll`.
    slot
        Message id it is for; None for the class's own.
    """

    dll: str
    classname: str
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class GadgetSpec:
    """A gadget of the chain; `properties` are (name, text) pairs in the order of the file."""

    name: str
    dll: str
    classname: str
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UnsupportedNode:
    """A node that the second dialect knows and this server cannot run yet.

    Attributes
    ----------
    kind
        The element: parallel, external, distributed, parallelprocess or puredistributed.
    position
        Place in the stream, counted from 1.
    """

    kind: str
    position: int


Node: TypeAlias = GadgetSpec | UnsupportedNode


@dataclass(frozen=True, slots=True)
class StreamConfiguration:
    """Readers, writers and the chain between them.

    Attributes
    ----------
    version
        1 for `gadgetronStreamConfiguration`, 2 for `configuration`.
    nodes
        The chain, first to last. Empty makes a plain wire from readers to writers.
    source
        Name for messages: a file's name as it was asked for, never a path of the server.
    digest
        SHA-256 of the document, hexadecimal: equal documents have equal digests.
    from_client
        The document itself came over the wire; folders it names must stay below the working directory.
    """

    version: int
    readers: tuple[ComponentSpec, ...]
    writers: tuple[ComponentSpec, ...]
    nodes: tuple[Node, ...]
    source: str = ""
    digest: str = ""
    from_client: bool = False

    @property
    def gadgets(self) -> tuple[GadgetSpec, ...]:
        """The gadgets of the chain, first to last."""
        return tuple(node for node in self.nodes if isinstance(node, GadgetSpec))
