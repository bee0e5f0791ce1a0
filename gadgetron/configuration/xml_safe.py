"""The one place where XML becomes a tree: configurations, headers, meta attributes, whoever sent them.

No DTD, hence no entities beyond the five of XML itself; no file, no network, no include; and limits that are checked
before the tree is built. Expat goes on reading after a handler raised, so what could make it work hard (a DTD, a long
tag, a long namespace name that is copied for every attribute) is looked for in the text, in linear time, before expat
sees it, and the text is given to it in parts.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from gadgetron.errors import ConfigurationError, GadgetronError
from gadgetron.limits import KIB, LIMITS, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_TAG_CHARACTERS = 32 * KIB  # one start tag with all its attributes
MAX_ATTRIBUTES_PER_ELEMENT = 256
MAX_NAMESPACE_CHARACTERS = 256
MAX_NAMESPACE_DECLARATIONS = 256  # where elements are given as they are written

_PART_BYTES = 256 * KIB
_DECLARATION = re.compile(rb"<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_TOO_MANY = f"{{{MAX_NAMESPACE_CHARACTERS + 1}}}"
_LONG_NAMESPACE = re.compile(rf"xmlns(?::[^\s=]{{0,256}})?\s*=\s*(?:\"[^\"]{_TOO_MANY}|'[^']{_TOO_MANY})")
_TAG_NAME = re.compile(rb"<[^\s/>]+")
_WHOLE_TAG = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*>")
_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "windows-1252": "cp1252",
    "utf-16": "utf-8",  # says so, but has no byte order mark: it was re-encoded on the way
}


def parse_xml(data: bytes, *, max_bytes: int, what: str, error: type[GadgetronError] = ConfigurationError) -> Element:
    """Parse a document into a tree of standard library elements.

    Namespaced names are spelled `{namespace}name`, as ElementTree does. Comments and processing instructions are left
    out. NUL characters at the end, which some clients count in, are ignored.

    Parameters
    ----------
    data
        The document as it came: UTF-8, UTF-16 with a byte order mark, ASCII, ISO-8859-1 or Windows-1252.
    max_bytes
        Size above which the document is not looked at.
    what
        What the document is, for error texts: "configuration default.xml", "ISMRMRD header".
    error
        Class of the error that a document that is not well-formed, or has a DTD, raises.

    Raises
    ------
    LimitExceeded
        If the document is too large, too deep, or has too many elements or too long tags.
    """
    text = _checked_text(data, max_bytes, what, error)
    return _Builder(what, error).build(text)


def parse_with_sources(data: bytes, *, max_bytes: int, what: str, name: str) -> tuple[Element, ElementSources]:
    """Parse a document as `parse_xml` does, and remember how its elements of one name are written.

    Raises
    ------
    ConfigurationError, LimitExceeded
        As `parse_xml`.
    """
    text = _checked_text(data, max_bytes, what, ConfigurationError)
    sources = ElementSources(text.encode(), name)
    return _Builder(what, ConfigurationError, sources).build(text), sources


def _checked_text(data: bytes, max_bytes: int, what: str, error: type[GadgetronError]) -> str:
    check(f"size of {what} in bytes", len(data), max_bytes)
    text = _decode(data, what, error)
    for kind, _ in _prolog(text):
        if kind == "doctype":
            raise error(f"{what} has a document type declaration (DOCTYPE): refused, for what DTDs can do to a server")
    _check_tags(text, what)
    return text


def first_comment(data: bytes, *, max_bytes: int) -> str:
    """Give the first comment before the root element, on one line; empty if there is none or it cannot be read."""
    if len(data) > max_bytes:
        return ""
    try:
        text = _decode(data, "document", ConfigurationError)
    except ConfigurationError:
        return ""
    for kind, content in _prolog(text):
        if kind == "comment":
            return " ".join(content.split())
    return ""


def local_name(element: Element) -> str:
    """Give an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _decode(data: bytes, what: str, error: type[GadgetronError]) -> str:
    encoding = "utf-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
        data = data[:-1] if len(data) % 2 and data.endswith(b"\0") else data
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    elif data.startswith(b"<\0"):
        encoding = "utf-16-le"
        data = data[:-1] if len(data) % 2 else data
    elif data.startswith(b"\0<"):
        encoding = "utf-16-be"
        data = data[:-1] if len(data) % 2 else data
    elif match := _DECLARATION.match(data):
        named = match[1].decode("ascii").lower()
        if named not in _ENCODINGS:
            raise error(f"{what} is written in the encoding {named}: use UTF-8")
        encoding = _ENCODINGS[named]
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as err:
        raise error(f"{what} is not valid {encoding.upper()} at byte {err.start}") from err
    text = text.rstrip("\0")
    if not text.strip():
        raise error(f"{what} is empty")
    return text


