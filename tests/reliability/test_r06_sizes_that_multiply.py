"""R06 and R07: sizes that multiply are refused before anything is made of them, also where the product would wrap."""

from __future__ import annotations

import math
import struct
from itertools import product

import numpy as np
import pytest

from gadgetron.errors import LimitExceeded
from gadgetron.limits import MIB
from gadgetron.protocol.arrays import IMAGE_DTYPES, size_bytes
from tests import raw_client as raw
from tests.reliability.sessions import make_environment, play
from tests.reliability.test_r05_length_fields import IMAGES_IN, peak_bytes

U16_MAX = 65_535
WIRE = b"""<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">
<reader><slot>1008</slot><dll/><classname>readers_writers.acquisition.AcquisitionReader</classname></reader>
<reader><slot>1026</slot><dll/><classname>readers_writers.waveform.WaveformReader</classname></reader>
</gadgetronStreamConfiguration>"""


def image(channels: int, x: int, y: int, z: int, data_type: int) -> bytes:
    head = bytearray(198)
    struct.pack_into("<HH", head, 0, 1, data_type)
    struct.pack_into("<3H", head, 16, x, y, z)
    struct.pack_into("<H", head, 34, channels)
    return raw.config_script(IMAGES_IN) + raw.header() + struct.pack("<H", raw.IMAGE) + bytes(head) + bytes(8)


def readout(samples: int, channels: int, dimensions: int = 0) -> bytes:
    session = raw.config_script(WIRE) + raw.header()
    return session + raw.acquisition(0, samples, channels, trajectory_dimensions=dimensions, body=b"")


def waveform(samples: int, channels: int) -> bytes:
    head = raw.waveform(0, 0)[: 2 + 28] + struct.pack("<HH", samples, channels) + bytes(8)
    return raw.config_script(WIRE) + raw.header() + head


LARGE = {
    "readout": readout(U16_MAX, U16_MAX),
    "trajectory": readout(U16_MAX, 1, U16_MAX),
    "image": image(U16_MAX, U16_MAX, U16_MAX, U16_MAX, 8),
    "flat image": image(1, U16_MAX, U16_MAX, 1, 1),
    "waveform": waveform(U16_MAX, U16_MAX),
}


@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE)
def test_r06_large_headers_are_refused_before_their_data_is_made_room_for(data: bytes) -> None:
    environment = make_environment()
    play(data, environment=environment)
    outcomes = []
    peak = peak_bytes(lambda: outcomes.append(play(data, environment=environment)))
    assert isinstance(outcomes[0].error, LimitExceeded)
    assert peak <= MIB, f"{peak} bytes"


def wrapping_images() -> list[tuple[int, int, int, int, int]]:
    """Images whose size in bytes is zero, or small, or negative, in 32 or 64 bits."""
    powers = [2**exponent for exponent in range(8, 16)]
    found = []
    for sides in product(powers, repeat=4):
        for data_type, dtype in IMAGE_DTYPES.items():
            exact = math.prod(sides) * dtype.itemsize
            if exact % 2**32 == 0 or exact % 2**64 >= 2**63:
                found.append((*sides, data_type))
    return found[:: len(found) // 40]


WRAPPING = [
    *wrapping_images(),
    (32_768, 32_768, 32_768, 32_768, 8),  # exactly 2 ** 64
]


@pytest.mark.parametrize("sides", WRAPPING, ids=str)
def test_r07_products_that_wrap_are_refused(sides: tuple[int, int, int, int, int]) -> None:
    error = play(image(*sides)).error
    assert isinstance(error, LimitExceeded)
    assert error.value == math.prod(sides[:4]) * IMAGE_DTYPES[sides[4]].itemsize


@pytest.mark.parametrize("data", [readout(32_768, 16_384), waveform(32_768, 32_768)], ids=["readout", "waveform"])
def test_r07_products_that_wrap_in_32_bits_are_refused(data: bytes) -> None:
    assert isinstance(play(data).error, LimitExceeded)


@pytest.mark.parametrize("shape", list(product((2**16, 2**31, 2**32, 2**63), repeat=3))[::7], ids=str)
def test_r07_sizes_are_computed_without_wrapping(shape: tuple[int, ...]) -> None:
    assert size_bytes(shape, np.dtype("<c16")) == 16 * math.prod(shape)
