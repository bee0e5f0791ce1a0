"""Image messages from before 1022, whose id told the type of the pixels.

| pixels | slot in a configuration | id | id with meta attributes |
|---|---|---|---|
| complex64 | 1004 | 1009 | 1015 |
| float32 | 1005 | 1010 | 1016 |
| uint16 | 1006 | 1011 | 1017 |
| int16 | – | 1020 | 1021 |

The readers are for clients of old servers. The writers put 1022 on the wire; those old ids only in compatibility mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import ImageHeader, Meta

from gadgetron.errors import MalformedMessageError
from gadgetron.message import Array, MessageBlock
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.protocol.arrays import IMAGE_DATA_TYPES
from gadgetron.protocol.message_ids import (
    IMAGE_CPLX_FLOAT_SLOT,
    IMAGE_REAL_FLOAT_SLOT,
    IMAGE_REAL_USHORT_SLOT,
    MessageID,
)
from readers_writers.image import HEADER_BYTES, image_parts, read_image, write_image

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream


class LegacyImageReader(GadgetMessageReader):
    """Base of the readers: the id decides the type of the pixels, whatever the header says."""

    dtype: ClassVar[np.dtype[Any]]
    has_meta: ClassVar[bool] = False

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the image behind an id; `data_type` in the header is set to what the pixels are.

        Raises
        ------
        LimitExceeded
            If the matrix size or the length of the meta attributes is more than a message may have.
        """
        header = ImageHeader.from_buffer_copy(stream.read_exactly(HEADER_BYTES))
        header.data_type = IMAGE_DATA_TYPES[self.dtype]
        return read_image(stream, header, self.dtype, has_meta=self.has_meta)


class LegacyImageReaderCPLX(LegacyImageReader):
    """Reads complex64 images without meta attributes (1009)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGE_CPLX_FLOAT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<c8")
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.complex64]),)


class LegacyImageReaderFLOAT(LegacyImageReader):
    """Reads float32 images without meta attributes (1010)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGE_REAL_FLOAT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<f4")
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.float32]),)


class LegacyImageReaderUSHORT(LegacyImageReader):
    """Reads uint16 images without meta attributes (1011)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGE_REAL_USHORT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<u2")
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.uint16]),)


class LegacyImageReaderSHORT(LegacyImageReader):
    """Reads int16 images without meta attributes (1020)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGE_REAL_SHORT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<i2")
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.int16]),)


class LegacyImageAttribReaderCPLX(LegacyImageReaderCPLX):
    """Reads complex64 images with meta attributes (1015)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGEWITHATTRIB_CPLX_FLOAT
    has_meta: ClassVar[bool] = True
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.complex64], Meta),)


class LegacyImageAttribReaderFLOAT(LegacyImageReaderFLOAT):
    """Reads float32 images with meta attributes (1016)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGEWITHATTRIB_REAL_FLOAT
    has_meta: ClassVar[bool] = True
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.float32], Meta),)


class LegacyImageAttribReaderUSHORT(LegacyImageReaderUSHORT):
    """Reads uint16 images with meta attributes (1017)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGEWITHATTRIB_REAL_USHORT
    has_meta: ClassVar[bool] = True
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.uint16], Meta),)


class LegacyImageAttribReaderSHORT(LegacyImageReaderSHORT):
    """Reads int16 images with meta attributes (1021)."""

    slot: ClassVar[int] = MessageID.ISMRMRD_IMAGEWITHATTRIB_REAL_SHORT
    has_meta: ClassVar[bool] = True
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.int16], Meta),)


class LegacyImageWriter(GadgetMessageWriter):
    """Base of the writers of one type of pixels.

    Parameters
    ----------
    legacy_image_messages
        Compatibility mode: write the old id, header and pixels, without meta attributes, for which it has no room.
    """

    dtype: ClassVar[np.dtype[Any]]
    legacy_id: ClassVar[int]

    def __init__(self, legacy_image_messages: bool = False) -> None:
        self.legacy_image_messages = legacy_image_messages

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one image.

        Raises
        ------
        MalformedMessageError
            If the pixels are of another type, or do not have the shape that the header says.
        """
        header, pixels, meta = image_parts(message)
        if pixels.dtype != self.dtype:
            name = type(self).__name__
            raise MalformedMessageError(f"image pixels are {pixels.dtype.name} — {name} writes {self.dtype.name}")
        message_id = self.legacy_id if self.legacy_image_messages else MessageID.ISMRMRD_IMAGE
        write_image(stream, message_id, header, pixels, meta, has_meta=not self.legacy_image_messages)


class MRIImageWriterCPLX(LegacyImageWriter):
    """Writes complex64 images: 1022, or 1009 in compatibility mode."""

    slot: ClassVar[int] = IMAGE_CPLX_FLOAT_SLOT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<c8")
    legacy_id: ClassVar[int] = MessageID.ISMRMRD_IMAGE_CPLX_FLOAT
    accepts: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.complex64]),)


class MRIImageWriterFLOAT(LegacyImageWriter):
    """Writes float32 images: 1022, or 1010 in compatibility mode."""

    slot: ClassVar[int] = IMAGE_REAL_FLOAT_SLOT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<f4")
    legacy_id: ClassVar[int] = MessageID.ISMRMRD_IMAGE_REAL_FLOAT
    accepts: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.float32]),)


class MRIImageWriterUSHORT(LegacyImageWriter):
    """Writes uint16 images: 1022, or 1011 in compatibility mode."""

    slot: ClassVar[int] = IMAGE_REAL_USHORT_SLOT
    dtype: ClassVar[np.dtype[Any]] = np.dtype("<u2")
    legacy_id: ClassVar[int] = MessageID.ISMRMRD_IMAGE_REAL_USHORT
    accepts: ClassVar[tuple[MessageType, ...]] = ((ImageHeader, Array[np.uint16]),)
