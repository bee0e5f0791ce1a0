"""Acquisitions (1008): one readout of all coils, with its header and perhaps its trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import AcquisitionHeader

from gadgetron.errors import ConfigurationError, MalformedMessageError
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
from gadgetron.protocol.arrays import contiguous
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.nhlbi import MAX_BITS, MIN_BITS, compress, decompress, max_block_bytes
from gadgetron.protocol.wire import U16, U32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import ByteStream

HEADER_BYTES = 340
SAMPLE = np.dtype("<c8")
COORDINATE = np.dtype("<f4")
COMPRESSION_FLAGS = 0b1111 << 52  # ISMRMRD's flags 53 to 56
COMPRESSION_NAMES = {53: "ZFP", 54: "NHLBI"}
FLAG_NHLBI = 1 << 53

_ID = U16.pack(MessageID.ISMRMRD_ACQUISITION)
_READOUT: MessageType = (AcquisitionHeader, Array[np.complex64])
_READOUT_WITH_TRAJECTORY: MessageType = (AcquisitionHeader, Array[np.complex64], Array[np.float32])


class GadgetIsmrmrdAcquisitionMessageReader(GadgetMessageReader):
    """Reads acquisitions.

    Makes messages of header, data (channels, samples) complex64 and, where the header has trajectory dimensions,
    trajectory (samples, dimensions) float32. The arrays are views of the receive block, but for data that NHLBI's
    clients have compressed: it is uncompressed, and no longer flagged.
    """

    slot: ClassVar[int] = MessageID.ISMRMRD_ACQUISITION
    emits: ClassVar[tuple[MessageType, ...]] = (_READOUT, _READOUT_WITH_TRAJECTORY)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the acquisition behind an id.

        Raises
        ------
        LimitExceeded
            If samples and channels in the header multiply to more than a message may have.
        MalformedMessageError
            If the data is compressed in another way than NHLBI's, or does not fit its header.
        """
        header = AcquisitionHeader.from_buffer_copy(stream.read_exactly(HEADER_BYTES))
        n_samples, n_channels, n_dimensions = (
            header.number_of_samples,
            header.active_channels,
            header.trajectory_dimensions,
        )
        is_compressed = header.flags & COMPRESSION_FLAGS
        if is_compressed and is_compressed != FLAG_NHLBI:
            raise MalformedMessageError(_compression_text(header.flags))
        data_bytes = 8 * n_samples * n_channels
        trajectory_bytes = 4 * n_samples * n_dimensions
        limit = stream.limits.max_acquisition_bytes
        if data_bytes + trajectory_bytes > limit:
            field = f"acquisition bytes (number_of_samples {n_samples}, active_channels {n_channels}, "
            check(f"{field}trajectory_dimensions {n_dimensions})", data_bytes + trajectory_bytes, limit)
        samples: NDArray[np.complex64]
        trajectory: GadgetContainerMessage[Any] | None = None
        if n_dimensions:
            coordinates: NDArray[np.float32] = np.ndarray(
                (n_samples, n_dimensions), COORDINATE, stream.read_exactly(trajectory_bytes)
            )
            trajectory = GadgetContainerMessage(coordinates)
            trajectory.charge(BLOCK_OVERHEAD_BYTES + trajectory_bytes)
        if is_compressed:
            samples = _read_compressed(stream, n_channels, n_samples)
            header.flags &= ~FLAG_NHLBI
        else:
            samples = np.ndarray((n_channels, n_samples), SAMPLE, stream.read_exactly(data_bytes))
        data = GadgetContainerMessage(samples, trajectory)
        data.charge(BLOCK_OVERHEAD_BYTES + data_bytes)
        message = GadgetContainerMessage(header, data)
        message.charge(BLOCK_OVERHEAD_BYTES + HEADER_BYTES)
        return message


def _read_compressed(stream: ByteStream, n_channels: int, n_samples: int) -> NDArray[np.complex64]:
    """Read what stands in the place of data that is compressed; the size of the data has been checked."""
    n_values = 2 * n_channels * n_samples
    n_bytes = stream.read_u32()
    if n_bytes > max_block_bytes(n_values):
        raise MalformedMessageError(
            f"compressed data bytes ({n_bytes}): at most {max_block_bytes(n_values)} expected of {n_values} values"
        )
    values = decompress(stream.read_exactly(n_bytes), n_values)
    return values.view(np.complex64).reshape(n_channels, n_samples)


