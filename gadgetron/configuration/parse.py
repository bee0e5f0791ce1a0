"""From a document to a StreamConfiguration: which dialect it is, whether it is valid, what it says.

Results are kept by content, so a scanner that sends the same configuration with every scan has it parsed once.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gadgetron.configuration.model import StreamConfiguration
from gadgetron.configuration.parse_v1 import parse_v1
from gadgetron.configuration.parse_v2 import CONFIGURATION, parse_v2
from gadgetron.configuration.schema import normalize, schema_errors
from gadgetron.configuration.xml_safe import local_name, parse_with_sources
from gadgetron.errors import ConfigurationError
from gadgetron.limits import LIMITS, check

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_ELEMENTS = 20_000
MAX_COMPONENTS = 256
MAX_CACHED = 64

ROOTS = ("gadgetronStreamConfiguration", "configuration")


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A configuration as far as it could be read, and what is wrong with it."""

    configuration: StreamConfiguration
    problems: tuple[str, ...]


def parse_configuration(xml: bytes, source: str, *, from_client: bool = False) -> StreamConfiguration:
    """Parse a stream configuration of either dialect.

    Parameters
    ----------
    xml
        The document.
    source
        What to call it in messages: a name, or words. No path: clients read them.
    from_client
        Whether a client sent the document itself, and not the name of a file.

    Raises
    ------
    ConfigurationError
        With everything that is wrong with the document.
    LimitExceeded
        If there is more of something than the server is willing to handle.
    """
    document = read_document(xml, source)
    if document.problems:
        raise ConfigurationError(problems_text(source, document.problems))
    return replace(document.configuration, from_client=from_client)


def read_document(xml: bytes, source: str) -> ParsedDocument:
    """Parse a stream configuration, and give what is wrong with it beside what could be read.

    Raises
    ------
    ConfigurationError
        If there is nothing to read: not XML, a DTD, another kind of document.
    LimitExceeded
        As `parse_configuration`.
    """
    check(f"size of {source} in bytes", len(xml), LIMITS.max_config_bytes)
    digest = hashlib.sha256(xml).hexdigest()
    document = _CACHE.get(digest)
    if document is None:
        document = _parse(xml, source, digest)
        _CACHE.put(digest, document)
    return replace(document, configuration=replace(document.configuration, source=source))


def problems_text(what: str, problems: tuple[str, ...] | list[str]) -> str:
    """Give one line that names all problems."""
    if len(problems) == 1:
        return f"{what}: {problems[0]}"
    numbered = "; ".join(f"({number}) {problem}" for number, problem in enumerate(problems, 1))
    return f"{what} has {len(problems)} problems: {numbered}"


def _parse(xml: bytes, source: str, digest: str) -> ParsedDocument:
    root, sources = parse_with_sources(xml, max_bytes=LIMITS.max_config_bytes, what=source, name=CONFIGURATION)
    kind = local_name(root)
    if kind not in ROOTS:
        expected = " or ".join(f"<{name}>" for name in ROOTS)
        hint = " (that is the server's own gadgetron.xml)" if kind == "gadgetronConfiguration" else ""
        raise ConfigurationError(f"{source}: the root element is <{kind[:80]}>{hint}, expected {expected}")
    _check_counts(root, source)
    problems = schema_errors(normalize(root))
    if problems:
        return ParsedDocument(StreamConfiguration(0, (), (), (), digest=digest), tuple(problems))
    configuration = parse_v1(root, problems) if kind == ROOTS[0] else parse_v2(root, problems, sources)
    problems += [
        f"node {node.position} of the stream, <{node.kind}>, is not supported yet" for node in configuration.unsupported
    ]
    problems += _duplicate_properties(configuration)
    return ParsedDocument(replace(configuration, digest=digest), tuple(problems))


def _check_counts(root: Element, source: str) -> None:
    """Refuse what is too much before the schema looks at each element."""
    counts: dict[str, int] = {}
    for element in root.iter():
        name = local_name(element)
        counts[name] = counts.get(name, 0) + 1
    n_gadgets = sum(counts.get(name, 0) for name in ("gadget", "branch", "merge", "external"))
    check(f"number of gadgets in {source}", n_gadgets, LIMITS.max_gadgets)
    check(f"number of readers in {source}", counts.get("reader", 0), MAX_COMPONENTS)
    check(f"number of writers in {source}", counts.get("writer", 0), MAX_COMPONENTS)
    check(f"number of elements in {source}", sum(counts.values()), MAX_ELEMENTS)


def _duplicate_properties(configuration: StreamConfiguration) -> list[str]:
    problems = []
    for gadget in configuration.gadgets:
        values: dict[str, str] = {}
        for name, value in gadget.properties:
            if values.setdefault(name, value) != value:
                problems.append(f"gadget {gadget.name}: property {name} is set twice, to different values")
    return problems


class _Cache:
    """The parsed documents that were used last, by digest."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()  # guards the next
        self._documents: OrderedDict[str, ParsedDocument] = OrderedDict()
        self._size = size

    def get(self, digest: str) -> ParsedDocument | None:
        with self._lock:
            document = self._documents.get(digest)
            if document is not None:
                self._documents.move_to_end(digest)
            return document

    def put(self, digest: str, document: ParsedDocument) -> None:
        with self._lock:
            self._documents[digest] = document
            while len(self._documents) > self._size:
                self._documents.popitem(last=False)


_CACHE = _Cache(MAX_CACHED)
