"""R14: too deep, too many, too long, too large: LimitExceeded, without a RecursionError, in time and memory."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gadgetron.configuration.xml_safe import parse_xml
from gadgetron.errors import LimitExceeded
from gadgetron.limits import LIMITS, MIB

CASES = {
    "depth 100 000": b"<a>" * 100_000 + b"</a>" * 100_000,
    "depth 1 390 000, never closed": b"<a>" * 1_390_000,
    "1 000 000 siblings": b"<r>" + b"<a/>" * 1_000_000 + b"</r>",
    "attributes by the hundred thousand": b"<r>" + b"<a b='1' c='2'/>" * 200_000 + b"</r>",
    "1 MB attribute": b"<r a='" + b"x" * 1_000_000 + b"'/>",
    "1 MB tag that never ends": b"<" + b"r" * 1_000_000,
    "300 attributes": b"<r " + b" ".join(b"a%d=''" % i for i in range(300)) + b"/>",
    "2 MB namespace, used 100 000 times": b"<r xmlns:p='"
    + b"x" * 2_000_000
    + b"'>"
    + b"<x p:a=''/>" * 100_000
    + b"</r>",
    "one byte too many": b"<r>" + b"x" * (4 * MIB - 6) + b"</r>",
}
HANG_GUARD_S = 10.0  # made for machines with other things to do; `make reliability` prints the times


@pytest.mark.parametrize("name", CASES)
def test_r14_what_is_too_much_is_refused_by_its_name(name):
    began = time.monotonic()
    with pytest.raises(LimitExceeded) as caught:
        parse_xml(CASES[name], max_bytes=LIMITS.max_header_bytes, what="document")
    assert time.monotonic() - began < HANG_GUARD_S
    assert "document" in caught.value.field
    assert caught.value.value > caught.value.limit


def test_r14_memory_stays_small():
    # In a process of its own: what other tests have allocated would hide it.
    script = (
        "import resource, sys\n"
        "from gadgetron.configuration.xml_safe import parse_xml\n"
        "from gadgetron.errors import LimitExceeded\n"
        "from tests.reliability.test_r14_xml_size import CASES, LIMITS\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "for data in CASES.values():\n"
        "    try: parse_xml(data, max_bytes=LIMITS.max_header_bytes, what='document')\n"
        "    except LimitExceeded: pass\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 32 * 1024  # KiB


def test_r14_documents_at_the_limit_are_read():
    data = b"<r>" + b"x" * (4 * MIB - 7) + b"</r>"
    assert len(data) == LIMITS.max_header_bytes
    assert len(parse_xml(data, max_bytes=LIMITS.max_header_bytes, what="document").text) == 4 * MIB - 7
