"""Readers of items, and the pieces that readers of one's own are made of.

A reader is a function that takes a source, an object whose `read(n)` gives exactly n bytes, and returns an item. The id
of the message has been read before. `Connection.add_reader` adds one.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from struct import Struct
from typing import Any, Protocol

import ismrmrd
import numpy as np
from ismrmrd.image import get_dtype_from_data_type
from numpy.typing import NDArray

from gadgetron.external import constants
from gadgetron.limits import LIMITS, check
from gadgetron.protocol.arrays import IMAGE_DTYPES

MAX_ITEM_BYTES = LIMITS.max_recon_data_bytes
ACQUISITION_HEADER_BYTES = ctypes.sizeof(ismrmrd.AcquisitionHeader)
COORDINATE = np.dtype("<f4")
SAMPLE = np.dtype("<c8")

Reader = Callable[..., Any]


class Source(Protocol):
    """What readers read from."""

    def read(self, nbytes: int) -> bytes:
        """Give exactly n bytes."""


def read(source: Source, type: Struct) -> Any:  # noqa: A002 - its name in existing calls
    """Read one number of a format such as `constants.uint32`."""
    return type.unpack(source.read(type.size))[0]


def read_optional(source: Source, continuation: Reader, *args: Any, **kwargs: Any) -> Any:
    """Read what may be absent: a byte that tells, and if it is there, what the continuation reads."""
    return continuation(source, *args, **kwargs) if read(source, constants.bool) else None


def read_vector(source: Source, numpy_type: Any = np.uint64) -> NDArray[Any]:
    """Read a number of elements and the elements, as an array of one dimension."""
    size = read(source, constants.uint64)
    return _elements(source, (size,), np.dtype(numpy_type))


def read_array(source: Source, numpy_type: Any = np.uint64) -> NDArray[Any]:
    """Read an array: its dimensions, fastest first, then the elements. It comes in Fortran order, writable."""
    return _elements(source, _dimensions(source)[::-1], np.dtype(numpy_type)).T


def read_object_array(source: Source, read_object: Reader) -> NDArray[np.object_]:
    """Read an array of objects: its dimensions, fastest first, then the objects one by one."""
    dimensions = _dimensions(source)
    count = math.prod(dimensions) if dimensions else 0
    check("objects in an array", count, MAX_ITEM_BYTES // ctypes.sizeof(ismrmrd.ImageHeader))
    objects = np.empty(dimensions[::-1], dtype=object)
    flat = objects.reshape(-1)
    for index in range(count):
        flat[index] = read_object(source)
    return objects.T


def _dimensions(source: Source) -> tuple[int, ...]:
    count = read(source, constants.uint64)
    check("dimensions of an array", count, LIMITS.max_array_dimensions)
    return Struct(f"<{count}Q").unpack(source.read(8 * count))


def _elements(source: Source, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read elements into an array of their own, aligned and writable."""
    shape = shape or (0,)
    n_bytes = math.prod(shape) * dtype.itemsize
    if not n_bytes:
        return np.empty(shape, dtype)
    check("bytes of an array", n_bytes, MAX_ITEM_BYTES)
    return np.ndarray(shape, dtype, _view(source, n_bytes)).copy()


def _view(source: Source, n_bytes: int) -> Any:
    """Read bytes that are copied at once: what shares memory with the next ones will do."""
    read_view = getattr(source, "read_view", None)
    return source.read(n_bytes) if read_view is None else read_view(n_bytes)


def read_image_header(source: Source) -> ismrmrd.ImageHeader:
    """Read an image header (198 bytes)."""
    return ismrmrd.ImageHeader.from_buffer_copy(source.read(ctypes.sizeof(ismrmrd.ImageHeader)))


def read_acquisition_header(source: Source) -> ismrmrd.AcquisitionHeader:
    """Read an acquisition header (340 bytes)."""
    return ismrmrd.AcquisitionHeader.from_buffer_copy(_view(source, ACQUISITION_HEADER_BYTES))


def read_waveform_header(source: Source) -> ismrmrd.WaveformHeader:
    """Read a waveform header (40 bytes)."""
    return ismrmrd.WaveformHeader.from_buffer_copy(source.read(ctypes.sizeof(ismrmrd.WaveformHeader)))


def read_gadget_message_length(source: Source, type: Struct = constants.uint32) -> int:  # noqa: A002 - its name in existing calls
    """Read a length."""
    return int(read(source, type))


def read_byte_string(source: Source, type: Struct = constants.uint32) -> bytes:  # noqa: A002 - its name in existing calls
    """Read a length and that many bytes."""
    n_bytes = read_gadget_message_length(source, type)
    check("bytes of a text", n_bytes, max(LIMITS.max_header_bytes, LIMITS.max_config_bytes))
    return source.read(n_bytes)


def read_acquisition(source: Source) -> ismrmrd.Acquisition:
    """Read an acquisition."""
    header = read_acquisition_header(source)
    n_samples, n_channels, n_dimensions = (
        header.number_of_samples,
        header.active_channels,
        header.trajectory_dimensions,
    )
    trajectory = _elements(source, (n_samples, n_dimensions), COORDINATE)
    data = _elements(source, (n_channels, n_samples), SAMPLE)
    return ismrmrd.Acquisition(header, data, trajectory)


def read_waveform(source: Source) -> ismrmrd.Waveform:
    """Read a waveform."""
    header = read_waveform_header(source)
    return ismrmrd.Waveform(header, _elements(source, (header.channels, header.number_of_samples), np.dtype("<u4")))


def read_image(source: Source) -> ismrmrd.Image:
    """Read an image; pixels of type 4 (int) are int32, as the C++ Gadgetron writes them."""
    header = read_image_header(source)
    attributes = read_byte_string(source, constants.uint64).rstrip(b"\0").decode("utf-8", errors="replace")
    dtype = IMAGE_DTYPES.get(header.data_type) or get_dtype_from_data_type(header.data_type)
    x, y, z = header.matrix_size
    pixels = _elements(source, (header.channels, z, y, x), dtype)
    if dtype == np.int32:  # the ismrmrd package knows no such image, and would refuse it as an argument
        empty = ismrmrd.ImageHeader.from_buffer_copy(header)
        empty.channels = 0
        image = ismrmrd.Image(empty, attributes)
        image._head = header
        image._Image__data = pixels
        return image
    return ismrmrd.Image(header, attributes, data=pixels)
