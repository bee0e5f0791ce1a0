"""What the nodes of a configuration demand of the classes in them: a branch is a branch, and keys go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gadgetron.branch import Branch
from gadgetron.configuration.flow import FlowNode, FlowParallel, FlowStep
from gadgetron.configuration.model import ExternalSpec, GadgetSpec, Node, ParallelSpec, PureStreamSpec
from gadgetron.merge import Merge
from gadgetron.nodes import not_pure
from gadgetron.property_types import quoted

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget


def structure_problems(nodes: Sequence[Node], classes: Mapping[GadgetSpec, type[Gadget]]) -> list[str]:
    """Give what is wrong with the places in which classes stand; those that could not be loaded are left out."""
    problems: list[str] = []
    for node in nodes:
        if isinstance(node, GadgetSpec):
            problems += _plain_problems(node, classes.get(node))
        elif isinstance(node, PureStreamSpec):
            for spec in node.gadgets:
                found = classes.get(spec)
                problems += _plain_problems(spec, found)
                if found is not None and not found.thread_safe:
                    problems.append(not_pure(spec.name))
        elif isinstance(node, ParallelSpec):
            problems += _parallel_problems(node, classes)
            for _, stream in node.streams:
                problems += structure_problems(stream, classes)
    return problems


def _plain_problems(spec: GadgetSpec, found: type[Gadget] | None) -> Iterator[str]:
    for base, word in ((Branch, "branch"), (Merge, "merge")):
        if found is not None and issubclass(found, base):
            yield f"{spec.name} is a {word}: it belongs into a <parallel>, as its <{word}>"


def _parallel_problems(node: ParallelSpec, classes: Mapping[GadgetSpec, type[Gadget]]) -> Iterator[str]:
    keys = [key for key, _ in node.streams]
    branch, merge = classes.get(node.branch), classes.get(node.merge)
    if branch is not None and not issubclass(branch, Branch):
        yield f"{node.branch.name} is no branch (a subclass of Branch)"
    elif branch is not None and branch.keys is not None:
        yield from _key_problems(f"branch {node.branch.name} puts to", branch.keys, keys)
    if merge is not None and not issubclass(merge, Merge):
        yield f"{node.merge.name} is no merge (a subclass of Merge)"
    elif merge is not None and merge.inputs is not None:
        yield from _key_problems(f"merge {node.merge.name} takes from", tuple(merge.inputs), keys)


def _key_problems(who: str, wanted: Sequence[str], keys: Sequence[str]) -> Iterator[str]:
    for key in wanted:
        if key not in keys:
            present = ", ".join(map(quoted, keys))
            yield f"{who} a stream with the key {quoted(key)}, which is missing — streams: {present}"
    known = ", ".join(map(quoted, wanted))
    for key in keys:
        if key not in wanted:
            yield f"{who} the streams {known}; there is no use for one with the key {quoted(key)}"


def flow_nodes(nodes: Sequence[Node], steps: Mapping[GadgetSpec | ExternalSpec, FlowStep]) -> list[FlowNode]:
    """Give nodes as the flow of messages sees them."""
    found: list[FlowNode] = []
    for node in nodes:
        if isinstance(node, GadgetSpec | ExternalSpec):
            found.append(steps[node])
        elif isinstance(node, PureStreamSpec):
            found += [steps[spec] for spec in node.gadgets]
        elif isinstance(node, ParallelSpec):
            streams = [(key, flow_nodes(stream, steps)) for key, stream in node.streams]
            found.append(FlowParallel(steps[node.branch], streams, steps[node.merge]))
    return found
