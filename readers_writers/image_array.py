"""Image arrays (1024): the images of one reconstruction, with headers and meta attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import AcquisitionHeader, ImageHeader, Meta, WaveformHeader

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.meta import parse_meta, serialize_meta
from gadgetron.protocol.arrays import contiguous
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.ndarrays import (
    ABSENT,
    PRESENT,
    Budget,
    count_bytes,
    forget_blank,
    header_buffers,
    ndarray_buffers,
    read_count,
    read_flag,
    read_headers,
    read_ndarray,
)
from gadgetron.protocol.wire import U16, U64, read_bytes_u64
from gadgetron.recon_types import ImageArray, Waveform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import Buffer, ByteStream

PIXEL = np.dtype("<c8")
SAMPLE = np.dtype("<u4")
IMAGE_HEADER_BYTES = 198
ACQUISITION_HEADER_BYTES = 340
WAVEFORM_HEADER_BYTES = 40
MAX_WAVEFORMS = 1_000_000

DATA_DIMENSIONS = 7  # (LOC, S, N, CHA, z, y, x)
HEADER_DIMENSIONS = 3  # (LOC, S, N)
ACQUISITION_HEADER_DIMENSIONS = 5  # (LOC, S, N, z, y)

_NO_META = b'<?xml version="1.0"?>\n<ismrmrdMeta />\n'
_WAVEFORM_ID = U16.pack(MessageID.ISMRMRD_WAVEFORM)


class IsmrmrdImageArrayReader(GadgetMessageReader):
    """Reads image arrays: makes messages of one ImageArray, whose pixels are a view of the received bytes.

    Waveforms are also taken as version 1.4.1 of the Python interface sends them, each behind a message id.
    """

    slot: ClassVar[int] = MessageID.IMAGE_ARRAY
    emits: ClassVar[tuple[MessageType, ...]] = ((ImageArray,),)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the image array behind an id.

        Raises
        ------
        LimitExceeded
            If an array, the meta attributes, or the whole message are larger than is allowed.
        MalformedMessageError
            If there is not one header and one set of meta attributes for each image.
        """
        budget = Budget("an image array", stream.limits.max_recon_data_bytes)
        data = read_ndarray(stream, PIXEL, DATA_DIMENSIONS, "data", budget)
        headers = read_headers(stream, ImageHeader, IMAGE_HEADER_BYTES, HEADER_DIMENSIONS, "headers", budget)
        n_meta = read_count(stream, "meta attributes of an image array", headers.size)
        meta = _read_meta(stream, n_meta, budget)
        waveforms = _read_waveforms(stream, budget) if read_flag(stream, "waveforms of an image array") else []
        acquisition_headers = None
        if read_flag(stream, "acquisition headers of an image array"):
            acquisition_headers = read_headers(
                stream,
                AcquisitionHeader,
                ACQUISITION_HEADER_BYTES,
                ACQUISITION_HEADER_DIMENSIONS,
                "acquisition headers",
                budget,
            )
            forget_blank(acquisition_headers)
        array = ImageArray(data, headers, _shaped(meta, headers.shape), waveforms, acquisition_headers)
        _check_fit(array)
        return GadgetContainerMessage(array)


