"""The writer: order, memory, spilling, and what a client is told when something fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from gadgetron.errors import ConnectionLost, GadgetError, GadgetronError, QueueClosed, StorageError
from gadgetron.limits import LIMITS, Limits
from gadgetron.message import GadgetContainerMessage
from gadgetron.output import Output
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.testing import FaultyStream
from gadgetron.writer_task import WriterTask

GUARD_S = 30.0


class GatedStream(FaultyStream):
    """Takes nothing until its gate is open."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits=limits)
        self.gate = threading.Event()
        self.waits = threading.Event()

    def _send(self, views: list[memoryview]) -> int:
        self.waits.set()
        if not self.gate.wait(GUARD_S):
            raise ConnectionLost("the test forgot to open the gate")
        return super()._send(views)


class LineCodec:
    """One line a message; a message `bad` cannot be written, `half` only to its half."""

    def write_many(self, stream: ByteStream, outputs: Sequence[Output]) -> None:
        for output in outputs:
            assert isinstance(output.message, GadgetContainerMessage)
            text = output.message.object
            if text == "bad":
                raise KeyError("as the test wants it")
            stream.write(f"{text}\n".encode())
            if text == "half":
                raise KeyError("as the test wants it")
            stream.mark_message()

    def write_error(self, stream: ByteStream, error: GadgetronError) -> None:
        stream.write(f"ERROR {error}\n".encode())

    def write_close(self, stream: ByteStream) -> None:
        stream.write(b"CLOSE\n")


class Line(str):
    """A text that weighs what the test says."""

    __slots__ = ("nbytes",)

    nbytes: int


def output(text: str, nbytes: int = 0) -> Output:
    line = Line(text)
    line.nbytes = nbytes
    return Output(0, GadgetContainerMessage(line), None)


class Writer:
    def __init__(self, stream: FaultyStream, limits: Limits) -> None:
        self.stream = stream
        self.failures: list[BaseException] = []
        self.task = WriterTask(stream, LineCodec(), on_failure=self.failures.append, session_name="t", limits=limits)
        self.task.open()

    def lines(self) -> list[str]:
        return self.stream.written.decode().splitlines()


MakeWriter = Callable[..., Writer]


@pytest.fixture
def make_writer() -> Iterator[MakeWriter]:
    writers: list[Writer] = []

    def make(stream: FaultyStream | None = None, **limits: int) -> Writer:
        chosen = replace(LIMITS, **limits)  # type: ignore[arg-type]  # fields of Limits
        writers.append(Writer(stream if stream is not None else FaultyStream(limits=chosen), chosen))
        return writers[-1]

    yield make
    for writer in writers:
        if isinstance(writer.stream, GatedStream):
            writer.stream.gate.set()
        writer.task.abort()
        writer.task.finish(None)


def test_messages_go_out_in_order_and_close_comes_last(make_writer: MakeWriter) -> None:
    writer = make_writer()
    for number in range(300):
        writer.task.put_many([output(str(number))])
    writer.task.finish(None)
    assert writer.lines() == [*map(str, range(300)), "CLOSE"]
    assert (writer.task.written, writer.task.dropped, writer.task.spilled) == (300, 0, 0)
    with pytest.raises(QueueClosed):
        writer.task.put_many([output("late")])


def test_an_error_comes_before_close(make_writer: MakeWriter) -> None:
    writer = make_writer()
    writer.task.finish(GadgetError("g", "failed"))
    assert writer.lines() == ["ERROR gadget g: failed", "CLOSE"]


@pytest.mark.parametrize("tell_with", ["abort", "finish", "both"])
def test_abort_completes_what_is_being_written_and_drops_the_rest(make_writer: MakeWriter, tell_with: str) -> None:
    stream = GatedStream()
    writer = make_writer(stream)
    writer.task.put_many([output("first", 2 << 20)])
    assert stream.waits.wait(GUARD_S)
    writer.task.put_many([output("second"), output("third")])
    error = GadgetError("g", "failed")
    writer.task.abort(error if tell_with != "finish" else None)
    with pytest.raises(QueueClosed):
        writer.task.put_many([output("late")])
    stream.gate.set()
    writer.task.finish(error if tell_with != "abort" else None)
    assert writer.lines() == ["first", "ERROR gadget g: failed", "CLOSE"]
    assert (writer.task.written, writer.task.dropped) == (1, 2)


def test_a_failure_while_the_rest_is_written_is_told(make_writer: MakeWriter) -> None:
    """`finish(None)` has been called already when it happens."""
    stream = GatedStream()
    writer = make_writer(stream)
    writer.task.put_many([output("first", 2 << 20), output("second", 2 << 20)])
    finishing = threading.Thread(target=writer.task.finish, args=(None,))
    finishing.start()
    assert stream.waits.wait(GUARD_S)
    writer.task.abort(GadgetError("g", "failed"))
    stream.gate.set()
    finishing.join(GUARD_S)
    assert writer.lines() == ["first", "ERROR gadget g: failed", "CLOSE"]


def test_output_that_is_not_taken_goes_to_disk_and_comes_back_in_order(make_writer: MakeWriter) -> None:
    stream = GatedStream()
    writer = make_writer(stream, writer_queue_bytes=4000)
    for number in range(200):
        writer.task.put_many([output(str(number), 500)])
    assert writer.task.spilled > 150
    stream.gate.set()
    writer.task.finish(None)
    assert writer.lines() == [*map(str, range(200)), "CLOSE"]
    assert writer.task.written == 200