class GadgetIsmrmrdAcquisitionMessageWriter(GadgetMessageWriter):
    """Writes acquisitions: messages as the reader makes them."""

    slot: ClassVar[int] = MessageID.ISMRMRD_ACQUISITION
    accepts: ClassVar[tuple[MessageType, ...]] = (_READOUT,)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one acquisition.

        Raises
        ------
        MalformedMessageError
            If data or trajectory do not have the shape that the header says.
        """
        stream.write(*_buffers(message))

    def write_many(self, stream: ByteStream, messages: Sequence[MessageBlock]) -> None:
        """Write acquisitions in as few system calls as possible."""
        stream.write(*(buffer for message in messages for buffer in _buffers(message)))


class GadgetIsmrmrdAcquisitionMessageWriterCompressed(GadgetMessageWriter):
    """Writes acquisitions with their data compressed, as NHLBI's clients do; for connections that are slow.

    Readouts that would not become smaller, or have values that are not finite, are written as they are.

    Parameters
    ----------
    precision_bits
        Bits for each real and imaginary part, 2 to 31, the largest value of the readout using all of them.
    tolerance
        Instead: gives the largest error allowed in a readout, from its header; what gives none is not compressed.

    Raises
    ------
    ConfigurationError
        If both or neither is given, or the bits are out of range.
    """

    slot: ClassVar[int] = MessageID.ISMRMRD_ACQUISITION
    accepts: ClassVar[tuple[MessageType, ...]] = (_READOUT,)

    def __init__(
        self, precision_bits: int = 0, tolerance: Callable[[AcquisitionHeader], float | None] | None = None
    ) -> None:
        if bool(precision_bits) == (tolerance is not None):
            raise ConfigurationError("compression needs a precision or a tolerance, not both")
        if precision_bits and not MIN_BITS <= precision_bits <= MAX_BITS:
            raise ConfigurationError(f"precision ({precision_bits} bits): {MIN_BITS} to {MAX_BITS} expected")
        self._precision_bits = precision_bits
        self._tolerance = tolerance

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one acquisition; errors as in GadgetIsmrmrdAcquisitionMessageWriter."""
        stream.write(*self._compressed(message))

    def write_many(self, stream: ByteStream, messages: Sequence[MessageBlock]) -> None:
        """Write acquisitions in as few system calls as possible."""
        stream.write(*(buffer for message in messages for buffer in self._compressed(message)))

    def _compressed(self, message: MessageBlock) -> list[Any]:
        buffers = _buffers(message)
        samples: NDArray[np.complex64] = message.cont.object  # type: ignore[union-attr]  # _buffers checked it
        if not samples.size:
            return buffers
        header = AcquisitionHeader.from_buffer_copy(message.object)  # type: ignore[attr-defined]  # as above
        tolerance = self._tolerance(header) if self._tolerance is not None else None
        if not self._precision_bits and not tolerance:
            return buffers
        values = buffers[-1].reshape(-1).view(np.float32)
        block = compress(values, bits=self._precision_bits, tolerance=tolerance or 0.0)
        if block is None:
            return buffers
        header.flags |= FLAG_NHLBI
        return [_ID + bytes(header), *buffers[1:-1], U32.pack(len(block)) + block]


def _buffers(message: MessageBlock) -> list[Any]:
    head = as_container_message(message, AcquisitionHeader)
    data = as_container_message(message.cont, Array[np.complex64])
    if head is None or data is None:
        raise MalformedMessageError(f"{message!r}: an acquisition is AcquisitionHeader and Array[complex64]")
    header, samples = head.object, data.object
    _check("active_channels, number_of_samples", (header.active_channels, header.number_of_samples), samples, "data")
    if header.flags & COMPRESSION_FLAGS:
        raise MalformedMessageError(_compression_text(header.flags))
    buffers: list[Any] = [_ID + bytes(header)]
    trajectory = as_container_message(data.cont, Array[np.float32])
    if trajectory is not None or header.trajectory_dimensions:
        expected = (header.number_of_samples, header.trajectory_dimensions)
        coordinates = trajectory.object if trajectory is not None else None
        _check("number_of_samples, trajectory_dimensions", expected, coordinates, "trajectory")
        if coordinates is not None and coordinates.size:
            buffers.append(contiguous(coordinates, COORDINATE))
    if samples.size:
        buffers.append(contiguous(samples, SAMPLE))
    return buffers


def _check(fields: str, expected: tuple[int, int], array: NDArray[Any] | None, what: str) -> None:
    shape = None if array is None else array.shape
    if shape != expected:
        found = "is missing" if shape is None else f"has shape {shape}"
        raise MalformedMessageError(f"acquisition {what} {found} — header says {expected} ({fields})")


def _compression_text(flags: int) -> str:
    bits = [bit for bit in range(53, 57) if flags >> (bit - 1) & 1]
    names = ", ".join(f"{bit} {COMPRESSION_NAMES[bit]}" if bit in COMPRESSION_NAMES else str(bit) for bit in bits)
    return f"acquisition data is compressed (flag {names}) — not supported: send it uncompressed"


AcquisitionReader = GadgetIsmrmrdAcquisitionMessageReader
AcquisitionWriter = GadgetIsmrmrdAcquisitionMessageWriter
CompressedAcquisitionWriter = GadgetIsmrmrdAcquisitionMessageWriterCompressed