class IsmrmrdImageArrayWriter(GadgetMessageWriter):
    """Writes image arrays. Meta attributes are ASCII on the wire: other characters go as XML character references."""

    slot: ClassVar[int] = MessageID.IMAGE_ARRAY
    accepts: ClassVar[tuple[MessageType, ...]] = ((ImageArray,),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write the image array of one message.

        Raises
        ------
        MalformedMessageError
            If headers or meta attributes are not one for each image.
        """
        block = as_container_message(message, ImageArray)
        if block is None:
            raise MalformedMessageError(f"{message!r}: an image array is one ImageArray")
        array = block.object
        _check_fit(array)
        buffers: list[Buffer] = [U16.pack(MessageID.IMAGE_ARRAY), *ndarray_buffers(array.data, PIXEL)]
        buffers += header_buffers(array.headers, ImageHeader, "headers of an image array")
        buffers.append(count_bytes(array.meta.size) + b"".join(_meta_bytes(meta, stream) for meta in array.meta.flat))
        buffers += _waveform_buffers(array.waveforms)
        buffers.append(ABSENT if array.acquisition_headers is None else PRESENT)
        if array.acquisition_headers is not None:
            buffers += header_buffers(array.acquisition_headers, AcquisitionHeader, "acquisition headers")
        stream.write(*buffers)


def _check_fit(array: ImageArray) -> None:
    if array.data.ndim != DATA_DIMENSIONS:
        raise MalformedMessageError(
            f"data of an image array has {array.data.ndim} dimensions — expected {DATA_DIMENSIONS}"
        )
    expected = array.data.shape[:HEADER_DIMENSIONS]
    for name, objects in (("headers", array.headers), ("meta attributes", array.meta)):
        if objects.shape != expected:
            raise MalformedMessageError(
                f"{name} of an image array have shape {objects.shape} — data {array.data.shape} needs {expected}"
            )


def _shaped(items: list[Meta | None], shape: tuple[int, ...]) -> NDArray[np.object_]:
    """Put what there is of meta attributes into an array; images beyond have none."""
    meta = np.full(shape, None, dtype=object)
    flat = meta.reshape(-1)
    for index, item in enumerate(items):
        flat[index] = item
    return meta


def _read_meta(stream: ByteStream, count: int, budget: Budget) -> list[Meta | None]:
    limit = stream.limits.max_attribute_bytes
    items: list[Meta | None] = []
    for _ in range(count):
        text = read_bytes_u64(stream, "image meta attributes bytes", limit).rstrip(b"\0")
        budget.charge(len(text), "meta attributes")
        meta = parse_meta(text, "an image array", limit) if text else None
        items.append(meta or None)
    return items


def _meta_bytes(meta: Meta | None, stream: ByteStream) -> bytes:
    text = serialize_meta(meta, "an image array", stream.limits.max_attribute_bytes) if meta else _NO_META
    data = text.decode().encode("ascii", errors="xmlcharrefreplace")
    check("meta attributes of an image array bytes", len(data), stream.limits.max_attribute_bytes)
    return U64.pack(len(data)) + data


def _read_waveforms(stream: ByteStream, budget: Budget) -> list[Waveform]:
    waveforms = []
    for _ in range(read_count(stream, "waveforms of an image array", MAX_WAVEFORMS)):
        start = bytes(stream.read_exactly(2))
        rest = WAVEFORM_HEADER_BYTES if start == _WAVEFORM_ID else WAVEFORM_HEADER_BYTES - 2
        header_bytes = bytes(stream.read_exactly(rest))
        header = WaveformHeader.from_buffer_copy(header_bytes if start == _WAVEFORM_ID else start + header_bytes)
        n_samples = header.channels * header.number_of_samples
        budget.charge(WAVEFORM_HEADER_BYTES + n_samples * SAMPLE.itemsize, "waveforms")
        shape = (header.channels, header.number_of_samples)
        data: NDArray[Any] = np.ndarray(shape, SAMPLE, stream.read_exactly(n_samples * SAMPLE.itemsize))
        waveforms.append(Waveform(header, data))
    return waveforms


def _waveform_buffers(waveforms: list[Waveform]) -> list[Buffer]:
    if not waveforms:
        return [ABSENT]
    buffers: list[Buffer] = [PRESENT + count_bytes(len(waveforms))]
    for waveform in waveforms:
        expected = (waveform.head.channels, waveform.head.number_of_samples)
        if waveform.data.shape != expected:
            raise MalformedMessageError(
                f"waveform data of an image array has shape {waveform.data.shape} — header says {expected}"
            )
        buffers += [bytes(waveform.head), contiguous(waveform.data, SAMPLE)]
    return buffers


ImageArrayReader = IsmrmrdImageArrayReader
ImageArrayWriter = IsmrmrdImageArrayWriter