def test_what_was_on_disk_is_counted_when_it_is_dropped(make_writer: MakeWriter) -> None:
    stream = GatedStream()
    writer = make_writer(stream, writer_queue_bytes=4000)
    writer.task.put_many([output(str(number), 500) for number in range(50)])
    writer.task.abort(GadgetError("g", "failed"))
    stream.gate.set()
    writer.task.finish(None)
    assert writer.lines()[-2:] == ["ERROR gadget g: failed", "CLOSE"]
    assert writer.task.written + writer.task.dropped == 50
    assert writer.task.written == len(writer.lines()) - 2


def test_a_batch_larger_than_memory_is_not_taken_for_a_client_that_does_not_read(make_writer: MakeWriter) -> None:
    """The writer has to be woken before room is waited for."""
    writer = make_writer(writer_queue_bytes=4000)
    for _ in range(20):
        writer.task.put_many([output("x", 1500) for _ in range(10)])
    writer.task.finish(None)
    assert (writer.task.written, writer.task.spilled) == (200, 0)


def test_one_message_larger_than_memory_is_admitted(make_writer: MakeWriter) -> None:
    writer = make_writer(writer_queue_bytes=100)
    writer.task.put_many([output("large", 10_000)])
    writer.task.finish(None)
    assert writer.lines() == ["large", "CLOSE"]
    assert writer.task.spilled == 0


def test_a_disk_that_is_full_fails_who_puts(make_writer: MakeWriter) -> None:
    stream = GatedStream()
    writer = make_writer(stream, writer_queue_bytes=1000, max_spill_bytes=10)
    with pytest.raises(StorageError, match="takes too little"):
        for _ in range(20):
            writer.task.put_many([output("12345", 900)])


@pytest.mark.parametrize("text", ["bad", "half"])
def test_a_message_that_cannot_be_put_on_disk_leaves_no_empty_file(make_writer: MakeWriter, text: str) -> None:
    stream = GatedStream()
    writer = make_writer(stream, writer_queue_bytes=1000)
    writer.task.put_many([output("first", 900)])
    with pytest.raises(KeyError):
        writer.task.put_many([output(text, 900)])
    stream.gate.set()
    writer.task.finish(None)
    assert writer.lines() == ["first", "CLOSE"]
    assert not writer.failures


@pytest.mark.parametrize("text", ["bad", "half"])
def test_a_message_that_cannot_be_put_on_disk_leaves_nothing_of_itself(make_writer: MakeWriter, text: str) -> None:
    stream = GatedStream()
    writer = make_writer(stream, writer_queue_bytes=1000)
    writer.task.put_many([output("first", 900)])
    with pytest.raises(KeyError):
        writer.task.put_many([output(text, 900)])
    writer.task.put_many([output("second", 900)])
    with pytest.raises(KeyError):
        writer.task.put_many([output(text, 900)])
    stream.gate.set()
    writer.task.finish(None)
    assert writer.lines() == ["first", "second", "CLOSE"]


def test_a_writer_that_fails_between_messages_is_told(make_writer: MakeWriter) -> None:
    writer = make_writer()
    writer.task.put_many([output("good")])
    writer.task.put_many([output("bad")])
    writer.task.finish(None)
    assert isinstance(writer.failures[0], KeyError)
    assert len(writer.failures) == 1
    assert writer.lines()[-2].startswith("ERROR the output could not be written: KeyError")
    assert writer.lines()[-1] == "CLOSE"


def test_nothing_follows_half_a_message(make_writer: MakeWriter) -> None:
    writer = make_writer()
    writer.task.put_many([output("half")])
    writer.task.finish(None)
    assert writer.lines() == ["half"]
    assert isinstance(writer.failures[0], KeyError)


@pytest.mark.parametrize("position", [0, 1, 6, 12])
def test_a_lost_connection_fails_once_wherever_it_happens(make_writer: MakeWriter, position: int) -> None:
    writer = make_writer(FaultyStream(fail_write_at=position))
    writer.task.put_many([output("12345"), output("67890")])
    writer.task.finish(None)
    assert len(writer.failures) == 1
    assert isinstance(writer.failures[0], ConnectionLost)
    with pytest.raises(QueueClosed):
        writer.task.put_many([output("late")])


def test_a_producer_that_waits_for_room_wakes_when_the_writer_fails(make_writer: MakeWriter) -> None:
    class Dribbles(GatedStream):
        """Takes byte after byte, so that the client looks alive, until it fails."""

        def _send(self, views: list[memoryview]) -> int:
            self.waits.set()
            if self.gate.wait(0.001):
                raise ConnectionLost("as the test wants it")
            return 1

    stream = Dribbles()
    writer = make_writer(stream, writer_queue_bytes=1000)
    outcome: list[BaseException] = []

    def produce() -> None:
        try:
            while True:
                writer.task.put_many([output("x" * 5000, 900)])
        except GadgetronError as error:
            outcome.append(error)

    thread = threading.Thread(target=produce)
    thread.start()
    assert stream.waits.wait(GUARD_S)
    stream.gate.set()
    thread.join(GUARD_S)
    assert isinstance(outcome[0], QueueClosed)