def _prolog(text: str) -> Iterator[tuple[str, str]]:
    """Walk through what may come before the root element, in time linear in its length."""
    position = 0
    while True:
        while position < len(text) and text[position] in " \t\r\n\ufeff":
            position += 1
        if text.startswith("<?", position):
            kind, begin, end_mark = "instruction", position + 2, "?>"
        elif text.startswith("<!--", position):
            kind, begin, end_mark = "comment", position + 4, "-->"
        elif text.startswith("<!", position):
            yield "doctype", ""
            return
        else:
            return
        end = text.find(end_mark, begin)
        if end < 0:
            return
        yield kind, text[begin:end]
        position = end + len(end_mark)


def _check_tags(text: str, what: str) -> None:
    """Refuse start tags and namespace names that are too long, in time linear in the text's length.

    A tag holds no `<` but its first character. So only where a window of text has no other `<` can there be a tag
    that is too long; two steps advance by a window at least.
    """
    if match := _LONG_NAMESPACE.search(text):
        check(
            f"number of characters of a namespace name in {what}", match.end() - match.start(), MAX_NAMESPACE_CHARACTERS
        )
    position = text.find("<")
    while position >= 0:
        following = text.rfind("<", position + 1, position + 2 + MAX_TAG_CHARACTERS)
        if following < 0:
            if not text.startswith(("<!", "<?"), position):
                check(f"number of characters of one tag in {what}", _tag_length(text, position), MAX_TAG_CHARACTERS)
            following = text.find("<", position + 1 + MAX_TAG_CHARACTERS)
        position = following


def _tag_length(text: str, start: int) -> int:
    """Length of the tag that starts here; quoted attribute values may contain `>`."""
    quote = ""
    for index in range(start, min(start + MAX_TAG_CHARACTERS + 1, len(text))):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == ">":
            return index - start + 1
    return min(len(text) - start, MAX_TAG_CHARACTERS + 1)


