"""R18: ten thousand gadgets, a hundred thousand threads: refused, and no thread was started."""

from __future__ import annotations

import threading
import time

import pytest

from gadgetron.chain import build_chain
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.environment import Environment
from gadgetron.errors import ConfigurationError, GadgetronError, LimitExceeded, PropertyError
from gadgetron.loader import Loader
from gadgetron.stream import EndGadget, Stream
from tests.configuration.documents import gadget, v1, v2

HANG_GUARD_S = 5.0  # the goal of 100 ms is measured by `make reliability`, not asserted on busy machines


def start(document: bytes, tmp_path) -> None:
    """Do what a session does up to its first thread."""
    environment = Environment(loader=Loader(), search=ConfigurationSearch(environment={}), working_directory=tmp_path)
    chain = build_chain(parse_configuration(document, "test.xml", from_client=True), environment)
    Stream(chain.gadgets, EndGadget(lambda messages: None, lambda: None))


EXTRACT = ("gadgetroncore", "ExtractGadget")
CASES = {
    "10 000 gadgets": (v1([("G", "lib", "X", ())] * 10_000), LimitExceeded),
    "10 000 gadgets of the second dialect": (v2(gadget("X", dll="lib") * 10_000), LimitExceeded),
    "129 gadgets": (v1([(f"G{i}", *EXTRACT, ()) for i in range(129)]), LimitExceeded),
    "gadgets hidden in another node": (
        v2("<parallelprocess><purestream>" + gadget("X") * 129 + "</purestream></parallelprocess>"),
        LimitExceeded,
    ),
    "100 000 threads": (v1([("G", *EXTRACT, [("threads", "100000")])]), PropertyError),
    "65 threads": (v1([("G", *EXTRACT, [("threads", "65")])]), PropertyError),
    "5 times 64 threads": (v1([(f"G{i}", *EXTRACT, [("threads", "64")]) for i in range(5)]), ConfigurationError),
}


@pytest.mark.parametrize("name", CASES)
def test_r18_refused_before_a_thread_starts(name, tmp_path):
    document, error = CASES[name]
    before = set(threading.enumerate())
    began = time.monotonic()
    with pytest.raises(error) as caught:
        start(document, tmp_path)
    assert time.monotonic() - began < HANG_GUARD_S
    assert set(threading.enumerate()) == before
    assert isinstance(caught.value, GadgetronError)
    assert "limit" in str(caught.value)


def test_r18_as_much_as_is_allowed_is_accepted(tmp_path):
    start(v1([(f"G{i}", *EXTRACT, [("threads", "2")]) for i in range(128)]), tmp_path)
