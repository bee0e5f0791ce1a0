"""Check documents against the packaged XSD files, in words that a user understands.

Schemas are compiled once per process, when first needed. xmlschema gets trees that `xml_safe` has built, never a
document, and may open nothing outside the schema folder: no network, no location hints.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from gadgetron.configuration.packaged import schema_folder
from gadgetron.property_types import quoted

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAMESPACE = "http://gadgetron.sf.net/gadgetron"
MAX_ERRORS = 20

_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_SCHEMAS = {
    "gadgetronStreamConfiguration": "gadgetron.xsd",
    "configuration": "configuration.xsd",
    "gadgetronConfiguration": "gadgetron_config.xsd",
}


def schema_errors(root: Element) -> list[str]:
    """Give everything about a document that its schema does not allow, up to MAX_ERRORS of them; empty if it is valid.

    Parameters
    ----------
    root
        As `normalize` returns it; its name decides which schema applies.
    """
    schema = _compiled(_SCHEMAS[_plain(root.tag)])
    errors = islice(schema.iter_errors(root, use_location_hints=False), MAX_ERRORS)
    return list(dict.fromkeys(_in_words(error) for error in errors))


def normalize(root: Element) -> Element:
    """Put all elements into the namespace that their schema is for, whether the document names one or not.

    The tree is changed in place. Attributes of schema instances (location hints) are dropped: nothing may act on them.
    """
    prefix = "" if _plain(root.tag) == "configuration" else f"{{{NAMESPACE}}}"
    own = root.tag.rpartition("}")[0]
    for element in root.iter():
        namespace, _, name = element.tag.rpartition("}")
        if namespace in ("", own):
            element.tag = prefix + name
        for key in [key for key in element.attrib if key.startswith(_XSI)]:
            del element.attrib[key]
    return root


def preload() -> None:
    """Compile all schemas now, so that the first connection does not wait for it."""
    for name in _SCHEMAS.values():
        _compiled(name)


@cache
def _compiled(name: str) -> Any:
    import xmlschema  # expensive to import, and not needed by clients

    folder = schema_folder()
    return xmlschema.XMLSchema11(
        (folder / name).read_text(encoding="utf-8"),
        base_url=folder.as_uri() + "/",
        allow="sandbox",
        defuse="always",
        use_fallback=False,
    )


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _in_words(error: Any) -> str:
    path = re.sub(r"\{[^}]*\}|\b\w+:(?=\w)", "", error.path or "")
    where = path.lstrip("/") or _plain(error.elem.tag)
    return f"{where}: {_reason(error, _plain(error.elem.tag))}"


def _reason(error: Any, element: str) -> str:
    if hasattr(error.validator, "iter_elements"):  # what is wrong are the children
        return _children_reason(error)
    is_value = isinstance(error.obj, (str, int, float, Decimal))  # of an attribute, text or decoded
    value = str(error.obj) if is_value else error.elem.text or ""
    if element in _EXPECTED:
        return f"{quoted(value.strip())}, expected {_EXPECTED[element]}"
    return re.sub(r"\{[^}]*\}", "", str(error.reason or error.message))


def _children_reason(error: Any) -> str:
    if error.invalid_child is None:
        present = {_plain(child.tag) for child in error.elem}
        names = [name for name in _required(error.validator) if name not in present]
        return " and ".join(f"<{name}>" for name in names) + (" are missing" if len(names) > 1 else " is missing")
    name = _plain(error.invalid_child.tag)
    allowed = [_plain(item.name) for item in error.validator.iter_elements() if item.name]
    if name in allowed:
        return f"<{name}> stands here more often than is allowed"
    return f"unknown element <{name[:80]}>, expected {', '.join(f'<{item}>' for item in allowed) or 'none'}"


def _required(group: Any) -> list[str]:
    return [_plain(item.name) for item in group.iter_elements() if item.name and item.min_occurs]


_EXPECTED = {
    "slot": "a whole number from 0 to 65535",
    "port": "a whole number from 0 to 65535",
    "connect": "a port, a whole number from 0 to 65535",
    "timeout": "a number of seconds above 0, at most 1000000",
    "version": "2",
    "classname": "the name of a class, up to 256 characters",
    "name": "a name of 1 to 256 characters",
    "property": "a name of 1 to 256 characters",
    "parallelprocess": "a number of workers",
}
