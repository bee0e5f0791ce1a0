"""R17: properties undeclared, of the wrong type, out of range, or in a circle: refused before a thread starts."""

from __future__ import annotations

import threading

import pytest

from gadgetron.chain import build_chain
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.configuration.validate import validate
from gadgetron.environment import Environment
from gadgetron.errors import ConfigurationError, PropertyError
from gadgetron.loader import Loader
from tests.configuration.documents import v1

# Name and value, on an ExtractGadget called E.
SINGLE = [
    ("__class__", "os.system"),
    ("__dict__", "{}"),
    ("__init__", "x"),
    ("__reduce__", "x"),
    ("process", "x"),
    ("process_config", "x"),
    ("close", "x"),
    ("svc", "x"),
    ("controller", "x"),
    ("name", "x"),
    ("log", "x"),
    ("accepts", "x"),
    ("emits", "x"),
    ("inbox", "x"),
    ("_next", "x"),
    ("accepts_any_property", "true"),
    ("undeclared", "1"),
    ("extract_magnitud", "true"),
    ("EXTRACT_MAGNITUDE", "true"),
    ("extract_magnitude\u200b", "true"),
    ("x" * 200, "1"),
    ("extract_magnitude", "perhaps"),
    ("extract_magnitude", ""),
    ("extract_mask", "sixteen"),
    ("extract_mask", "16"),
    ("extract_mask", "-1"),
    ("extract_mask", "1e1"),
    ("extract_mask", "99999999999999999999"),
    ("real_imag_offset", "nan"),
    ("real_imag_offset", "inf"),
    ("real_imag_offset", "1,5"),
    ("threads", "0"),
    ("threads", "65"),
    ("threads", "100000"),
    ("threads", "-1"),
    ("debug_folder", "/etc"),
    ("debug_folder", "../elsewhere"),
    ("debug_folder", "a/../../elsewhere"),
    ("workingDirectory", "/"),
    ("workingDirectory", ".."),
    ("verbose", "verbose@E"),
    ("verbose", "verbose@Nobody"),
    ("verbose", "nothing@E"),
    ("verbose", "__class__@E"),
]


def environment(tmp_path) -> Environment:
    return Environment(loader=Loader(), search=ConfigurationSearch(environment={}), working_directory=tmp_path)


def refused(gadgets, tmp_path) -> ConfigurationError:
    configuration = parse_configuration(v1(gadgets), "test.xml", from_client=True)
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError) as caught:
        build_chain(configuration, environment(tmp_path))
    assert set(threading.enumerate()) == before
    report = validate(configuration, Loader())  # the program says what the server says
    assert report.errors
    return caught.value


def test_r17_there_are_enough_cases():
    assert len(SINGLE) >= 30


@pytest.mark.parametrize(("name", "value"), SINGLE)
def test_r17_a_bad_property_is_refused(name, value, tmp_path):
    error = refused([("E", "gadgetroncore", "ExtractGadget", [(name, value)])], tmp_path)
    assert isinstance(error, PropertyError)
    assert "gadget E" in str(error) or "@E" in str(error)
    assert str(tmp_path) not in error.client_text
    assert len(error.client_text) < 600


def chain_of(*links: tuple[str, str]):
    return [(name, "gadgetroncore", "ExtractGadget", [("extract_mask", target)]) for name, target in links]


@pytest.mark.parametrize(
    "links",
    [
        [("A", "extract_mask@B"), ("B", "extract_mask@A")],
        [("A", "extract_mask@B"), ("B", "extract_mask@C"), ("C", "extract_mask@A")],
        [("A", "extract_mask@B"), ("B", "extract_mask@C"), ("C", "extract_mask@B")],
    ],
    ids=["two", "three", "with a tail"],
)
def test_r17_circles_are_refused_once(links, tmp_path):
    error = refused(chain_of(*links), tmp_path)
    assert isinstance(error, PropertyError)
    assert str(error).count("references go in a circle") == 1


def test_r17_a_long_line_of_references_is_no_circle(tmp_path):
    links = [(f"G{i}", f"extract_mask@G{i + 1}") for i in range(100)] + [("G100", "5")]
    configuration = parse_configuration(v1(chain_of(*links)), "test.xml")
    chain = build_chain(configuration, environment(tmp_path))
    assert len(chain.gadgets) == 101


def test_r17_two_gadgets_of_one_name_cannot_be_referred_to(tmp_path):
    gadgets = chain_of(("A", "1"), ("A", "2"), ("B", "extract_mask@A"))
    assert "2 gadgets have that name" in str(refused(gadgets, tmp_path))


def test_r17_everything_wrong_is_said_at_once(tmp_path):
    gadgets = [
        ("A", "gadgetroncore", "ExtractGadget", [("nothing", "1")]),
        ("B", "gadgetroncore", "NoSuchGadget", []),
        ("C", "gadgetroncore", "ExtractGadget", [("extract_mask", "99")]),
    ]
    text = str(refused(gadgets, tmp_path))
    assert all(part in text for part in ("gadget A", "NoSuchGadget", "gadget C"))
