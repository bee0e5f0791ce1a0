"""The second dialect: `<configuration>` with `<version>2</version>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gadgetron.configuration.model import (
    ComponentSpec,
    ConnectSpec,
    ExecuteSpec,
    ExternalSpec,
    GadgetSpec,
    Node,
    ParallelSpec,
    PureStreamSpec,
    StreamConfiguration,
    UnsupportedNode,
)
from gadgetron.configuration.parse_v1 import child_text, component, gadget_name
from gadgetron.configuration.xml_safe import local_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from gadgetron.configuration.xml_safe import ElementSources

CONFIGURATION = "configuration"
"""Name of the root, and of what an external node sends to its module, as it is written."""


def parse_v2(root: Element, problems: list[str], sources: ElementSources) -> StreamConfiguration:
    """Read a document that its schema has found valid; what the schema cannot say is added to `problems`."""
    readers: tuple[ComponentSpec, ...] = ()
    writers: tuple[ComponentSpec, ...] = ()
    nodes: tuple[Node, ...] = ()
    for section in root:
        kind = local_name(section)
        if kind == "readers":
            readers = tuple(component(child) for child in section)
        elif kind == "writers":
            writers = tuple(component(child) for child in section)
        elif kind == "stream":
            nodes = _nodes(section, problems, sources)
    return StreamConfiguration(2, readers, writers, nodes)


def _nodes(stream: Element, problems: list[str], sources: ElementSources) -> tuple[Node, ...]:
    return tuple(_node(child, position, problems, sources) for position, child in enumerate(stream, 1))


def _node(element: Element, position: int, problems: list[str], sources: ElementSources) -> Node:
    kind = local_name(element)
    if kind == "gadget":
        return _gadget(element, problems)
    if kind == "parallel":
        return _parallel(element, position, problems, sources)
    if kind == "parallelprocess":
        workers = int(element.get("workers") or 0)
        return PureStreamSpec(_pure_gadgets(element[0], problems), workers)
    if kind == "purestream":
        return PureStreamSpec(_pure_gadgets(element, problems))
    if kind == "external":
        return _external(element, position, problems, sources)
    return UnsupportedNode(kind, position)


def _external(element: Element, position: int, problems: list[str], sources: ElementSources) -> Node:
    children = {local_name(child): child for child in element}
    execute, connect = children.get("execute"), children.get("connect")
    if (execute is None) == (connect is None):
        both = "both <execute> and <connect>" if execute is not None else "neither <execute> nor <connect>"
        problems.append(f"node {position} of the stream, <external>, has {both}; it needs one of them")
        return ExternalSpec("external", ConnectSpec("localhost", 0))
    action: ExecuteSpec | ConnectSpec
    if execute is not None:
        target = (execute.get("target") or "").strip() or None
        action = ExecuteSpec(execute.get("type", "").strip().lower(), execute.get("name", "").strip(), target)
        name = f"{action.name}.{target}" if target else action.name
    else:
        attributes = connect.attrib if connect is not None else {}
        action = ConnectSpec(attributes.get("address", "").strip() or "localhost", int(attributes.get("port", "0")))
        name = f"{action.address}:{action.port}"
    return ExternalSpec(
        name,
        action,
        sources.document(children[CONFIGURATION]) if CONFIGURATION in children else b"<configuration/>",
        tuple(component(child) for child in children.get("readers", ())),
        tuple(component(child) for child in children.get("writers", ())),
    )


def _pure_gadgets(element: Element, problems: list[str]) -> tuple[GadgetSpec, ...]:
    return tuple(_gadget(child, problems) for child in element)


def _parallel(element: Element, position: int, problems: list[str], sources: ElementSources) -> ParallelSpec:
    children = {local_name(child): child for child in element}
    streams = [
        (child.get("key") or "", _nodes(child, problems, sources)) for child in element if local_name(child) == "stream"
    ]
    keys = [key for key, _ in streams]
    problems += [
        f"node {position} of the stream, <parallel>: {keys.count(key)} streams have the key {key!r}"
        for key in dict.fromkeys(keys)
        if keys.count(key) > 1
    ]
    return ParallelSpec(_gadget(children["branch"], problems), tuple(streams), _gadget(children["merge"], problems))


def _gadget(element: Element, problems: list[str]) -> GadgetSpec:
    classname = child_text(element, "classname") or ""
    name = gadget_name(element, classname)
    properties: list[tuple[str, str]] = []
    for child in element:
        if local_name(child) == "property":
            pair = _property(child, name, problems)
            if pair is not None:
                properties.append(pair)
    return GadgetSpec(name, child_text(element, "dll") or "", classname, tuple(properties))


def _property(element: Element, gadget: str, problems: list[str]) -> tuple[str, str] | None:
    """Read a property in its attribute form or in its child form; both at once, or half of one, is an error."""
    as_attributes = [element.get("name"), element.get("value")]
    as_children = [child_text(element, "name"), child_text(element, "value")]
    has_attributes = any(text is not None for text in as_attributes)
    has_children = any(text is not None for text in as_children)
    if has_attributes and has_children:
        problems.append(
            f"gadget {gadget}: a property has its name or value both as attributes and as children; use one form"
        )
        return None
    name, value = as_attributes if has_attributes else as_children
    if name is None or value is None:
        missing = "name" if name is None else "value"
        problems.append(f"gadget {gadget}: property {name or ''} has no {missing}".replace("  ", " "))
        return None
    return name.strip(), value.strip()
