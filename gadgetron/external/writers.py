"""Writers of items, and the pieces that writers of one's own are made of.

A writer is a function that takes a destination, an object whose `write` takes bytes, and an item; it writes the id of
the message first. `Connection.add_writer` adds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from struct import Struct
from typing import Any, Protocol

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.external import constants
from gadgetron.external.readers import COORDINATE, SAMPLE

Writer = Callable[..., Any]

_ACQUISITION_ID = constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION)


class Destination(Protocol):
    """What writers write to."""

    def write(self, byte_array: Any) -> Any:
        """Take bytes, or anything that has the buffer protocol."""


class _SizedIterable(Sized, Iterable[Any], Protocol):
    """What has a length and can be iterated over."""


def write_optional(destination: Destination, optional: Any, continuation: Writer, *args: Any, **kwargs: Any) -> None:
    """Write what may be absent (None): a byte that tells, and if it is there, what the continuation writes."""
    destination.write(constants.bool.pack(optional is not None))
    if optional is not None:
        continuation(destination, optional, *args, **kwargs)


def write_vector(destination: Destination, values: _SizedIterable, type: Struct = constants.uint64) -> None:  # noqa: A002 - its name in existing calls
    """Write a number of elements and the elements, each in a format such as `constants.uint16`."""
    destination.write(constants.uint64.pack(len(values)) + b"".join(type.pack(int(value)) for value in values))


def write_array(destination: Destination, array: NDArray[Any], dtype: Any) -> None:
    """Write an array: its dimensions, first axis first, then the elements in Fortran order."""
    write_vector(destination, array.shape)
    destination.write(np.ascontiguousarray(array.T, dtype))


def write_object_array(
    destination: Destination, array: NDArray[np.object_], writer: Writer, *args: Any, **kwargs: Any
) -> None:
    """Write an array of objects: its dimensions, first axis first, then the objects in Fortran order."""
    write_vector(destination, array.shape)
    for item in array.T.ravel():
        writer(destination, item, *args, **kwargs)


def write_acquisition_header(destination: Destination, header: ismrmrd.AcquisitionHeader) -> None:
    """Write an acquisition header (340 bytes)."""
    destination.write(bytes(header))


def write_image_header(destination: Destination, header: ismrmrd.ImageHeader) -> None:
    """Write an image header (198 bytes)."""
    destination.write(bytes(header))


def write_byte_string(destination: Destination, byte_string: bytes, type: Struct = constants.uint32) -> None:  # noqa: A002 - its name in existing calls
    """Write a length and the bytes."""
    destination.write(type.pack(len(byte_string)) + byte_string)


def write_acquisition(destination: Destination, acquisition: ismrmrd.Acquisition) -> None:
    """Write an acquisition."""
    pieces: list[Any] = [_ACQUISITION_ID + bytes(acquisition._head)]
    trajectory, data = acquisition.traj, acquisition.data
    if trajectory.size:
        pieces.append(np.ascontiguousarray(trajectory, COORDINATE))
    if data.size:
        pieces.append(np.ascontiguousarray(data, SAMPLE))
    _write_together(destination, pieces)


def write_waveform(destination: Destination, waveform: ismrmrd.Waveform) -> None:
    """Write a waveform."""
    start = constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM)
    _write_together(destination, [start, *waveform_pieces(waveform)])


def waveform_pieces(waveform: ismrmrd.Waveform) -> list[Any]:
    """Give a waveform's header and data as they go on the wire."""
    pieces: list[Any] = [bytes(waveform._head)]
    if waveform.data.size:
        pieces.append(np.ascontiguousarray(waveform.data, "<u4"))
    return pieces


def write_image(destination: Destination, image: ismrmrd.Image) -> None:
    """Write an image with its meta attributes."""
    start = constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_ISMRMRD_IMAGE)
    attributes = image.attribute_string.encode("utf-8")
    header = ismrmrd.ImageHeader.from_buffer_copy(image._head)
    header.attribute_string_len = len(attributes)
    pieces: list[Any] = [start + bytes(header) + constants.uint64.pack(len(attributes)) + attributes]
    pixels = image.data
    if pixels.dtype == np.int64:  # what the ismrmrd package has for images of type 4, which are int32 on the wire
        pixels = pixels.astype("<i4")
    if pixels.size:
        pieces.append(np.ascontiguousarray(pixels))
    _write_together(destination, pieces)


def _write_together(destination: Destination, pieces: list[Any]) -> None:
    together = getattr(destination, "write_together", None)
    if together is not None:
        together(*pieces)
        return
    for piece in pieces:
        destination.write(piece)
