"""Check `property@gadget` references before anything runs: no gadget that is not there, no circle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gadgetron.properties import Reference, find_property, parse_reference
from gadgetron.property_types import nearest_name

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget


@dataclass(frozen=True, slots=True)
class ConfiguredGadget:
    """A gadget of a chain before it is made: its name, its class, and what is configured on it, in order."""

    name: str
    cls: type[Gadget]
    properties: tuple[tuple[str, str], ...] = ()


def reference_problems(gadgets: Sequence[ConfiguredGadget]) -> list[str]:
    """Give what is wrong with the references in a chain, in words; empty if nothing is."""
    by_name: dict[str, list[ConfiguredGadget]] = {}
    for gadget in gadgets:
        by_name.setdefault(gadget.name, []).append(gadget)
    edges: dict[tuple[str, str], tuple[str, str]] = {}
    problems = []
    for gadget in gadgets:
        for name, text in gadget.properties:
            reference = parse_reference(text)
            if reference is None:
                continue
            problem = _target_problem(reference, by_name)
            if problem:
                problems.append(f"gadget {gadget.name}: property {name} refers to {reference}, but {problem}")
            else:
                source = _end(gadget, name)
                edges[source] = _end(by_name[reference.gadget_name][0], reference.property_name)
    return problems + _circles(edges)


def _target_problem(reference: Reference, by_name: dict[str, list[ConfiguredGadget]]) -> str:
    targets = by_name.get(reference.gadget_name, [])
    if not targets:
        near = nearest_name(reference.gadget_name, by_name)
        return f"no gadget has that name{f'; did you mean {near}?' if near else ''}"
    if len(targets) > 1:
        return f"{len(targets)} gadgets have that name"
    target = targets[0]
    configured = {name for name, _ in target.properties} if target.cls.accepts_any_property else set()
    if find_property(target.cls, reference.property_name) is None and reference.property_name not in configured:
        return "that gadget has no such property"
    return ""


def _end(gadget: ConfiguredGadget, name: str) -> tuple[str, str]:
    found = find_property(gadget.cls, name)
    return gadget.name, found.name if found is not None else name


def _circles(edges: dict[tuple[str, str], tuple[str, str]]) -> list[str]:
    """Give each circle once. Every property refers to one other at most, so a walk either ends or comes back."""
    problems = []
    finished: set[tuple[str, str]] = set()
    for start in edges:
        path: list[tuple[str, str]] = []
        node = start
        while node in edges and node not in finished and node not in path:
            path.append(node)
            node = edges[node]
        if node in path:
            circle = [*path[path.index(node) :], node]
            problems.append("references go in a circle: " + " → ".join(f"{name}@{gadget}" for gadget, name in circle))
        finished.update(path)
    return problems
