"""Arrays that say their own size: `u64 ndim; u64 dim[ndim]`, fastest first, then the elements in that order.

Our arrays are C-ordered, so the dimensions on the wire are the shape backwards, and the elements need no copy.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.protocol.arrays import contiguous
from gadgetron.protocol.wire import U64

if TYPE_CHECKING:
    from ctypes import Structure

    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import Buffer, ByteStream

    Header = TypeVar("Header", bound=Structure)

PRESENT = b"\1"
ABSENT = b"\0"


class Budget:
    """What is left of the bytes that one message may have: its parts are charged one by one, before they are read.

    Parameters
    ----------
    what
        The message, for error texts.
    limit
        Bytes of the whole message.
    """

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        self.used = 0

    def charge(self, n_bytes: int, part: str) -> None:
        """Count a part in.

        Raises
        ------
        LimitExceeded
            If the message becomes larger than is allowed.
        """
        self.used += n_bytes
        check(f"{self.what} bytes up to {part}", self.used, self.limit)


def read_shape(stream: ByteStream, what: str) -> tuple[int, ...]:
    """Read the dimensions of an array, and give them slowest first."""
    n_dimensions = stream.read_u64()
    check(f"dimensions of {what}", n_dimensions, stream.limits.max_array_dimensions)
    sizes: tuple[int, ...] = struct.unpack(f"<{n_dimensions}Q", stream.read_exactly(8 * n_dimensions))
    for size in sizes:
        check(f"axis of {what}", size, stream.limits.max_array_axis)
    return sizes[::-1]


def n_elements(shape: tuple[int, ...]) -> int:
    """Count the elements of an array; one without dimensions has none, as in the C++ Gadgetron."""
    return math.prod(shape) if shape else 0


def read_ndarray(
    stream: ByteStream, dtype: np.dtype[Any], n_dimensions: int, part: str, budget: Budget
) -> NDArray[Any]:
    """Read an array as a view of the received bytes.

    Parameters
    ----------
    n_dimensions
        How many it must have; an array without elements may have any number.
    part
        Which part of the message it is, for error texts.
    budget
        Of the message; the array is charged to it before it is read.

    Raises
    ------
    MalformedMessageError
        If it has another number of dimensions.
    LimitExceeded
        If it has more or longer axes than are allowed, or is too large for the message.
    """
    what = f"{part} of {budget.what}"
    shape = read_shape(stream, what)
    size = n_elements(shape)
    if size and len(shape) != n_dimensions:
        raise MalformedMessageError(f"{what} has {len(shape)} dimensions — expected {n_dimensions}")
    budget.charge(size * dtype.itemsize, part)
    data = stream.read_exactly(size * dtype.itemsize)
    return np.ndarray(shape if len(shape) == n_dimensions else (0,) * n_dimensions, dtype, data)


def ndarray_buffers(array: NDArray[Any], dtype: np.dtype[Any]) -> list[Buffer]:
    """Give the buffers that put an array on the wire: dimensions, then elements."""
    buffers: list[Buffer] = [shape_bytes(array.shape)]
    if array.size:
        buffers.append(contiguous(array, dtype))
    return buffers


def shape_bytes(shape: tuple[int, ...]) -> bytes:
    """Give the dimensions of an array as they go on the wire."""
    return struct.pack(f"<{len(shape) + 1}Q", len(shape), *reversed(shape))


def read_headers(
    stream: ByteStream, header_class: type[Header], n_bytes: int, n_dimensions: int, part: str, budget: Budget
) -> NDArray[np.object_]:
    """Read an array of ISMRMRD headers, `n_bytes` each, as an object array."""
    what = f"{part} of {budget.what}"
    shape = read_shape(stream, what)
    count = n_elements(shape)
    if count and len(shape) != n_dimensions:
        raise MalformedMessageError(f"{what} have {len(shape)} dimensions — expected {n_dimensions}")
    budget.charge(count * n_bytes, part)
    data = stream.read_exactly(count * n_bytes)
    headers = np.empty(shape if len(shape) == n_dimensions else (0,) * n_dimensions, dtype=object)
    flat = headers.reshape(-1)
    for index in range(count):  # one by one: NumPy would take a list of them for numbers
        flat[index] = header_class.from_buffer_copy(data, index * n_bytes)
    return headers


def forget_blank(headers: NDArray[np.object_]) -> None:
    """Put None where nothing was acquired: the C++ Gadgetron has blank acquisition headers there."""
    flat = headers.reshape(-1)
    for index, header in enumerate(flat):
        if header.number_of_samples == 0:
            flat[index] = None


def header_buffers(headers: NDArray[np.object_], header_class: type[Structure], part: str) -> list[Buffer]:
    """Give the buffers that put an array of headers on the wire; None goes as a header of zeros.

    Raises
    ------
    MalformedMessageError
        If something in it is no such header.
    """
    blank = bytes(header_class())
    pieces = []
    for header in headers.ravel():
        if header is None:
            pieces.append(blank)
        elif isinstance(header, header_class):
            pieces.append(bytes(header))
        else:
            raise MalformedMessageError(f"{part}: {type(header).__name__} — expected {header_class.__name__} or None")
    return [shape_bytes(headers.shape) + b"".join(pieces)]


def read_flag(stream: ByteStream, part: str) -> bool:
    """Read whether an optional part is there.

    Raises
    ------
    MalformedMessageError
        If the byte is neither 0 nor 1.
    """
    value = stream.read_exactly(1)[0]
    if value > 1:
        raise MalformedMessageError(f"{part}: {value} says whether it is there — expected 0 or 1")
    return value == 1


def read_count(stream: ByteStream, what: str, limit: int) -> int:
    """Read how many items a vector has."""
    count = stream.read_u64()
    check(what, count, limit)
    return count


def count_bytes(count: int) -> bytes:
    """Give the number of items of a vector as it goes on the wire."""
    return U64.pack(count)
