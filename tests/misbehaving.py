"""Gadgets, readers and writers that do what tests want: fail, block, count. Loaded by name, as a user's are."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
from ismrmrd import AcquisitionHeader

from gadgetron import Array, Container, Gadget, Gadget2, Property
from gadgetron.message import GadgetContainerMessage, GadgetMessageIdentifier, MessageBlock, ParametersMessage
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.protocol.byte_stream import ByteStream

GUARD_S = 60.0


class Unprintable(Exception):
    """An exception that cannot be asked what it means."""

    def __str__(self) -> str:
        raise ValueError("no")


ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error
    for error in (
        ValueError,
        SystemExit,
        KeyboardInterrupt,
        MemoryError,
        RecursionError,
        StopIteration,
        GeneratorExit,
        Unprintable,
    )
}


class Echo(Gadget2[AcquisitionHeader, Array[np.complex64]]):
    """Passes on what it gets."""

    thread_safe = True

    def process(self, header: Container[AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        self.put_next(header)


class Failing(Gadget):
    """Passes on what it gets, and fails at one point: in process at a message's number, in process_config, in close."""

    where = Property("process", choices=("init", "process", "process_config", "close", "return", "nowhere"))
    at = Property(0, doc="number of the message")
    error = Property("ValueError", choices=tuple(ERRORS))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._count = 0

    def process_config(self, parameters: ParametersMessage) -> None:
        if self.where == "process_config":
            raise ERRORS[self.error]("as the test wants it")

    def process(self, message: MessageBlock) -> int:
        self._count += 1
        if self._count == self.at + 1:
            if self.where == "return":
                return -1
            if self.where == "process":
                raise ERRORS[self.error]("as the test wants it")
        self.put_next(message)
        return 0

    def close(self, flags: int) -> None:
        if self.where == "close":
            raise ERRORS[self.error]("as the test wants it")


class Contradicts(Gadget2[AcquisitionHeader, Array[np.complex64]]):
    """Passes on readouts; from the fourth on their headers say something else than their data."""

    def process(self, header: Container[AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        if header.object.scan_counter >= 3:
            header.object.number_of_samples += 1
        self.put_next(header)


class FailsToStart(Gadget):
    """Cannot even be made."""

    def __init__(self) -> None:
        super().__init__()
        raise OSError("no device in /home/secret/device")


class Blocking(Gadget):
    """Waits in process until the test lets it go on."""

    entered: ClassVar[threading.Event] = threading.Event()
    go_on: ClassVar[threading.Event] = threading.Event()

    def process(self, message: MessageBlock) -> None:
        self.entered.set()
        if not self.go_on.wait(GUARD_S):
            raise TimeoutError("the test forgot to let this gadget go on")
        self.put_next(message)


class CountsCloses(Gadget):
    """Counts the calls of its close hook."""

    made: ClassVar[list[CountsCloses]] = []
    """Every instance since the test cleared the list."""

    def __init__(self) -> None:
        super().__init__()
        self.closes = 0
        self.made.append(self)

    def process(self, message: MessageBlock) -> None:
        self.put_next(message)

    def close(self, flags: int) -> None:
        self.closes += 1


class BadReader(GadgetMessageReader):
    """A reader with a bug."""

    slot: ClassVar[int] = 2000

    def read(self, stream: ByteStream) -> MessageBlock:
        raise KeyError("as the test wants it")


class BadWriter(GadgetMessageWriter):
    """A writer with a bug: for readouts, so that it is used."""

    slot: ClassVar[int] = 1008
    accepts: ClassVar[tuple[Any, ...]] = ((AcquisitionHeader, Array[np.complex64]),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        raise KeyError("as the test wants it")


class HalfWriter(BadWriter):
    """A writer that fails in the middle of a message."""

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        stream.write(b"\xf0\x03 half a message")
        raise KeyError("as the test wants it")


def chain(*gadgets: str | tuple[str, dict[str, object]], writer: str = "", reader: str = "") -> bytes:
    """Make a configuration of readouts in, readouts out, with gadgets of this module between, named G0, G1, …"""
    io = "readers_writers.acquisition.GadgetIsmrmrdAcquisitionMessage"
    parts = [f"<reader><slot>1008</slot><dll></dll><classname>{io}Reader</classname></reader>"]
    if reader:
        parts.append(f"<reader><slot>2000</slot><dll></dll><classname>tests.misbehaving.{reader}</classname></reader>")
    writer_class = f"tests.misbehaving.{writer}" if writer else f"{io}Writer"
    parts.append(f"<writer><slot>1008</slot><dll></dll><classname>{writer_class}</classname></writer>")
    for index, gadget in enumerate(gadgets):
        name, properties = gadget if isinstance(gadget, tuple) else (gadget, {})
        values = "".join(
            f"<property><name>{key}</name><value>{value}</value></property>" for key, value in properties.items()
        )
        parts.append(
            f"<gadget><name>G{index}</name><dll></dll><classname>tests.misbehaving.{name}</classname>{values}</gadget>"
        )
    body = "".join(parts)
    return (
        f'<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">{body}</gadgetronStreamConfiguration>'
    ).encode()


class TwoWays(Gadget2[AcquisitionHeader, Array[np.complex64]]):
    """Puts every other message on, and gives the others to the writer itself."""

    def process(self, header: Container[AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        if header.object.scan_counter % 2:
            self.put_next(header)
        else:
            self.controller.output_ready(make_message_for(header))


def make_message_for(message: MessageBlock) -> MessageBlock:
    """Address a message to the acquisition writer."""
    return GadgetContainerMessage(GadgetMessageIdentifier(1008), message)
