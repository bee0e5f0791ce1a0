"""R13: entities, external documents, includes: any DOCTYPE is refused unparsed; nothing is opened or connected."""

from __future__ import annotations

import tracemalloc

import pytest

from gadgetron.configuration import xml_safe
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.schema import preload
from gadgetron.configuration.xml_safe import parse_xml
from gadgetron.errors import ConfigurationError, GadgetronError
from gadgetron.limits import LIMITS
from tests.configuration.documents import NAMESPACE
from tests.reliability.audit import recorded

_BOMB = "<!DOCTYPE a [<!ENTITY e0 'lol'>" + "".join(f"<!ENTITY e{i} '{f'&e{i - 1};' * 10}'>" for i in range(1, 10))
DTDS = {
    "billion laughs": f"{_BOMB}]><a>&e9;</a>",
    "small bomb": "<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'>]><a>&x;</a>",
    "quadratic": "<!DOCTYPE a [<!ENTITY x '" + "x" * 50_000 + "'>]><a>" + "&x;" * 5_000 + "</a>",
    "parameter entities": "<!DOCTYPE a [<!ENTITY % p '<!ENTITY x \"y\">'> %p;]><a>&x;</a>",
    "external file": "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
    "external http": "<!DOCTYPE a [<!ENTITY x SYSTEM 'http://127.0.0.1:1/x'>]><a>&x;</a>",
    "external parameter entity": "<!DOCTYPE a [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/x.dtd'> %p;]><a/>",
    "external DTD": "<!DOCTYPE a SYSTEM 'http://127.0.0.1:1/x.dtd'><a/>",
    "public DTD": "<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0//EN' 'http://127.0.0.1:1/x.dtd'><a/>",
    "behind a comment": "<!-- harmless --><!DOCTYPE a><a/>",
    "behind an instruction": "<?pi?>\n<!DOCTYPE a><a/>",
    "behind a declaration": "<?xml version='1.0' standalone='no'?><!DOCTYPE a SYSTEM 'x.dtd'><a/>",
}
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
OPENINGS = ("open", "socket.connect", "socket.getaddrinfo", "urllib.Request", "os.listdir")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", DTDS)
def test_r13_a_doctype_is_refused_without_reading_it(name, encoding, monkeypatch):
    data = DTDS[name].encode(encoding)
    monkeypatch.setattr(xml_safe, "_Builder", None)  # expat goes on after a handler raised: it may not even see a DTD
    with recorded(*OPENINGS) as events, pytest.raises(ConfigurationError, match="DOCTYPE"):
        parse_xml(data, max_bytes=LIMITS.max_header_bytes, what="document")
    assert events == []


def test_r13_refusing_costs_no_memory():
    data = DTDS["quadratic"].encode()
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError):
            parse_xml(data, max_bytes=LIMITS.max_header_bytes, what="document")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize(
    "document",
    [
        '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd" parse="text"/></a>',
        '<?xml-stylesheet href="http://127.0.0.1:1/x.xsl"?><a/>',
        f'<gadgetronStreamConfiguration xmlns="{NAMESPACE}" {XSI} xsi:schemaLocation="{NAMESPACE} http://127.0.0.1:1/x.xsd"/>',
        f'<configuration {XSI} xsi:noNamespaceSchemaLocation="file:///x"><version>2</version><stream/></configuration>',
    ],
    ids=["xinclude", "stylesheet", "schema location", "no-namespace schema location"],
)
def test_r13_nothing_that_a_document_points_at_is_opened(document):
    preload()  # the packaged schemas are read once per process, now
    with recorded(*OPENINGS) as events:
        try:
            parse_configuration(document.encode(), "document")
        except GadgetronError:
            pass
    assert events == []
