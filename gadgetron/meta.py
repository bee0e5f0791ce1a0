"""Meta attributes of images and queries: ISMRMRD's small XML dialect, from and to `ismrmrd.Meta`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from ismrmrd import Meta

from gadgetron.configuration.xml_safe import local_name, parse_xml
from gadgetron.errors import MalformedMessageError
from gadgetron.limits import LIMITS, check

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse_meta(data: bytes, what: str, max_bytes: int = LIMITS.max_attribute_bytes) -> Meta:
    """Parse meta attributes.

    Parameters
    ----------
    data
        An XML document with the root `ismrmrdMeta`; NUL characters at its end are ignored.
    what
        Whose attributes they are, for error texts.

    Returns
    -------
        Every value is a string; a name that occurs with several values has the list of them.

    Raises
    ------
    MalformedMessageError
        If it is not such a document.
    LimitExceeded
        If it is too large or too deep.
    """
    root = parse_xml(data, max_bytes=max_bytes, what=f"meta attributes of {what}", error=MalformedMessageError)
    if local_name(root) != "ismrmrdMeta":
        raise MalformedMessageError(
            f"meta attributes of {what}: root element {local_name(root)} — expected ismrmrdMeta"
        )
    meta = Meta()
    for entry in root:
        if local_name(entry) == "meta":
            name, values = _parse_entry(entry, what)
            earlier = meta.get(name)
            if earlier is not None:
                values = [*(earlier if isinstance(earlier, list) else [earlier]), *values]
            meta[name] = values[0] if len(values) == 1 else values
    return meta


def _parse_entry(entry: Element, what: str) -> tuple[str, list[str]]:
    names = [child.text or "" for child in entry if local_name(child) == "name"]
    values = [child.text or "" for child in entry if local_name(child) == "value"]
    if len(names) != 1 or not names[0]:
        raise MalformedMessageError(
            f"meta attributes of {what}: an entry has {len(names)} names — expected one, not empty"
        )
    return names[0], values


def serialize_meta(meta: Meta, what: str, max_bytes: int = LIMITS.max_attribute_bytes) -> bytes:
    """Write meta attributes as XML; nothing at all if there are none.

    Characters that XML cannot hold become U+FFFD.

    Raises
    ------
    LimitExceeded
        If the text is longer than a reader would take.
    """
    if not meta:
        return b""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>\n<ismrmrdMeta>']
    for name, values in meta.items():
        lines.append(f"<meta><name>{_text(name)}</name>")
        lines.extend(f"<value>{_text(value)}</value>" for value in (values if isinstance(values, list) else [values]))
        lines.append("</meta>")
    lines.append("</ismrmrdMeta>")
    data = "".join(lines).encode()
    check(f"meta attributes of {what} bytes", len(data), max_bytes)
    return data


def _text(value: object) -> str:
    return escape(_NOT_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})
