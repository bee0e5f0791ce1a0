"""What a stream configuration says, whichever dialect it is written in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class ParallelSpec:
    """Streams side by side.

    Attributes
    ----------
    branch
        Puts each message to one or more of the streams, by their keys.
    streams
        (key, nodes) pairs in the order of the file. A stream without nodes is a plain wire.
    merge
        Takes what comes out of them.
    """

    branch: GadgetSpec
    streams: tuple[tuple[str, tuple[Node, ...]], ...]
    merge: GadgetSpec


@dataclass(frozen=True, slots=True)
class PureStreamSpec:
    """Gadgets that keep nothing from one message to the next, run in several threads at once.

    Attributes
    ----------
    gadgets
        First to last.
    workers
        Number of threads; 0 for as many as there are processors.
    """

    gadgets: tuple[GadgetSpec, ...]
    workers: int = 1


@dataclass(frozen=True, slots=True)
class ExecuteSpec:
    """A foreign module that the server starts.

    Attributes
    ----------
    kind
        python, matlab, julia or command, in lower case.
    name
        The module, or the command's name.
    target
        What in the module is called; None for the default.
    """

    kind: str
    name: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectSpec:
    """A foreign module that is running, and where it listens."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ExternalSpec:
    """A part of the chain in another process.

    Attributes
    ----------
    name
        What to call it in messages.
    configuration
        An XML document, sent to the module as it is.
    readers, writers
        For what comes from and goes to the module; the default ones where there are none.
    properties
        (name, text) pairs of a PythonGadget of the first dialect, of which its configuration consists; their references
        to other gadgets are resolved when it is sent.
    """

    name: str
    action: ExecuteSpec | ConnectSpec
    configuration: bytes = b"<configuration/>"
    readers: tuple[ComponentSpec, ...] = ()
    writers: tuple[ComponentSpec, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UnsupportedNode:
    """A node that the second dialect knows and this server cannot run yet.

    Attributes
    ----------
    kind
        The element: distributed or puredistributed.
    position
        Place in the stream, counted from 1.
    """

    kind: str
    position: int


Node: TypeAlias = "GadgetSpec | ParallelSpec | PureStreamSpec | ExternalSpec | UnsupportedNode"


def walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """Give nodes, and those inside of them, in the order in which messages meet them."""
    for node in nodes:
        yield node
        if isinstance(node, ParallelSpec):
            yield node.branch
            for _, stream in node.streams:
                yield from walk(stream)
            yield node.merge
        elif isinstance(node, PureStreamSpec):
            yield from node.gadgets


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
        """The gadgets of the chain, branches, merges and those inside of nodes included, first to last."""
        return tuple(node for node in walk(self.nodes) if isinstance(node, GadgetSpec))

    @property
    def externals(self) -> tuple[ExternalSpec, ...]:
        """The external nodes, inside of others, too."""
        return tuple(node for node in walk(self.nodes) if isinstance(node, ExternalSpec))

    @property
    def unsupported(self) -> tuple[UnsupportedNode, ...]:
        """The nodes that this server cannot run, inside of others, too."""
        return tuple(node for node in walk(self.nodes) if isinstance(node, UnsupportedNode))
