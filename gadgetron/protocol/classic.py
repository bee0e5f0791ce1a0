"""The classic Gadgetron protocol: a u16 message id, then a body that only its reader understands."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from gadgetron.errors import GadgetronError, MalformedMessageError, ProtocolError
from gadgetron.message import GadgetContainerMessage, MessageBlock, ParametersMessage, config_message
from gadgetron.output import Output, QueryResponse
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.stream_source import StreamSource
from gadgetron.protocol.wire import U16, U32, U64, read_bytes_u32, read_bytes_u64, text_of

if TYPE_CHECKING:
    from gadgetron.controller import GadgetStreamController

CONFIG_FILE_NAME_BYTES = 1024
ERROR_PREFIX = "ERROR "


class ClassicSource(StreamSource):
    """Reads a session's messages from a stream.

    Data messages are handed over in batches: whatever has arrived when the stream would have to wait.

    Parameters
    ----------
    stream
        Where to read; finished and closed by `finish`.
    limits
        Sizes and deadlines.
    """

    def run(self, controller: GadgetStreamController) -> None:
        """Read until CLOSE, or the end of the stream on a message boundary."""
        stream = self.stream
        readers = controller.readers
        batch: list[MessageBlock] = []
        max_batch = self._limits.queue_messages

        def hand_over() -> None:
            if batch:
                messages = batch[:]
                batch.clear()
                controller.data(messages)

        stream.before_wait = hand_over
        stream.phase_deadline = controller.phase_deadline
        try:
            while True:
                start = stream.read_frame_start(2)
                if start is None:
                    hand_over()
                    controller.end_of_input()
                    return
                message_id = start[0] | start[1] << 8
                reader = readers.get(message_id)
                if reader is not None:
                    batch.append(reader.read(stream))
                    if len(batch) >= max_batch:
                        hand_over()
                    continue
                hand_over()
                if not self._read_control(message_id, controller):
                    return
                stream.phase_deadline = controller.phase_deadline
        finally:
            stream.before_wait = None

    def _read_control(self, message_id: int, controller: GadgetStreamController) -> bool:
        """Read a message that is not data; False after CLOSE."""
        stream, limits = self.stream, self._limits
        if message_id == MessageID.CONFIG_FILE:
            controller.configuration_file(_read_file_name(stream))
        elif message_id == MessageID.CONFIG_SCRIPT:
            controller.configuration_script(read_bytes_u32(stream, "configuration length", limits.max_config_bytes))
        elif message_id == MessageID.HEADER:
            controller.parameters(config_message(read_bytes_u32(stream, "parameters length", limits.max_header_bytes)))
        elif message_id == MessageID.CLOSE:
            controller.end_of_input()
            return False
        elif message_id == MessageID.TEXT:
            controller.text(text_of(read_bytes_u32(stream, "text length", limits.max_text_bytes)))
        elif message_id == MessageID.QUERY:
            stream.read_u64()  # reserved
            correlation_id = stream.read_u64()
            controller.query(correlation_id, text_of(read_bytes_u64(stream, "query length", limits.max_text_bytes)))
        elif message_id == MessageID.RESPONSE:
            stream.read_u64()
            read_bytes_u64(stream, "response length", limits.max_text_bytes)
            controller.response()
        elif message_id == MessageID.ERROR:
            controller.peer_error(text_of(read_bytes_u64(stream, "error length", limits.max_text_bytes)))
        else:
            controller.no_reader(message_id)
        return True


def _read_file_name(stream: ByteStream) -> str:
    first = bytes(stream.read_exactly(1))
    if first == b"\0":
        # Not waiting for the rest: a DICOM association request looks like this, and its sender waits for an answer.
        raise MalformedMessageError("the configuration file name is empty")
    name, terminator, _ = (first + bytes(stream.read_exactly(CONFIG_FILE_NAME_BYTES - 1))).partition(b"\0")
    if not terminator:
        raise MalformedMessageError(f"the configuration file name has no end within {CONFIG_FILE_NAME_BYTES} bytes")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedMessageError("the configuration file name is not UTF-8 text") from error


class ClassicCodec:
    """Writes output in the classic protocol."""

    def write_many(self, stream: ByteStream, outputs: Sequence[Output]) -> None:
        """Write messages in order; runs of the same writer in one call."""
        for writer, run in groupby(outputs, key=lambda output: output.writer):
            if writer is not None:
                writer.write_many(stream, [output.message for output in run])
            else:
                for output in run:
                    self._write_control(stream, output)
            stream.mark_message()

    def _write_control(self, stream: ByteStream, output: Output) -> None:
        message = output.message
        content = message.object if isinstance(message, GadgetContainerMessage) else message
        if isinstance(content, ParametersMessage):
            stream.write(U16.pack(MessageID.HEADER), U32.pack(len(content.data)), content.data)
        elif isinstance(content, QueryResponse):
            head = U16.pack(MessageID.RESPONSE) + U64.pack(content.correlation_id) + U64.pack(len(content.data))
            stream.write(head, content.data)
        elif isinstance(content, str):
            self.write_text(stream, content)
        else:
            raise ProtocolError(f"no writer is configured for message id {output.message_id}")

    def write_text(self, stream: ByteStream, text: str) -> None:
        """Write a TEXT message."""
        data = text.encode()
        stream.write(U16.pack(MessageID.TEXT) + U32.pack(len(data)) + data)

    def write_error(self, stream: ByteStream, error: GadgetronError) -> None:
        """Write the TEXT that tells a client of a failure: one line that begins with `ERROR `."""
        self.write_text(stream, ERROR_PREFIX + error.client_text)

    def write_close(self, stream: ByteStream) -> None:
        """Write CLOSE."""
        stream.write(U16.pack(MessageID.CLOSE))
