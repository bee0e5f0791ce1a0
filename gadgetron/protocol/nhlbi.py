"""Compressed samples as NHLBI's clients send them: integers of few bits, with one scale for all.

A block is `u64` number of values, `f32` scale, `u8` bits per value, then the values as two's complement integers of
that many bits, packed without gaps, the least significant bit first. A value is integer / scale. It loses what is below
half a step; with the step well below the noise, nothing that can be seen.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gadgetron.errors import MalformedMessageError

__all__ = ["BLOCK_HEADER", "MAX_BITS", "MIN_BITS", "block_bytes", "compress", "decompress", "max_block_bytes"]

BLOCK_HEADER: Final = struct.Struct("<QfB")
MIN_BITS: Final = 2  # with one, only the sign would be left, and the scale zero
MAX_BITS: Final = 31
MAX_READ_BITS: Final = 32  # an older version of the clients had that as default
GROUP: Final = 8  # values of b bits: b bytes
CHUNK: Final = 8192 * GROUP  # unpacked at a time: whatever the peer sent, little more memory than the result's
WORD_BYTES: Final = 8


def block_bytes(n_values: int, bits: int) -> int:
    """Give the size of a block [bytes]."""
    return BLOCK_HEADER.size + (n_values * bits + 7) // 8


def max_block_bytes(n_values: int) -> int:
    """Give the largest size of a block of so many values [bytes]."""
    return block_bytes(n_values, MAX_READ_BITS) + GROUP


def decompress(block: memoryview, n_values: int) -> NDArray[np.float32]:
    """Read a block.

    Parameters
    ----------
    block
        The bytes, all of them.
    n_values
        How many values there have to be; its memory must have been checked against a limit.

    Returns
    -------
        Shape (n_values,), float32, a new array.

    Raises
    ------
    MalformedMessageError
        If the block has another number of values, no usable scale or number of bits, or another size than they say.
    """
    if len(block) < BLOCK_HEADER.size:
        raise MalformedMessageError(f"compressed data bytes ({len(block)}): at least {BLOCK_HEADER.size} expected")
    found, scale, bits = BLOCK_HEADER.unpack_from(block)
    if found != n_values:
        raise MalformedMessageError(f"compressed data values ({found}): {n_values} expected — header says so")
    if not 1 <= bits <= MAX_READ_BITS:
        raise MalformedMessageError(f"compressed data bits ({bits}): 1 to {MAX_READ_BITS} expected")
    if not scale > 0:
        raise MalformedMessageError(f"compressed data scale ({scale:g}): more than 0 expected")
    payload = block[BLOCK_HEADER.size :]
    if len(payload) not in {(n_values * bits + 7) // 8, _cplusplus_bytes(n_values, bits)}:
        expected = (n_values * bits + 7) // 8
        raise MalformedMessageError(
            f"compressed data bytes ({len(payload)}): {expected} expected of {n_values} values of {bits} bits"
        )
    if math.isinf(scale):  # of zeros: the C++ client divides by the largest of them
        return np.zeros(n_values, np.float32)
    values = np.empty((n_values + GROUP - 1) // GROUP * GROUP, np.float32)
    for first in range(0, len(values), CHUNK):
        part = values[first : first + CHUNK]
        start = first * bits // 8
        _unpack(payload[start : start + len(part) * bits // 8], part, bits)
    values /= np.float32(scale)
    return values[:n_values]


def _cplusplus_bytes(n_values: int, bits: int) -> int:
    """Give the size that the C++ client computes, in single precision: off by a few above 2 MiB."""
    return math.ceil(float(np.float32(n_values * bits) / np.float32(8.0)))


def _unpack(payload: memoryview, values: NDArray[np.float32], bits: int) -> None:
    """Unpack signed integers: of every 8, which fill whole bytes, the first, then the second, and so on."""
    n_groups = len(values) // GROUP
    padded = np.zeros(n_groups * bits + WORD_BYTES, np.uint8)
    padded[: len(payload)] = np.frombuffer(payload, np.uint8)
    groups = values.reshape(n_groups, GROUP)
    sign, mask = np.int64(1 << (bits - 1)), np.int64((1 << bits) - 1)
    for position in range(GROUP):
        first_byte, shift = divmod(position * bits, 8)
        words: NDArray[Any] = np.ndarray((n_groups,), "<i8", padded, first_byte, (bits,))
        groups[:, position] = (((words >> np.int64(shift)) & mask) ^ sign) - sign


def compress(values: NDArray[np.float32], *, bits: int = 0, tolerance: float = 0.0) -> bytes | None:
    """Make a block.

    Parameters
    ----------
    values
        Shape (n,), float32.
    bits
        Bits for each value, 2 to 31; or 0 to find them from the tolerance.
    tolerance
        Largest error allowed, where bits is 0.

    Returns
    -------
        The block; None where it would not be smaller, or values are not finite: these are better sent as they are.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not math.isfinite(largest):
        return None
    if bits == 0:
        bits = _bits_for(largest, tolerance)
    if bits > MAX_BITS or block_bytes(values.size, bits) >= values.nbytes:
        return None
    max_integer = (1 << (bits - 1)) - 1
    scale = np.float32(max_integer / largest) if largest > 0 else np.float32(1.0)
    if not np.isfinite(scale) or not scale > 0:
        return None
    integers = np.rint(values.astype(np.float64) * float(scale)).clip(-max_integer, max_integer).astype(np.int64)
    header = BLOCK_HEADER.pack(values.size, float(scale), bits)
    return header + _pack(integers, bits)


def _bits_for(largest: float, tolerance: float) -> int:
    """Find the bits with which the largest value, and rounding in single precision, stay within the tolerance."""
    exact = tolerance - largest * float(np.finfo(np.float32).eps)
    if exact <= 0:
        return MAX_BITS + 1
    return max(MIN_BITS, math.ceil(0.5 / exact * largest).bit_length() + 1)


def _pack(integers: NDArray[np.int64], bits: int) -> bytes:
    words = integers.astype("<i4").view(np.uint8).reshape(-1, 4)
    flags = np.unpackbits(words, axis=1, count=bits, bitorder="little")
    return np.packbits(flags, bitorder="little").tobytes()
