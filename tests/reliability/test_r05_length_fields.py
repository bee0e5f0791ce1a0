"""R05: every length field, with every suspicious value: refused by name before anything of that size is allocated."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from functools import partial

import pytest

from gadgetron.errors import ConnectionLost, GadgetronError, LimitExceeded
from gadgetron.limits import LIMITS, MIB
from tests import raw_client as raw
from tests.reliability.sessions import make_environment, play

VALUES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)

IMAGES_IN = b"""<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">
<reader><slot>1022</slot><dll/><classname>readers_writers.image.MRIImageReader</classname></reader>
<reader><slot>1018</slot><dll/><classname>readers_writers.dicom.DicomImageReader</classname></reader>
<reader><slot>1019</slot><dll/><classname>readers_writers.dependency_query.DependencyQueryReader</classname></reader>
</gadgetronStreamConfiguration>"""


def image_with_attributes(length: int) -> bytes:
    image = bytearray(198)
    struct.pack_into("<HH", image, 0, 1, 5)
    struct.pack_into("<3H", image, 16, 1, 1, 1)
    struct.pack_into("<H", image, 34, 1)
    struct.pack_into("<I", image, 194, length & 0xFFFFFFFF)
    return struct.pack("<H", raw.IMAGE) + bytes(image) + struct.pack("<Q", length)


def behind(*before: bytes) -> Callable[[bytes], bytes]:
    return lambda message: b"".join(before) + message


CONFIGURED = behind(raw.config_script(IMAGES_IN))
STREAMING = behind(raw.config_script(IMAGES_IN), raw.header())

SLOTS: dict[str, tuple[int, int, Callable[[int], bytes]]] = {
    "configuration": (4, LIMITS.max_config_bytes, lambda n: struct.pack("<HI", raw.CONFIG_SCRIPT, n)),
    "parameters": (4, LIMITS.max_header_bytes, lambda n: CONFIGURED(struct.pack("<HI", raw.HEADER, n))),
    "text": (4, LIMITS.max_text_bytes, lambda n: struct.pack("<HI", raw.TEXT, n)),
    "query": (8, LIMITS.max_text_bytes, lambda n: struct.pack("<HQQQ", raw.QUERY, 0, 1, n)),
    "response": (8, LIMITS.max_text_bytes, lambda n: struct.pack("<HQQ", raw.RESPONSE, 1, n)),
    "error": (8, LIMITS.max_text_bytes, lambda n: struct.pack("<HQ", raw.ERROR, n)),
    "attributes": (8, LIMITS.max_attribute_bytes, lambda n: STREAMING(image_with_attributes(n))),
    "DICOM": (4, LIMITS.max_blob_bytes, lambda n: STREAMING(struct.pack("<HI", 1018, n))),
    "dependency query": (8, LIMITS.max_attribute_bytes, lambda n: STREAMING(struct.pack("<HQ", 1019, n))),
}


def peak_bytes(function: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("value", VALUES)
def test_a_length_is_checked_before_it_is_believed(slot: str, value: int) -> None:
    n_field_bytes, limit, make = SLOTS[slot]
    value &= 2 ** (8 * n_field_bytes) - 1
    data = make(value)
    environment = make_environment()
    play(data, environment=environment)  # whatever is made once: caches, receive blocks
    outcomes: list[GadgetronError | None] = []
    peak = peak_bytes(lambda: outcomes.append(play(data, environment=environment).error))
    error = outcomes[0]
    if value > limit:
        assert isinstance(error, LimitExceeded), error
        assert (error.value, error.limit) == (value, limit)
        assert slot.rsplit(maxsplit=1)[-1].lower() in str(error).lower(), error
        assert peak <= MIB, f"{peak} bytes"
    else:
        assert error is None or isinstance(error, GadgetronError)


@pytest.mark.parametrize("slot", SLOTS)
def test_the_limit_itself_is_allowed_and_one_more_is_not(slot: str) -> None:
    _, limit, make = SLOTS[slot]
    assert not isinstance(play(make(limit)).error, LimitExceeded)
    assert isinstance(play(make(limit)).error, ConnectionLost)
    assert isinstance(play(make(limit + 1)).error, LimitExceeded)


@pytest.mark.parametrize("name", ["", "x" * 1023, "\0" * 1024, "x" * 1024], ids=["empty", "full", "zeros", "no end"])
def test_a_configuration_name_has_a_place_of_fixed_size(name: str) -> None:
    error = partial(play, struct.pack("<H1024s", raw.CONFIG_FILE, name.encode()))().error
    assert isinstance(error, GadgetronError)
    assert not isinstance(error, ConnectionLost)
