"""Buckets (1050): readouts that belong together, with the values that their counters take."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import AcquisitionHeader, WaveformHeader

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
from gadgetron.protocol.arrays import contiguous
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U64
from gadgetron.recon_types import (
    Acquisition,
    AcquisitionBucket,
    AcquisitionBucketStats,
    Waveform,
    acquisition_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import Buffer, ByteStream

SAMPLE = np.dtype("<c8")
COORDINATE = np.dtype("<f4")
WAVEFORM_SAMPLE = np.dtype("<u4")
ACQUISITION_HEADER_BYTES = 340
WAVEFORM_HEADER_BYTES = 40
MAX_STATISTICS_BYTES = 16 * 1024 * 1024

STATISTICS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "slice",
    "phase",
    "contrast",
    "repetition",
    "set",
    "segment",
    "average",
)
"""The counters whose values a bucket tells, in the order of the wire."""

# data: count, header, data and trajectory bytes; reference: the same; bytes of both statistics; waveforms: count,
# header and data bytes
_META = struct.Struct("<13Q")


class AcquisitionBucketReader(GadgetMessageReader):
    """Reads buckets: makes messages of one AcquisitionBucket, whose arrays are views of the received bytes.

    The statistics on the wire are skipped: a bucket knows its own.
    """

    slot: ClassVar[int] = MessageID.BUCKET
    emits: ClassVar[tuple[MessageType, ...]] = ((AcquisitionBucket,),)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the bucket behind an id.

        Raises
        ------
        LimitExceeded
            If the message is larger than is allowed.
        MalformedMessageError
            If the sizes at its beginning are not those that the headers in it ask for.
        """
        sizes = _META.unpack(stream.read_exactly(_META.size))
        data, reference, (data_stats, reference_stats), waveforms = sizes[:4], sizes[4:8], sizes[8:10], sizes[10:]
        check("bytes of a bucket", sum((*data[1:], *reference[1:], *waveforms[1:])), stream.limits.max_recon_data_bytes)
        check("bytes of a bucket's statistics", data_stats + reference_stats, MAX_STATISTICS_BYTES)
        bucket = AcquisitionBucket()
        bucket.data = _read_acquisitions(stream, data, "data")
        stream.read_exactly(data_stats)
        bucket.reference = _read_acquisitions(stream, reference, "reference")
        stream.read_exactly(reference_stats)
        bucket.waveforms = _read_waveforms(stream, *waveforms)
        bucket.nbytes = sum((*data[1:], *reference[1:], *waveforms[1:]))
        return GadgetContainerMessage(bucket)


