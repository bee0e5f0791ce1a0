"""The kit for tests of gadgets, readers and writers: it accepts the good ones, and notices the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
from ismrmrd import AcquisitionHeader, ImageHeader, WaveformHeader

from gadgetron import Gadget
from gadgetron.errors import GadgetError, PeerTimeout
from gadgetron.message import GadgetContainerMessage, MessageBlock, ParametersMessage, make_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.testing import check_gadget_drains, check_reader_writer, run_gadget
from readers_writers import acquisition, image, waveform


def make_acquisition() -> MessageBlock:
    header = AcquisitionHeader()
    header.number_of_samples, header.active_channels, header.trajectory_dimensions = 3, 2, 2
    return make_message(header, np.ones((2, 3), np.complex64), np.ones((3, 2), np.float32))


def make_image() -> MessageBlock:
    header = ImageHeader()
    header.data_type, header.channels = 5, 1
    header.matrix_size[:] = (2, 3, 1)
    return make_message(header, np.ones((1, 1, 3, 2), np.float32))


def make_waveform() -> MessageBlock:
    header = WaveformHeader()
    header.number_of_samples, header.channels = 5, 2
    return make_message(header, np.ones((2, 5), np.uint32))


@pytest.mark.parametrize(
    ("reader", "writer", "make"),
    [
        (acquisition.AcquisitionReader, acquisition.AcquisitionWriter, make_acquisition),
        (image.MRIImageReader, image.MRIImageWriter, make_image),
        (waveform.WaveformReader, waveform.WaveformWriter, make_waveform),
    ],
)
def test_our_readers_and_writers_pass(
    reader: type[GadgetMessageReader], writer: type[GadgetMessageWriter], make: Callable[[], MessageBlock]
) -> None:
    check_reader_writer(reader(), writer(), make)


class TextWriter(GadgetMessageWriter):
    slot: ClassVar[int] = 3000

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        stream.write(b"\xb8\x0b\x05\x00\x00\x00hello")


class TextReader(GadgetMessageReader):
    slot: ClassVar[int] = 3000

    def read(self, stream: ByteStream) -> MessageBlock:
        return GadgetContainerMessage(bytes(stream.read_exactly(stream.read_u32())).decode())


class LeavesBytes(TextReader):
    def read(self, stream: ByteStream) -> MessageBlock:
        stream.read_u32()
        return GadgetContainerMessage(bytes(stream.read_exactly(4)).decode() + "o")


class Miscounts(TextReader):
    def read(self, stream: ByteStream) -> MessageBlock:
        message = super().read(stream)
        return GadgetContainerMessage(f"{message!r}")


def make_text() -> MessageBlock:
    return GadgetContainerMessage("hello")


def test_a_reader_must_read_what_was_written() -> None:
    check_reader_writer(TextReader(), TextWriter(), make_text)
    with pytest.raises(AssertionError, match="read"):
        check_reader_writer(Miscounts(), TextWriter(), make_text)
    with pytest.raises(AssertionError, match="unread"):
        check_reader_writer(LeavesBytes(), TextWriter(), make_text)


def test_run_gadget_gives_a_place_to_write_and_parameters() -> None:
    class Writes(Gadget):
        def process_config(self, parameters: ParametersMessage) -> None:
            path = self.controller.working_directory / "file"
            path.write_text(parameters.text, encoding="utf-8")
            self.put_next(make_message(path.read_text(encoding="utf-8"), self.controller.parameter("name")))

    (message,) = run_gadget(Writes(), [], "<a/>", free_parameters={"name": "value"})
    assert isinstance(message, GadgetContainerMessage)
    assert message.object == "<a/>"
    assert isinstance(message.cont, GadgetContainerMessage)
    assert message.cont.object == "value"


def test_run_gadget_ends_a_gadget_that_does_not() -> None:
    go_on = threading.Event()

    class Waits(Gadget):
        def process(self, message: MessageBlock) -> None:
            go_on.wait(30.0)

    threading.Timer(0.2, go_on.set).start()
    with pytest.raises(PeerTimeout, match="did not end within 0.05 s"):
        run_gadget(Waits(), [MessageBlock()], timeout_s=0.05)
    assert go_on.wait(30.0)


def test_run_gadget_raises_what_the_gadget_raised() -> None:
    class Fails(Gadget):
        def process(self, message: MessageBlock) -> None:
            raise ValueError("as the test wants it")

    with pytest.raises(GadgetError) as caught:
        run_gadget(Fails(), [MessageBlock()] * 1000)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_gadget_whose_close_hook_runs_twice_is_noticed() -> None:
    class Closes(Gadget):
        def process(self, message: MessageBlock) -> None:
            self.close(1)

    with pytest.raises(AssertionError, match="called 3 times"):
        check_gadget_drains(Closes, lambda: [MessageBlock(), MessageBlock()])
