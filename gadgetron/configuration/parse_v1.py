"""The first dialect: `<gadgetronStreamConfiguration>`, in use since the first Gadgetron."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gadgetron.configuration.model import ComponentSpec, GadgetSpec, Node, StreamConfiguration, UnsupportedNode
from gadgetron.configuration.xml_safe import local_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PYTHON_LIBRARY = "gadgetron_python"
"""The library whose PythonGadget ran a module in another process; that is an external node today."""


def parse_v1(root: Element, _problems: list[str]) -> StreamConfiguration:
    """Read a document that its schema has found valid. Nothing more can be wrong with it."""
    readers: list[ComponentSpec] = []
    writers: list[ComponentSpec] = []
    nodes: list[Node] = []
    for element in root:
        kind = local_name(element)
        if kind == "reader":
            readers.append(component(element))
        elif kind == "writer":
            writers.append(component(element))
        else:
            nodes.append(_node(element, len(nodes) + 1))
    return StreamConfiguration(1, tuple(readers), tuple(writers), tuple(nodes))


def child_text(element: Element, name: str) -> str | None:
    """Give the text of the first child of that name, without white space around it; None if there is no such child."""
    for child in element:
        if local_name(child) == name:
            return (child.text or "").strip()
    return None


def component(element: Element) -> ComponentSpec:
    """Read a `<reader>` or a `<writer>`."""
    slot = child_text(element, "slot")
    return ComponentSpec(
        dll=child_text(element, "dll") or "",
        classname=child_text(element, "classname") or "",
        slot=int(slot) if slot else None,
    )


def gadget_name(element: Element, classname: str) -> str:
    """Give a gadget's name; without one it is called what its class is called."""
    return child_text(element, "name") or classname.rpartition(".")[2]


def _node(element: Element, position: int) -> Node:
    classname = child_text(element, "classname") or ""
    dll = child_text(element, "dll") or ""
    if (dll, classname) == (PYTHON_LIBRARY, "PythonGadget"):
        return UnsupportedNode("gadget> with the class PythonGadget of <gadgetron_python", position)
    properties = tuple(
        (child_text(child, "name") or "", child_text(child, "value") or "")
        for child in element
        if local_name(child) == "property"
    )
    return GadgetSpec(gadget_name(element, classname), dll, classname, properties)
