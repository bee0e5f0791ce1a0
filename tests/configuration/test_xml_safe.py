"""The safe parser against the standard library's, and against what nobody should send."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetron.configuration.xml_safe import (
    MAX_NAMESPACE_DECLARATIONS,
    MAX_TAG_CHARACTERS,
    first_comment,
    local_name,
    parse_with_sources,
    parse_xml,
)
from gadgetron.errors import ConfigurationError, GadgetronError, LimitExceeded, MalformedMessageError
from gadgetron.limits import LIMITS

NAMES = st.sampled_from(["a", "b", "matrixSize", "x_1"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="￾￿"), max_size=20)


def parse(data: bytes, max_bytes: int = 1 << 20) -> ET.Element:
    return parse_xml(data, max_bytes=max_bytes, what="document")


def same(a: ET.Element, b: ET.Element) -> bool:
    mine = (a.tag, a.attrib, a.text or "", a.tail or "", len(a))
    theirs = (b.tag, b.attrib, b.text or "", b.tail or "", len(b))
    return mine == theirs and all(same(x, y) for x, y in zip(a, b, strict=True))


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> ET.Element:
    namespace = draw(st.sampled_from(["", "{urn:one}", "{http://www.ismrm.org/ISMRMRD}"]))
    element = ET.Element(namespace + draw(NAMES), draw(st.dictionaries(NAMES, TEXTS, max_size=3)))
    element.text = draw(TEXTS)
    if depth:
        for child in draw(st.lists(elements(depth=depth - 1), max_size=3)):
            child.tail = draw(TEXTS)
            element.append(child)
    return element


@given(elements(), st.sampled_from(["utf-8", "utf-16"]), st.integers(0, 3))
def test_parses_what_the_standard_library_writes(tree, encoding, nuls):
    data = ET.tostring(tree, encoding=encoding, xml_declaration=True)
    parsed = parse(data + b"\0" * nuls)
    assert same(parsed, ET.fromstring(data))  # noqa: TID251 - the one to compare with


@given(st.binary(max_size=300))
def test_only_our_errors_escape(data):
    try:
        parse(data)
    except GadgetronError:
        pass


@given(st.binary(max_size=60), st.integers(0, 200))
def test_only_our_errors_escape_from_damaged_documents(noise, where):
    good = b'<?xml version="1.0" encoding="UTF-8"?><a xmlns="urn:x" b="c"><d>text</d><!-- e --><f/></a>'
    try:
        parse(good[:where] + noise + good[where:])
    except GadgetronError:
        pass


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"\0\0", "empty"),
        (b"<a>", "not well-formed"),
        (b"<a></b>", "not well-formed"),
        (b"<a/><b/>", "not well-formed"),
        (b"<a>\0</a>", "not well-formed"),
        (b"<a>&nbsp;</a>", "undefined entity"),
        (b"<p:a/>", "not well-formed"),
        (b"<a>\xff</a>", "not valid UTF-8 at byte 3"),
        (b"<?xml version='1.0' encoding='cp500'?><a/>", "encoding cp500"),
        (b"\xff\xfe<", "not valid UTF-16"),
        (b"<!DOCTYPE a><a/>", "DOCTYPE"),
        (b"<?xml version='1.0'?>\n<!-- c --> <!doctype a><a/>", "DOCTYPE"),
        ("<!DOCTYPE a><a/>".encode("utf-16"), "DOCTYPE"),
    ],
)
def test_refused_documents_say_why(data, text):
    with pytest.raises(ConfigurationError, match=text):
        parse(data)


def test_the_error_class_can_be_chosen():
    with pytest.raises(MalformedMessageError):
        parse_xml(b"<a>", max_bytes=10, what="header", error=MalformedMessageError)


def test_limits_hold_at_the_limit_and_fail_behind_it():
    depth = LIMITS.max_xml_depth
    assert local_name(parse(b"<a>" * depth + b"</a>" * depth)) == "a"
    with pytest.raises(LimitExceeded, match="depth"):
        parse(b"<a>" * (depth + 1) + b"</a>" * (depth + 1))
    assert parse(b"<a/>", max_bytes=4).tag == "a"
    with pytest.raises(LimitExceeded, match="size of document in bytes"):
        parse(b"<aa/>", max_bytes=4)
    tag = b"<a b='" + b"x" * (MAX_TAG_CHARACTERS - 9) + b"'/>"
    assert len(tag) == MAX_TAG_CHARACTERS
    assert parse(tag).tag == "a"
    with pytest.raises(LimitExceeded, match="one tag"):
        parse(tag.replace(b"<a b", b"<a bb"))


def test_a_tag_may_hold_quoted_brackets_and_be_followed_by_long_text():
    text = b"y" * (3 * MAX_TAG_CHARACTERS)
    root = parse(b"<a b='" + b">" * 100 + b"'>" + text + b"</a>")
    assert root.get("b") == ">" * 100
    assert root.text == text.decode()


def test_a_comment_may_hold_what_a_document_may_not():
    assert parse(b"<!-- <!DOCTYPE a> --><a/>").tag == "a"


def test_the_first_comment_is_the_one_before_the_root():
    document = b"<?xml version='1.0'?>\n<!-- what\n  it is for -->\n<!-- more --><a><!-- inside --></a>"
    assert first_comment(document, max_bytes=1000) == "what it is for"
    assert first_comment(b"<a><!-- inside --></a>", max_bytes=1000) == ""
    assert first_comment(document, max_bytes=10) == ""


def as_written(document: str | bytes) -> list[bytes]:
    data = document.encode() if isinstance(document, str) else document
    root, sources = parse_with_sources(data, max_bytes=1 << 20, what="document", name="c")
    assert same(root, parse(data))
    return [sources.document(element) for element in root.iter() if local_name(element) == "c"]


@pytest.mark.parametrize(
    "text",
    [
        "<c/>",
        "<c />",
        "<c a='1' b=\"/>'ü\" />",
        "<c></c >",
        "<c><d/></c>",
        "<c\n>\r\n<!-- </c> --><![CDATA[</c>]]> &lt; &#228; <?pi </c>?><d>ü</d>\t</c\n>",
        '<c xmlns="urn:own" xmlns:g="urn:g"><g:d g:e="1"/></c>',
        "<c a='>'>x</c>",
        "<c>" + "x" * 300_000 + "</c>",
    ],
)
def test_elements_are_given_as_they_are_written(text: str) -> None:
    assert as_written(f"<?xml version='1.0'?><!-- c --><r><b>ü{text}</b>{text} tail<d/></r>") == [text.encode()] * 2


def test_elements_of_other_encodings_are_given_in_utf_8() -> None:
    text = "<r><c>ü</c></r>"
    for data in (text.encode("utf-16"), b"<?xml version='1.0' encoding='latin1'?>" + text.encode("latin1")):
        assert as_written(data) == ["<c>ü</c>".encode()]


def test_elements_inside_each_other_are_given_each() -> None:
    assert as_written("<c>1<c>2<c/></c></c>") == [b"<c>1<c>2<c/></c></c>", b"<c>2<c/></c>", b"<c/>"]


def test_prefixes_from_further_up_are_declared_where_they_are_used() -> None:
    document = (
        '<r xmlns="urn:default" xmlns:a="urn:a" xmlns:b="urn:b&amp;&quot;" xmlns:unused="urn:u"><d xmlns:a="urn:inner">'
        '<c><a:x b:y="1"/></c></d><e xmlns:b="urn:over"/><c xmlns:a="urn:own"><a:x/><b:y/></c><c>a b</c><a:c/></r>'
    )
    assert as_written(document) == [
        b'<c xmlns:a="urn:inner" xmlns:b=\'urn:b&amp;"\'><a:x b:y="1"/></c>',
        b'<c xmlns:b=\'urn:b&amp;"\' xmlns:a="urn:own"><a:x/><b:y/></c>',
        b"<c>a b</c>",
        b'<a:c xmlns:a="urn:a"/>',
    ]


def test_too_many_namespace_declarations_are_refused() -> None:
    declarations = "".join(f' xmlns:p{number}="u"' for number in range(MAX_NAMESPACE_DECLARATIONS + 1))
    with pytest.raises(LimitExceeded, match="namespace declarations"):
        as_written(f"<r{declarations}><c/></r>")
