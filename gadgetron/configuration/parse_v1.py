"""The first dialect: `<gadgetronStreamConfiguration>`, in use since the first Gadgetron."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring

from gadgetron.configuration.model import (
    ComponentSpec,
    ExecuteSpec,
    ExternalSpec,
    GadgetSpec,
    Node,
    StreamConfiguration,
)
from gadgetron.configuration.xml_safe import local_name

PYTHON_LIBRARY = "gadgetron_python"
"""The library whose PythonGadget ran a module in another process; that is an external node today."""

OWN_MODULES = "gadgets."
"""Modules below are gadgets of ours: a PythonGadget that names one runs inside this process."""


def parse_v1(root: Element, problems: list[str]) -> StreamConfiguration:
    """Read a document that its schema has found valid; what the schema cannot say is added to `problems`."""
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
            nodes.append(_node(element, problems))
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


def _node(element: Element, problems: list[str]) -> Node:
    classname = child_text(element, "classname") or ""
    dll = child_text(element, "dll") or ""
    properties = tuple(
        (child_text(child, "name") or "", child_text(child, "value") or "")
        for child in element
        if local_name(child) == "property"
    )
    name = gadget_name(element, classname)
    if (dll, classname) == (PYTHON_LIBRARY, "PythonGadget"):
        return _python_gadget(name, properties, problems)
    return GadgetSpec(name, dll, classname, properties)


def _python_gadget(name: str, properties: tuple[tuple[str, str], ...], problems: list[str]) -> Node:
    """Make an external node of a PythonGadget; or a gadget, if its module is one of ours."""
    values = dict(properties)
    module, target = values.get("python_module", "").strip(), values.get("python_class", "").strip()
    if not module:
        problems.append(f"gadget {name}: a PythonGadget needs the property python_module")
    if module.startswith(OWN_MODULES):
        own = tuple((key, value) for key, value in properties if not key.startswith("python_"))
        return GadgetSpec(name, "", f"{module}.{target}", own)
    action = ExecuteSpec("python", module, target or None)
    return ExternalSpec(name, action, property_document(properties), properties=properties)


def property_document(properties: Iterable[tuple[str, str]]) -> bytes:
    """Make the <configuration> that the module of a PythonGadget gets."""
    configuration = Element("configuration")
    for name, value in properties:
        SubElement(configuration, "property", {"name": name, "value": value})
    return tostring(configuration)