class AcquisitionBucketWriter(GadgetMessageWriter):
    """Writes buckets."""

    slot: ClassVar[int] = MessageID.BUCKET
    accepts: ClassVar[tuple[MessageType, ...]] = ((AcquisitionBucket,),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write the bucket of one message.

        Raises
        ------
        MalformedMessageError
            If the arrays of a readout or a waveform are not what its header says.
        """
        block = as_container_message(message, AcquisitionBucket)
        if block is None:
            raise MalformedMessageError(f"{message!r}: a bucket is one AcquisitionBucket")
        bucket = block.object
        data, reference = _Acquisitions(bucket.data, "data"), _Acquisitions(bucket.reference, "reference")
        stats = [_statistics_bytes(bucket.data_stats), _statistics_bytes(bucket.reference_stats)]
        waveform_data = [_waveform_data(waveform) for waveform in bucket.waveforms]
        meta = _META.pack(
            *data.sizes,
            *reference.sizes,
            len(stats[0]),
            len(stats[1]),
            len(bucket.waveforms),
            WAVEFORM_HEADER_BYTES * len(bucket.waveforms),
            sum(array.nbytes for array in waveform_data),
        )
        buffers: list[Buffer] = [U16.pack(MessageID.BUCKET) + meta]
        buffers += [*data.buffers, stats[0], *reference.buffers, stats[1]]
        buffers.append(b"".join(bytes(waveform.head) for waveform in bucket.waveforms))
        buffers += [array for array in waveform_data if array.size]
        stream.write(*buffers)


class _Acquisitions:
    """A list of readouts on its way to the wire: headers, then trajectories, then samples."""

    def __init__(self, acquisitions: list[Acquisition], part: str) -> None:
        for acquisition in acquisitions:
            _check_readout(acquisition, part)
        headers = b"".join(bytes(acquisition.head) for acquisition in acquisitions)
        trajectories = [
            contiguous(acquisition.trajectory, COORDINATE)
            for acquisition in acquisitions
            if acquisition.trajectory is not None and acquisition.trajectory.size
        ]
        samples = [contiguous(acquisition.data, SAMPLE) for acquisition in acquisitions if acquisition.data.size]
        self.buffers: list[Buffer] = [headers, *trajectories, *samples]
        self.sizes = (
            len(acquisitions),
            len(headers),
            sum(array.nbytes for array in samples),
            sum(array.nbytes for array in trajectories),
        )


def _check_readout(acquisition: Acquisition, part: str) -> None:
    head = acquisition.head
    expected = (head.active_channels, head.number_of_samples)
    if acquisition.data.shape != expected:
        raise MalformedMessageError(
            f"readout in the {part} of a bucket has shape {acquisition.data.shape} — header says {expected}"
        )
    shape = (0, 0) if acquisition.trajectory is None else acquisition.trajectory.shape
    if head.trajectory_dimensions and shape != (head.number_of_samples, head.trajectory_dimensions):
        raise MalformedMessageError(
            f"trajectory in the {part} of a bucket has shape {shape} — header says "
            f"{(head.number_of_samples, head.trajectory_dimensions)}"
        )


def _statistics_bytes(stats: dict[int, AcquisitionBucketStats]) -> bytes:
    """Give the statistics of every encoding space up to the largest; one without readouts has no values."""
    n_spaces = max(stats, default=-1) + 1
    pieces = [U64.pack(n_spaces)]
    for space in range(n_spaces):
        for name in STATISTICS:
            values: tuple[int, ...] = getattr(stats[space], name) if space in stats else ()
            pieces.append(struct.pack(f"<Q{len(values)}H", len(values), *values))
    return b"".join(pieces)


def _read_acquisitions(stream: ByteStream, sizes: tuple[int, ...], part: str) -> list[Acquisition]:
    count, header_bytes, data_bytes, trajectory_bytes = sizes
    if header_bytes != count * ACQUISITION_HEADER_BYTES:
        raise MalformedMessageError(f"{part} of a bucket: {header_bytes} bytes of headers for {count} readouts")
    headers = _headers(stream, AcquisitionHeader, count, ACQUISITION_HEADER_BYTES)
    fields = [acquisition_fields(header) for header in headers]
    shapes = [(field.active_channels, field.number_of_samples) for field in fields]
    paths = [(field.number_of_samples, field.trajectory_dimensions) for field in fields]
    _check_size(f"{part} of a bucket", data_bytes, shapes, SAMPLE)
    _check_size(f"trajectories in the {part} of a bucket", trajectory_bytes, paths, COORDINATE)
    trajectories = list(_arrays(stream.read_exactly(trajectory_bytes), paths, COORDINATE))
    samples = _arrays(stream.read_exactly(data_bytes), shapes, SAMPLE)
    return [
        Acquisition(header, data, trajectory if field.trajectory_dimensions else None, field)
        for header, data, trajectory, field in zip(headers, samples, trajectories, fields, strict=True)
    ]


def _read_waveforms(stream: ByteStream, count: int, header_bytes: int, data_bytes: int) -> list[Waveform]:
    if header_bytes != count * WAVEFORM_HEADER_BYTES:
        raise MalformedMessageError(f"waveforms of a bucket: {header_bytes} bytes of headers for {count} waveforms")
    headers = _headers(stream, WaveformHeader, count, WAVEFORM_HEADER_BYTES)
    shapes = [(header.channels, header.number_of_samples) for header in headers]
    _check_size("waveforms of a bucket", data_bytes, shapes, WAVEFORM_SAMPLE)
    arrays = _arrays(stream.read_exactly(data_bytes), shapes, WAVEFORM_SAMPLE)
    return [Waveform(header, data) for header, data in zip(headers, arrays, strict=True)]


def _headers(stream: ByteStream, header_class: Any, count: int, n_bytes: int) -> list[Any]:
    data = stream.read_exactly(count * n_bytes)
    return [header_class.from_buffer_copy(data, index * n_bytes) for index in range(count)]


def _check_size(what: str, n_bytes: int, shapes: list[tuple[int, int]], dtype: np.dtype[Any]) -> None:
    expected = sum(rows * columns for rows, columns in shapes) * dtype.itemsize
    if n_bytes != expected:
        raise MalformedMessageError(f"{what}: {n_bytes} bytes — the headers ask for {expected}")


def _arrays(data: memoryview, shapes: list[tuple[int, int]], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    start = 0
    for rows, columns in shapes:
        end = start + rows * columns * dtype.itemsize
        yield np.ndarray((rows, columns), dtype, data[start:end])
        start = end


def _waveform_data(waveform: Waveform) -> NDArray[Any]:
    expected = (waveform.head.channels, waveform.head.number_of_samples)
    if waveform.data.shape != expected:
        raise MalformedMessageError(
            f"waveform of a bucket has shape {waveform.data.shape} — header says {expected} (channels, samples)"
        )
    return contiguous(waveform.data, WAVEFORM_SAMPLE)
