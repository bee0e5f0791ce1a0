"""Recon data (1023): buffered k-space of every encoding space, as it goes to foreign modules and back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import AcquisitionHeader

from gadgetron.errors import MalformedMessageError
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.message_types import MessageType
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
from gadgetron.protocol.wire import U16
from gadgetron.recon_types import ReconBit, ReconBuffer, ReconData, SamplingDescription, SamplingLimit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import Buffer, ByteStream

SAMPLE = np.dtype("<c8")
COORDINATE = np.dtype("<f4")
ACQUISITION_HEADER_BYTES = 340
MAX_ENCODING_SPACES = 1024

DATA_DIMENSIONS = 7  # (LOC, S, N, CHA, E2, E1, E0)
TRAJECTORY_DIMENSIONS = 7  # (LOC, S, N, E2, E1, E0, dimensions)
DENSITY_DIMENSIONS = 6  # (LOC, S, N, E2, E1, E0)
HEADER_DIMENSIONS = 5  # (LOC, S, N, E2, E1)

_SAMPLING = struct.Struct("<6f6H9H2x")
_NOTHING_SAMPLED = SamplingDescription(
    (0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0),
    (0, 0, 0),
    (0, 0, 0),
    (SamplingLimit(0, 0, 0), SamplingLimit(0, 0, 0), SamplingLimit(0, 0, 0)),
)


class BufferReader(GadgetMessageReader):
    """Reads recon data: makes messages of one ReconData, whose arrays are views of the received bytes.

    A buffer without samples is read as none. Waveforms are not part of the message.
    """

    slot: ClassVar[int] = MessageID.RECONDATA
    emits: ClassVar[tuple[MessageType, ...]] = ((ReconData,),)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the recon data behind an id.

        Raises
        ------
        LimitExceeded
            If an array, or the whole message, is larger than is allowed.
        MalformedMessageError
            If an array has the wrong number of dimensions, or does not fit the others.
        """
        budget = Budget("recon data", stream.limits.max_recon_data_bytes)
        n_bits = read_count(stream, "encoding spaces of recon data", MAX_ENCODING_SPACES)
        bits = []
        for _ in range(n_bits):
            data = _read_buffer(stream, "data", budget)
            reference = _read_buffer(stream, "reference", budget) if read_flag(stream, "reference") else None
            bits.append(ReconBit(data, reference))
        return GadgetContainerMessage(ReconData(bits))


class BufferWriter(GadgetMessageWriter):
    """Writes recon data; an encoding space without imaging data goes as a buffer without samples."""

    slot: ClassVar[int] = MessageID.RECONDATA
    accepts: ClassVar[tuple[MessageType, ...]] = ((ReconData,),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write the recon data of one message.

        Raises
        ------
        MalformedMessageError
            If the arrays of a buffer do not fit each other.
        """
        block = as_container_message(message, ReconData)
        if block is None:
            raise MalformedMessageError(f"{message!r}: recon data is one ReconData")
        bits = block.object.bits
        buffers: list[Buffer] = [U16.pack(MessageID.RECONDATA) + count_bytes(len(bits))]
        for bit in bits:
            buffers += _buffer_buffers(bit.data if bit.data is not None else _empty_buffer(), "data")
            buffers.append(ABSENT if bit.reference is None else PRESENT)
            if bit.reference is not None:
                buffers += _buffer_buffers(bit.reference, "reference")
        stream.write(*buffers)


def _read_buffer(stream: ByteStream, part: str, budget: Budget) -> ReconBuffer | None:
    data = read_ndarray(stream, SAMPLE, DATA_DIMENSIONS, part, budget)
    trajectory = density = None
    if read_flag(stream, f"trajectory of {part}"):
        trajectory = read_ndarray(stream, COORDINATE, TRAJECTORY_DIMENSIONS, f"trajectory of {part}", budget)
    if read_flag(stream, f"density of {part}"):
        density = read_ndarray(stream, COORDINATE, DENSITY_DIMENSIONS, f"density of {part}", budget)
    part_headers = f"headers of {part}"
    headers = read_headers(stream, AcquisitionHeader, ACQUISITION_HEADER_BYTES, HEADER_DIMENSIONS, part_headers, budget)
    sampling = _parse_sampling(stream.read_exactly(_SAMPLING.size))
    if data.size == 0:
        return None
    forget_blank(headers)
    buffer = ReconBuffer(data, headers, sampling, trajectory, density)
    _check_fit(buffer, part)
    return buffer


def _buffer_buffers(buffer: ReconBuffer, part: str) -> list[Buffer]:
    _check_fit(buffer, part)
    buffers = ndarray_buffers(buffer.data, SAMPLE)
    for array in (buffer.trajectory, buffer.density):
        buffers.append(ABSENT if array is None else PRESENT)
        if array is not None:
            buffers += ndarray_buffers(array, COORDINATE)
    buffers += header_buffers(buffer.headers, AcquisitionHeader, f"headers of {part}")
    buffers.append(_sampling_bytes(buffer.sampling))
    return buffers


def _empty_buffer() -> ReconBuffer:
    return ReconBuffer(
        np.zeros((0,) * DATA_DIMENSIONS, np.complex64),
        np.empty((0,) * HEADER_DIMENSIONS, dtype=object),
        _NOTHING_SAMPLED,
    )


def _check_fit(buffer: ReconBuffer, part: str) -> None:
    """Refuse a buffer whose arrays are not for the same k-space."""
    if buffer.data.ndim != DATA_DIMENSIONS:
        raise MalformedMessageError(
            f"{part} of recon data has {buffer.data.ndim} dimensions — expected {DATA_DIMENSIONS}"
        )
    loc, s, n, _, e2, e1, e0 = buffer.data.shape
    lines = (loc, s, n, e2, e1)
    expected: list[tuple[str, NDArray[Any] | None, tuple[int, ...]]] = [
        ("headers", buffer.headers, lines),
        ("density", buffer.density, (*lines, e0)),
        ("trajectory", buffer.trajectory, (*lines, e0)),
    ]
    for name, array, shape in expected:
        if array is None:
            continue
        found = array.shape[: len(shape)] if name == "trajectory" else array.shape
        if found != shape:
            raise MalformedMessageError(
                f"{name} of {part} of recon data have shape {array.shape} — data {buffer.data.shape} needs {shape}"
            )


def _parse_sampling(data: memoryview) -> SamplingDescription:
    values = _SAMPLING.unpack(data)
    limits = tuple(SamplingLimit(*values[start : start + 3]) for start in (12, 15, 18))
    return SamplingDescription(values[0:3], values[3:6], values[6:9], values[9:12], (limits[0], limits[1], limits[2]))


def _sampling_bytes(sampling: SamplingDescription) -> bytes:
    numbers = [value for limit in sampling.sampling_limits for value in (limit.min, limit.center, limit.max)]
    try:
        return _SAMPLING.pack(
            *sampling.encoded_FOV,
            *sampling.recon_FOV,
            *sampling.encoded_matrix,
            *sampling.recon_matrix,
            *numbers,
        )
    except struct.error as err:
        raise MalformedMessageError(f"sampling of recon data: {sampling} does not fit the message ({err})") from err
