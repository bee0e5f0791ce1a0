"""Documents of both dialects, made from parts."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

NAMESPACE = "http://gadgetron.sf.net/gadgetron"

Part = tuple[str, str]
GadgetPart = tuple[str, str, str, Iterable[Part]]


def v1(
    gadgets: Iterable[GadgetPart] = (), readers: Iterable[tuple[str, str]] = (), namespace: str = NAMESPACE
) -> bytes:
    """A document of the first dialect; gadgets are (name, dll, classname, properties), readers (slot, classname)."""
    text = [f"<gadgetronStreamConfiguration{f' xmlns={quoteattr(namespace)}' if namespace else ''}>"]
    for slot, classname in readers:
        text.append(f"<reader><slot>{slot}</slot><dll>gadgetroncore</dll><classname>{classname}</classname></reader>")
    for name, dll, classname, properties in gadgets:
        text.append(f"<gadget><name>{escape(name)}</name><dll>{dll}</dll><classname>{classname}</classname>")
        for key, value in properties:
            text.append(f"<property><name>{escape(key)}</name><value>{escape(value)}</value></property>")
        text.append("</gadget>")
    return ("".join(text) + "</gadgetronStreamConfiguration>").encode()


def v2(stream: str, *, version: str = "<version>2</version>", readers: str = "", writers: str = "") -> bytes:
    """A document of the second dialect around the inside of its stream."""
    return f"<configuration>{version}{readers}{writers}<stream>{stream}</stream></configuration>".encode()


def gadget(classname: str, inside: str = "", dll: str = "gadgetron_mricore") -> str:
    """A gadget of the second dialect."""
    return f"<gadget><dll>{dll}</dll><classname>{classname}</classname>{inside}</gadget>"
