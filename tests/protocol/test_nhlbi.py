"""Compressed samples: exact bytes, errors within the tolerance, and blocks that contradict themselves."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetron.errors import GadgetronError, MalformedMessageError
from gadgetron.protocol.nhlbi import block_bytes, compress, decompress


def pack_slowly(integers, bits, scale):
    """The format, bit by bit, with Python's integers."""
    total = 0
    for position, value in enumerate(integers):
        total |= (value & ((1 << bits) - 1)) << (position * bits)
    return struct.pack("<QfB", len(integers), scale, bits) + total.to_bytes((len(integers) * bits + 7) // 8, "little")


@given(data=st.data(), bits=st.integers(1, 32), n=st.integers(0, 40))
def test_blocks_are_read_as_the_format_says(data, bits, n):
    values = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    integers = data.draw(st.lists(values, min_size=n, max_size=n))
    found = decompress(memoryview(pack_slowly(integers, bits, 4.0)), n)
    np.testing.assert_array_equal(found, np.array(integers, np.float64).astype(np.float32) / 4)
    assert found.dtype == np.float32


@pytest.mark.parametrize("bits", range(2, 32))
def test_a_precision_keeps_so_many_bits(bits, rng):
    values = (1e-3 * rng.standard_normal(1001)).astype(np.float32)
    block = compress(values, bits=bits)
    assert block is not None
    assert len(block) == block_bytes(1001, bits)
    found = decompress(memoryview(block), 1001)
    largest = np.abs(values).max()
    assert np.abs(found - values).max() <= largest * (0.501 / ((1 << (bits - 1)) - 1) + 3e-7)
    n, scale, _ = struct.unpack_from("<QfB", block)
    if bits <= 24:  # above, products are rounded in single precision
        assert block == pack_slowly([round(float(v) * scale) for v in values], bits, scale)
    assert n == 1001


@pytest.mark.parametrize("tolerance", [0.3, 0.01, 1e-4])
def test_no_error_exceeds_the_tolerance(tolerance, rng):
    values = rng.standard_normal(500).astype(np.float32) * 7
    block = compress(values, tolerance=tolerance)
    assert block is not None
    assert np.abs(decompress(memoryview(block), 500) - values).max() <= tolerance
    bits = block[12]
    coarser = compress(values, bits=bits - 1)
    assert coarser is not None
    assert np.abs(decompress(memoryview(coarser), 500) - values).max() > tolerance


@pytest.mark.parametrize("n", [65_536, 65_537, 200_001])
@pytest.mark.parametrize("bits", [3, 12, 31])
def test_large_blocks_are_unpacked_in_parts(n, bits, rng):
    values = rng.standard_normal(n).astype(np.float32)
    block = compress(values, bits=bits)
    assert block is not None
    found = decompress(memoryview(block), n)
    assert np.abs(found - values).max() <= np.abs(values).max() * (0.6 / ((1 << (bits - 1)) - 1) + 3e-7)


def test_zeros_stay_zeros():
    zeros = np.zeros(10, np.float32)
    for block in (compress(zeros, bits=8), compress(zeros, tolerance=0.1), pack_slowly([0] * 10, 8, math.inf)):
        assert block is not None
        np.testing.assert_array_equal(decompress(memoryview(block), 10), zeros)


@pytest.mark.parametrize("values", [[1.0, np.inf] * 10, [np.nan] * 20, []])
def test_what_cannot_be_compressed_is_left_alone(values):
    assert compress(np.array(values, np.float32), bits=8) is None


def test_a_tolerance_below_single_precision_is_none():
    assert compress(np.array([1e6, 1.0] * 20, np.float32), tolerance=1e-3) is None


GOOD = pack_slowly([1, -2, 3], 5, 2.0)


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (b"", "bytes .0."),
        (GOOD[:12], "bytes .12."),
        (GOOD[:-1], "bytes .1.: 2 expected"),
        (GOOD + b"\0", "bytes .3.: 2 expected"),
        (struct.pack("<QfB", 4, 2.0, 5) + GOOD[13:], "values .4.: 3 expected"),
        (struct.pack("<QfB", 2**64 - 1, 2.0, 5) + GOOD[13:], "values"),
        (struct.pack("<QfB", 3, 2.0, 0), "bits .0."),
        (struct.pack("<QfB", 3, 2.0, 33) + bytes(13), "bits .33."),
        (struct.pack("<QfB", 3, 2.0, 255) + bytes(96), "bits .255."),
        (struct.pack("<QfB", 3, 0.0, 5) + GOOD[13:], "scale .0."),
        (struct.pack("<QfB", 3, -1.0, 5) + GOOD[13:], "scale .-1."),
        (struct.pack("<QfB", 3, math.nan, 5) + GOOD[13:], "scale .nan."),
    ],
)
def test_blocks_that_contradict_themselves_are_refused_by_field(block, field):
    with pytest.raises(MalformedMessageError, match=f"compressed data {field}"):
        decompress(memoryview(block), 3)


@given(block=st.binary(max_size=60), n=st.integers(0, 20))
def test_any_bytes_are_values_or_an_error_of_ours(block, n):
    try:
        assert decompress(memoryview(block), n).shape == (n,)
    except GadgetronError:
        pass
