"""Both dialects: what is read, what is refused, in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetron.configuration import parse as parse_module
from gadgetron.configuration.model import (
    ComponentSpec,
    ConnectSpec,
    ExecuteSpec,
    ExternalSpec,
    GadgetSpec,
    ParallelSpec,
    PureStreamSpec,
)
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.xml_safe import parse_xml
from gadgetron.errors import ConfigurationError, GadgetronError, LimitExceeded
from tests.configuration.documents import NAMESPACE, gadget, v1, v2
from tests.reference import reference_file

WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=20)


def parse(document: bytes):
    return parse_configuration(document, "test.xml")


def seed_example() -> bytes:
    text = reference_file("seeds", "gadgetron-streaming-architecture.txt").read_text(encoding="utf-8")
    end = "</gadgetronStreamConfiguration>"
    start = text.index('<?xml version="1.0" encoding="UTF-8"?>\n<gadgetronStreamConfiguration')
    return text[start : text.index(end, start) + len(end)].encode()


def test_the_example_of_the_architecture_document_is_read_as_printed():
    configuration = parse(seed_example())
    assert configuration.version == 1
    assert configuration.readers == (ComponentSpec("gadgetroncore", "GadgetIsmrmrdAcquisitionMessageReader", 1008),)
    assert [(writer.slot, writer.classname) for writer in configuration.writers] == [
        (1004, "MRIImageWriterCPLX"),
        (1005, "MRIImageWriterFLOAT"),
        (1006, "MRIImageWriterUSHORT"),
    ]
    assert [(spec.name, spec.dll, spec.classname) for spec in configuration.gadgets] == [
        ("Acc", "gadgetroncore", "AccumulatorGadget"),
        ("FFT", "gadgetroncore", "FFTGadget"),
        ("Extract", "gadgetroncore", "ExtractGadget"),
        ("ImageFinishFLOAT", "gadgetroncore", "ImageFinishGadgetFLOAT"),
    ]


@given(
    st.lists(
        st.tuples(WORDS, WORDS, st.lists(st.tuples(WORDS, TEXTS), max_size=3, unique_by=lambda p: p[0])), max_size=4
    )
)
def test_both_dialects_say_the_same(gadgets):
    from xml.sax.saxutils import escape, quoteattr

    first = parse(v1([(name, "lib", classname, properties) for name, classname, properties in map(_escaped, gadgets)]))
    second = parse(
        v2(
            "".join(
                gadget(
                    escape(classname),
                    f"<name>{escape(name)}</name>"
                    + "".join(
                        f"<property name={quoteattr(key)} value={quoteattr(value)}/>" for key, value in properties
                    ),
                    dll="lib",
                )
                for name, classname, properties in gadgets
            )
        )
    )
    assert first.nodes == second.nodes
    assert [spec.properties for spec in first.gadgets] == [tuple(properties) for _, _, properties in gadgets]


def _escaped(part):
    from xml.sax.saxutils import escape

    name, classname, properties = part
    return name, escape(classname), properties


@pytest.mark.parametrize("namespace", [NAMESPACE, "", "urn:another"])
def test_the_first_dialect_is_read_in_any_namespace(namespace):
    configuration = parse(v1([("A", "lib", "AGadget", [("p", "1")])], [("1008", "R")], namespace))
    assert configuration.nodes == (GadgetSpec("A", "lib", "AGadget", (("p", "1"),)),)
    assert configuration.readers == (ComponentSpec("gadgetroncore", "R", 1008),)


def test_children_come_in_any_order_and_unknown_attributes_are_ignored():
    document = (
        b"<gadgetronStreamConfiguration a='1'><gadget b='2'><classname c='3'>X</classname>"
        b"<property><value>v</value><name>n</name></property><name> my\n gadget </name></gadget>"
        b"<reader><classname>R</classname></reader></gadgetronStreamConfiguration>"
    )
    configuration = parse(document)
    assert configuration.nodes == (GadgetSpec("my\n gadget", "", "X", (("n", "v"),)),)
    assert configuration.readers == (ComponentSpec("", "R", None),)


def test_an_empty_chain_is_a_configuration():
    assert parse(v1()).nodes == ()
    assert parse(v2("")).nodes == ()


def test_a_gadget_without_a_name_is_called_like_its_class():
    assert parse(v2(gadget("my.package.InvertGadget"))).gadgets[0].name == "InvertGadget"


def test_properties_of_the_second_dialect_have_two_forms():
    forms = '<property name="a" value=" 1 "/><property><name>b</name><value>2</value></property>'
    assert parse(v2(gadget("X", forms))).gadgets[0].properties == (("a", "1"), ("b", "2"))


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (v2(gadget("X", '<property name="a"><value>1</value></property>')), "both as attributes and as children"),
        (
            v2(gadget("X", '<property name="a" value="1"><name>a</name></property>')),
            "both as attributes and as children",
        ),
        (v2(gadget("X", '<property name="a"/>')), "gadget X: property a has no value"),
        (v2(gadget("X", '<property value="a"/>')), "gadget X: property has no name"),
        (v2(gadget("X", "<property/>")), "property has no name"),
        (v2("", version=""), "<version> is missing"),
        (v2("", version="<version>1</version>"), "'1', expected 2"),
        (v2("", version="<version>two</version>"), "'two', expected 2"),
        (b"<configuration><version>2</version></configuration>", "<stream> is missing"),
        (v2("<gadgt/>"), "unknown element <gadgt>, expected <gadget>"),
        (v2("<gadget><dll>x</dll></gadget>"), "<classname> is missing"),
        (v2(gadget(""), readers=""), "expected the name of a class"),
        (v1([("a", "b", "c", [("p", "1"), ("p", "2")])]), "property p is set twice, to different values"),
        (v1(readers=[("70000", "R")]), "'70000', expected a whole number from 0 to 65535"),
        (v1(readers=[("x", "R")]), "'x', expected a whole number"),
        (v1().replace(b">", b"><gaget/>", 1), "unknown element <gaget>, expected <reader>, <writer>, <gadget>"),
        (b"<gadgetronConfiguration/>", "gadgetron.xml"),
        (
            b"<ismrmrdHeader/>",
            "root element is <ismrmrdHeader>, expected <gadgetronStreamConfiguration> or <configuration>",
        ),
        (b"default.xml", "not well-formed"),
    ],
)
def test_what_is_wrong_is_said_in_words(document, says):
    with pytest.raises(ConfigurationError) as caught:
        parse(document)
    assert says in str(caught.value)
    assert "test.xml" in str(caught.value)
    assert "http://" not in str(caught.value)


def test_everything_wrong_is_said_at_once():
    document = v2("<gadget/><gadget><classname>X</classname><name>a</name><name>b</name></gadget><bad/>")
    with pytest.raises(ConfigurationError) as caught:
        parse(document)
    text = str(caught.value)
    assert "has 3 problems" in text
    assert all(part in text for part in ("gadget[1]: <classname> is missing", "gadget[2]: <name> stands", "<bad>"))


EMPTY = "<gadget><classname>X</classname></gadget>"
BRANCHES = "<branch><classname>B</classname></branch><merge><classname>M</classname></merge>"
DISTRIBUTOR = "<distributor><classname>D</classname></distributor>"
NODES = {
    "distributed": f"<distributed>{DISTRIBUTOR}<stream>{EMPTY}</stream></distributed>",
    "puredistributed": f"<puredistributed><readers/><writers/><purestream>{EMPTY}</purestream></puredistributed>",
}


@pytest.mark.parametrize("kind", NODES)
def test_other_nodes_are_valid_but_not_supported_yet(kind):
    with pytest.raises(ConfigurationError, match=f"node 2 of the stream, <{kind}>, is not supported yet"):
        parse(v2(EMPTY + NODES[kind]))


def test_parallel_streams_are_read():
    inner = f'<parallel>{BRANCHES}<stream key="x"/></parallel>'
    document = f'{EMPTY}<parallel><stream key="a"/>{BRANCHES}<stream key="b">{EMPTY}{inner}</stream></parallel>'
    first, node = parse(v2(document)).nodes
    plain, branch, merge = GadgetSpec("X", "", "X"), GadgetSpec("B", "", "B"), GadgetSpec("M", "", "M")
    assert first == plain
    assert node == ParallelSpec(branch, (("a", ()), ("b", (plain, ParallelSpec(branch, (("x", ()),), merge)))), merge)
    assert parse(v2(document)).gadgets == (plain, branch, plain, branch, merge, merge)


def test_pure_streams_are_read():
    plain = GadgetSpec("X", "", "X")
    document = (
        f'<parallelprocess workers="6"><purestream>{EMPTY}</purestream></parallelprocess>'
        f"<parallelprocess><purestream/></parallelprocess><purestream>{EMPTY}{EMPTY}</purestream>"
    )
    assert parse(v2(document)).nodes == (
        PureStreamSpec((plain,), 6),
        PureStreamSpec((), 0),
        PureStreamSpec((plain, plain), 1),
    )


def test_keys_are_unique_and_what_is_inside_is_checked():
    with pytest.raises(ConfigurationError, match="2 streams have the key 'a'"):
        parse(v2(f'<parallel>{BRANCHES}<stream key="a"/><stream key="a"/></parallel>'))
    with pytest.raises(ConfigurationError, match="<distributed>, is not supported yet"):
        parse(v2(f'<parallel>{BRANCHES}<stream key="a">{NODES["distributed"]}</stream></parallel>'))
    with pytest.raises(LimitExceeded, match="number of gadgets"):
        parse(v2(f'<parallel>{BRANCHES}<stream key="a"/></parallel>' * 65))


def test_external_nodes_are_read():
    document = (
        '<external><connect port="18000"/><configuration a="1">x<any thing="ü"/>text</configuration></external>'
        '<external><execute name="m.n" type="PYTHON" target="f"/><readers><reader><classname>R</classname></reader>'
        "</readers><writers><writer><classname>W</classname></writer></writers></external>"
        '<external><connect address="10.0.0.1" port="1"/></external>'
    )
    first, second, third = parse(v2(document)).nodes
    configuration = '<configuration a="1">x<any thing="ü"/>text</configuration>'.encode()
    assert first == ExternalSpec("localhost:18000", ConnectSpec("localhost", 18000), configuration)
    execute = ExecuteSpec("python", "m.n", "f")
    components = (ComponentSpec("", "R"),), (ComponentSpec("", "W"),)
    assert second == ExternalSpec("m.n.f", execute, b"<configuration/>", *components)
    assert third == ExternalSpec("10.0.0.1:1", ConnectSpec("10.0.0.1", 1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "neither <execute> nor <connect>"),
        ('<connect port="1"/><execute name="m" type="python"/>', "both <execute> and <connect>"),
        ('<connect port="70000"/>', "connect: '70000', expected a port"),
        ('<execute type="python"/>', "name"),
    ],
)
def test_an_external_node_is_started_or_connected_to(content, reason):
    with pytest.raises(ConfigurationError, match=reason):
        parse(v2(f"<external>{content}</external>"))


def test_a_python_gadget_of_the_first_dialect_is_an_external_node():
    properties = [("python_module", "recon"), ("python_class", "Recon"), ("strength", "a & b")]
    (node,) = parse(v1([("py", "gadgetron_python", "PythonGadget", properties)])).nodes
    assert isinstance(node, ExternalSpec)
    assert node.name == "py"
    assert node.action == ExecuteSpec("python", "recon", "Recon")
    found = [dict(element.attrib) for element in parse_xml(node.configuration, max_bytes=1000, what="it")]
    assert found == [{"name": name, "value": value} for name, value in properties]
    with pytest.raises(ConfigurationError, match="py: a PythonGadget needs the property python_module"):
        parse(v1([("py", "gadgetron_python", "PythonGadget", [])]))


def test_a_python_gadget_whose_module_is_one_of_ours_runs_inside():
    properties = [("python_module", "gadgets.mri_core.scale"), ("python_class", "ScaleGadget"), ("x", "1")]
    (node,) = parse(v1([("py", "gadgetron_python", "PythonGadget", properties)])).nodes
    assert node == GadgetSpec("py", "", "gadgets.mri_core.scale.ScaleGadget", (("x", "1"),))


def test_limits_hold_at_the_limit_and_fail_behind_it():
    one = ("g", "lib", "X", ())
    assert len(parse(v1([one] * 128)).gadgets) == 128
    with pytest.raises(LimitExceeded, match="number of gadgets in test.xml is 129, the limit is 128"):
        parse(v1([one] * 129))
    with pytest.raises(LimitExceeded, match="number of readers"):
        parse(v1(readers=[("1", "R")] * 257))
    with pytest.raises(LimitExceeded, match="number of elements"):
        parse(v1([("g", "lib", "X", [("p", "1")] * 7000)]))
    with pytest.raises(LimitExceeded, match="size of test.xml"):
        parse(v1() + b" " * (1024 * 1024))


@given(st.binary(max_size=200))
def test_only_our_errors_escape(data):
    document = v1([("g", "lib", "X", [("p", "1")])])
    for damaged in (data, document[: len(data)] + data + document[len(data) :]):
        try:
            parse(damaged)
        except GadgetronError:
            pass


def test_equal_documents_are_parsed_once(monkeypatch):
    document = v1([("cached", "lib", "X", ())])
    first = parse_configuration(document, "one.xml")
    monkeypatch.setattr(parse_module, "parse_with_sources", None)  # would fail if it were called
    second = parse_configuration(document, "two.xml", from_client=True)
    assert second.nodes is first.nodes
    assert (first.source, first.from_client) == ("one.xml", False)
    assert (second.source, second.from_client) == ("two.xml", True)


def test_the_cache_is_bounded():
    for number in range(2 * parse_module.MAX_CACHED):
        parse(v1([(f"bounded{number}", "lib", "X", ())]))
    assert len(parse_module._CACHE._documents) == parse_module.MAX_CACHED


def test_threads_may_parse_at_the_same_time():
    from concurrent.futures import ThreadPoolExecutor

    documents = [v1([(f"thread{number % 7}", "lib", "X", ())]) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        names = [configuration.gadgets[0].name for configuration in pool.map(parse, documents)]
    assert names == [f"thread{number % 7}" for number in range(200)]
