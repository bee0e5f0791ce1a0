"""Arrays on the wire: how headers name data types, and views of received bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import ByteStream

IMAGE_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u2"),
    2: np.dtype("<i2"),
    3: np.dtype("<u4"),
    4: np.dtype("<i4"),
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    7: np.dtype("<c8"),
    8: np.dtype("<c16"),
}
"""Type of the pixels for each `ImageHeader.data_type`.

The ismrmrd package's own table has int64 where files have int32.
"""

IMAGE_DATA_TYPES: dict[np.dtype[Any], int] = {dtype: number for number, dtype in IMAGE_DTYPES.items()}
"""`ImageHeader.data_type` for each type of pixels."""

IMAGE_DTYPE_NAMES = ", ".join(dtype.name for dtype in IMAGE_DTYPES.values())


def size_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Size of an array [bytes]; cannot wrap, however large the numbers that a peer sent."""
    return math.prod(shape) * dtype.itemsize


def read_array(stream: ByteStream, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read an array as a view of the received bytes: contiguous, writable, aligned to nothing.

    Check its size against a limit first.
    """
    return np.ndarray(shape, dtype, stream.read_exactly(size_bytes(shape, dtype)))


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Give an array as it goes on the wire: contiguous, little-endian. The array itself where it is that already."""
    return np.ascontiguousarray(array, dtype)