class ElementSources:
    """How elements of one name are written in a document: what a tree does not tell, comments and prefixes included.

    Parameters
    ----------
    data
        The document, UTF-8.
    name
        Name of the elements, without namespace.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._places: dict[Element, tuple[int, int]] = {}
        self._open: list[int] = []
        self._declarations: list[_Declaration] = []  # in the order of the document
        self._in_scope: dict[str, list[_Declaration]] = {}

    def document(self, element: Element) -> bytes:
        """Give an element as a document of its own, UTF-8: as it is written, with the prefixes that it uses declared.

        A default namespace that is declared further up is not: who looks for `property` would not find it.
        """
        start, end = self._places[element]
        text = self._data[start:end]
        around = [found for found in self._declarations if found.begin < start and found.end >= end]
        namespaces = {found.prefix: found.namespace for found in around if f"{found.prefix}:".encode() in text}
        name = _TAG_NAME.match(text)
        at = name.end() if name is not None else 0
        tag = text[at : _tag_end(text, 0)]
        declarations = "".join(
            f" xmlns:{prefix}={quoteattr(namespace)}"
            for prefix, namespace in namespaces.items()
            if not re.search(rf"\sxmlns:{re.escape(prefix)}\s*=".encode(), tag)
        )
        return text[:at] + declarations.encode() + text[at:]

    # Expat's handlers, with where the parser is

    def namespace_begins(self, prefix: str, namespace: str, offset: int) -> None:
        """Note where a declaration begins: at the element that has it."""
        check("number of namespace declarations", len(self._declarations) + 1, MAX_NAMESPACE_DECLARATIONS)
        declaration = _Declaration(prefix, namespace, offset)
        self._declarations.append(declaration)
        self._in_scope.setdefault(prefix, []).append(declaration)

    def namespace_ends(self, prefix: str, offset: int) -> None:
        """Note where a declaration ends."""
        self._in_scope[prefix].pop().end = offset

    def begins(self, tag: str, offset: int) -> None:
        """Note where an element begins."""
        if tag.rpartition("}")[2] == self._name:
            self._open.append(offset)

    def ends(self, tag: str, element: Element, offset: int) -> None:
        """Note where an element ends: its end tag begins at the offset, unless it has none."""
        if tag.rpartition("}")[2] == self._name:
            start = self._open.pop()
            end = _tag_end(self._data, start)
            if self._data[end - 2 : end] != b"/>":
                end = self._data.index(b">", offset) + 1
            self._places[element] = start, end


@dataclass
class _Declaration:
    prefix: str
    namespace: str
    begin: int
    end: int = sys.maxsize


def _tag_end(data: bytes, start: int) -> int:
    """Give where a start tag ends."""
    match = _WHOLE_TAG.match(data, start)
    return start if match is None else match.end()


class _Builder:
    """Expat's handlers: count, check, and hand on to ElementTree's builder."""

    def __init__(self, what: str, error: type[GadgetronError], sources: ElementSources | None = None) -> None:
        self._what = what
        self._error = error
        self._tree = TreeBuilder()
        self._depth = 0
        self._count = 0
        self._names: dict[str, str] = {}
        self._parser: Any = expat.ParserCreate("utf-8", "}")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._make_start()
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._tree.data
        self._parser.StartDoctypeDeclHandler = self._doctype
        if sources is not None:
            self._remember(sources)

    def build(self, text: str) -> Element:
        data = text.encode()
        try:
            for start in range(0, len(data), _PART_BYTES):
                self._parser.Parse(data[start : start + _PART_BYTES], False)
            self._parser.Parse(b"", True)
        except expat.ExpatError as err:
            reason = expat.ErrorString(err.code)
            raise self._error(
                f"{self._what} is not well-formed XML: {reason}, line {err.lineno}, column {err.offset + 1}"
            ) from err
        return self._tree.close()

    def _remember(self, sources: ElementSources) -> None:
        """Have the places of elements remembered, too."""
        parser, start = self._parser, self._parser.StartElementHandler

        def remember_start(tag: str, attributes: dict[str, str]) -> None:
            start(tag, attributes)
            sources.begins(tag, parser.CurrentByteIndex)

        def remember_end(tag: str) -> None:
            sources.ends(tag, self._end(tag), parser.CurrentByteIndex)

        def namespace_begins(prefix: str | None, namespace: str | None) -> None:
            if prefix is not None:
                sources.namespace_begins(prefix, namespace or "", parser.CurrentByteIndex)

        def namespace_ends(prefix: str | None) -> None:
            if prefix is not None:
                sources.namespace_ends(prefix, parser.CurrentByteIndex)

        parser.StartElementHandler, parser.EndElementHandler = remember_start, remember_end
        parser.StartNamespaceDeclHandler = namespace_begins
        parser.EndNamespaceDeclHandler = namespace_ends

    def _make_start(self) -> Callable[[str, dict[str, str]], None]:
        what, names, tree_start = self._what, self._names, self._tree.start
        max_depth, max_elements = LIMITS.max_xml_depth, LIMITS.max_xml_elements

        def start(tag: str, attributes: dict[str, str]) -> None:
            self._depth += 1
            self._count += 1 + len(attributes)
            if self._depth > max_depth:
                check(f"depth of nested elements in {what}", self._depth, max_depth)
            if self._count > max_elements:
                check(f"number of elements and attributes in {what}", self._count, max_elements)
            if attributes:
                check(f"number of attributes of one element in {what}", len(attributes), MAX_ATTRIBUTES_PER_ELEMENT)
                attributes = {"{" + key if "}" in key else key: value for key, value in attributes.items()}
            name = names.get(tag)
            if name is None:
                name = names[tag] = "{" + tag if "}" in tag else tag
            tree_start(name, attributes)

        return start

    def _end(self, tag: str) -> Element:
        self._depth -= 1
        return self._tree.end(self._names[tag])

    def _doctype(self, *_: object) -> None:
        raise self._error(f"{self._what} has a document type declaration (DOCTYPE): refused")
