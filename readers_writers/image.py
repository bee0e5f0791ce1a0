"""Images (1022): header, pixels of any of eight types, and perhaps meta attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import ImageHeader, Meta

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.message import (
    BLOCK_OVERHEAD_BYTES,
    Array,
    GadgetContainerMessage,
    MessageBlock,
    as_container_message,
)
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.meta import parse_meta, serialize_meta
from gadgetron.protocol.arrays import (
    IMAGE_DATA_TYPES,
    IMAGE_DTYPE_NAMES,
    IMAGE_DTYPES,
    contiguous,
    read_array,
    size_bytes,
)
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U64, read_bytes_u64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import ByteStream

HEADER_BYTES = 198

Pixels = (
    Array[np.uint16]
    | Array[np.int16]
    | Array[np.uint32]
    | Array[np.int32]
    | Array[np.float32]
    | Array[np.float64]
    | Array[np.complex64]
    | Array[np.complex128]
)
"""Every type of pixels that an image message can have, for type arguments."""

IMAGE: MessageType = (ImageHeader, Pixels)
IMAGE_WITH_META: MessageType = (ImageHeader, Pixels, Meta)


class MRIImageReader(GadgetMessageReader):
    """Reads images.

    Makes messages of header, pixels (channels, z, y, x), a view of the received bytes, and Meta where there is any.
    """

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGE
    emits: ClassVar[tuple[MessageType, ...]] = (IMAGE, IMAGE_WITH_META)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the image behind an id.

        Raises
        ------
        LimitExceeded
            If the matrix size or the length of the meta attributes is more than a message may have.
        MalformedMessageError
            If the data type is unknown, or the meta attributes are not what ISMRMRD defines.
        """
        header = ImageHeader.from_buffer_copy(stream.read_exactly(HEADER_BYTES))
        dtype = IMAGE_DTYPES.get(header.data_type)
        if dtype is None:
            raise MalformedMessageError(
                f"image data_type is {header.data_type} — known are 1 to 8 ({IMAGE_DTYPE_NAMES})"
            )
        return read_image(stream, header, dtype, has_meta=True)


class MRIImageWriter(GadgetMessageWriter):
    """Writes images of any of the eight types; data type and attribute length in the header follow what is sent."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGE
    accepts: ClassVar[tuple[MessageType, ...]] = (IMAGE,)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one image.

        Raises
        ------
        MalformedMessageError
            If the pixels are of another type, or do not have the shape that the header says.
        """
        header, pixels, meta = image_parts(message)
        write_image(stream, MessageID.ISMRMRD_IMAGE, header, pixels, meta)


ImageReader = MRIImageReader
ImageWriter = MRIImageWriter


def read_image(stream: ByteStream, header: ImageHeader, dtype: np.dtype[Any], *, has_meta: bool) -> MessageBlock:
    """Read what follows an image's header: meta attributes, if the message has them, and pixels."""
    x, y, z = header.matrix_size
    shape = (header.channels, z, y, x)
    n_bytes = size_bytes(shape, dtype)
    field = f"image bytes (channels {header.channels}, matrix_size {x} x {y} x {z}, {dtype.name})"
    check(field, n_bytes, stream.limits.max_image_bytes)
    meta = None
    if has_meta:
        limit = stream.limits.max_attribute_bytes
        text = read_bytes_u64(stream, "image meta attributes bytes", limit).rstrip(b"\0")
        meta = GadgetContainerMessage(parse_meta(text, "an image", limit)) if text else None
    pixels = GadgetContainerMessage(read_array(stream, shape, dtype), meta)
    pixels.charge(BLOCK_OVERHEAD_BYTES + n_bytes)
    return GadgetContainerMessage(header, pixels)


def image_parts(message: MessageBlock) -> tuple[ImageHeader, NDArray[Any], Meta | None]:
    """Take an image message apart into header, pixels and meta attributes."""
    head = as_container_message(message, ImageHeader)
    pixels = as_container_message(message.cont, Array[Any])
    if head is None or pixels is None:
        raise MalformedMessageError(f"{message!r}: an image is ImageHeader and an array")
    meta = as_container_message(pixels.cont, Meta)
    return head.object, pixels.object, None if meta is None else meta.object


def write_image(
    stream: ByteStream,
    message_id: int,
    header: ImageHeader,
    pixels: NDArray[Any],
    meta: Meta | None,
    *,
    has_meta: bool = True,
) -> None:
    """Write an image message; the form without meta attributes has no room for their length either."""
    dtype = pixels.dtype.newbyteorder("<")
    data_type = IMAGE_DATA_TYPES.get(dtype)
    if data_type is None:
        raise MalformedMessageError(f"image pixels are {pixels.dtype.name} — an image can have {IMAGE_DTYPE_NAMES}")
    x, y, z = header.matrix_size
    expected = (header.channels, z, y, x)
    if pixels.shape != expected:
        field = "channels" if pixels.shape[:1] != expected[:1] else "matrix_size"
        raise MalformedMessageError(
            f"image pixels have shape {pixels.shape} — header says {expected}: {field} disagrees"
        )
    text = b""
    if has_meta and meta:
        text = serialize_meta(meta, "an image", stream.limits.max_attribute_bytes - 1) + b"\0"  # C++ counts the NUL in
    written = ImageHeader.from_buffer_copy(header)
    written.data_type = data_type
    written.attribute_string_len = len(text)
    length = U64.pack(len(text)) if has_meta else b""
    stream.write(U16.pack(message_id) + bytes(written) + length + text, *_pixel_buffers(pixels, dtype))


def _pixel_buffers(pixels: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], ...]:
    return (contiguous(pixels, dtype),) if pixels.size else ()
