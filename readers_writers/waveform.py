"""Waveforms (1026): a piece of a physiological signal, such as an electrocardiogram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ismrmrd import WaveformHeader

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
from gadgetron.protocol.arrays import contiguous, read_array, size_bytes
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream

HEADER_BYTES = 40
SAMPLE = np.dtype("<u4")

_ID = U16.pack(MessageID.ISMRMRD_WAVEFORM)
_WAVEFORM: MessageType = (WaveformHeader, Array[np.uint32])


class GadgetIsmrmrdWaveformMessageReader(GadgetMessageReader):
    """Reads waveforms: makes messages of header and data (channels, samples) uint32, a view of the receive block."""

    slot: ClassVar[int] = MessageID.ISMRMRD_WAVEFORM
    emits: ClassVar[tuple[MessageType, ...]] = (_WAVEFORM,)

    def read(self, stream: ByteStream) -> MessageBlock:
        """Read the waveform behind an id.

        Raises
        ------
        LimitExceeded
            If samples and channels in the header multiply to more than a message may have.
        """
        header = WaveformHeader.from_buffer_copy(stream.read_exactly(HEADER_BYTES))
        shape = (header.channels, header.number_of_samples)
        n_bytes = size_bytes(shape, SAMPLE)
        field = f"waveform bytes (channels {header.channels}, number_of_samples {header.number_of_samples})"
        check(field, n_bytes, stream.limits.max_waveform_bytes)
        data = GadgetContainerMessage(read_array(stream, shape, SAMPLE))
        data.charge(BLOCK_OVERHEAD_BYTES + n_bytes)
        message = GadgetContainerMessage(header, data)
        message.charge(BLOCK_OVERHEAD_BYTES + HEADER_BYTES)
        return message


class GadgetIsmrmrdWaveformMessageWriter(GadgetMessageWriter):
    """Writes waveforms: messages as the reader makes them."""

    slot: ClassVar[int] = MessageID.ISMRMRD_WAVEFORM
    accepts: ClassVar[tuple[MessageType, ...]] = (_WAVEFORM,)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        """Write one waveform.

        Raises
        ------
        MalformedMessageError
            If the data does not have the shape that the header says.
        """
        stream.write(*_buffers(message))

    def write_many(self, stream: ByteStream, messages: Sequence[MessageBlock]) -> None:
        """Write waveforms in as few system calls as possible."""
        stream.write(*(buffer for message in messages for buffer in _buffers(message)))


def _buffers(message: MessageBlock) -> list[Any]:
    head = as_container_message(message, WaveformHeader)
    data = as_container_message(message.cont, Array[np.uint32])
    if head is None or data is None:
        raise MalformedMessageError(f"{message!r}: a waveform is WaveformHeader and Array[uint32]")
    expected = (head.object.channels, head.object.number_of_samples)
    if data.object.shape != expected:
        shape = data.object.shape
        raise MalformedMessageError(
            f"waveform data has shape {shape} — header says {expected} (channels, number_of_samples)"
        )
    buffers: list[Any] = [_ID + bytes(head.object)]
    if data.object.size:
        buffers.append(contiguous(data.object, SAMPLE))
    return buffers


WaveformReader = GadgetIsmrmrdWaveformMessageReader
WaveformWriter = GadgetIsmrmrdWaveformMessageWriter
