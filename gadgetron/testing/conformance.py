"""Checks that any gadget, and any reader with its writer, must pass. They raise AssertionError, as tests do."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gadgetron.errors import ConnectionLost, GadgetronError
from gadgetron.gadget import Gadget
from gadgetron.message import GadgetContainerMessage, MessageBlock, ParametersMessage, blocks
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.protocol.byte_stream import ByteStream, MemoryStream
from gadgetron.testing.faulty_stream import FaultyStream
from gadgetron.testing.running import EMPTY_HEADER, run_gadget


def check_reader_writer(
    reader: GadgetMessageReader, writer: GadgetMessageWriter, make_message: Callable[[], MessageBlock]
) -> None:
    """Check that what a writer writes a reader reads, whole, in pieces, and cut off after every byte.

    Parameters
    ----------
    reader, writer
        A pair for the same kind of message.
    make_message
        Makes a fresh message, the same each time. Keep it small: it is cut off after each of its bytes.

    Raises
    ------
    AssertionError
        If a message comes back different, or a cut one is not refused with ConnectionLost.
    """
    stream = MemoryStream()
    writer.write(stream, make_message())
    sent = bytes(stream.written)
    expected = describe_message(make_message())
    for pieces in ((), (1,), (3, 1, 7)):
        source = FaultyStream(sent, pieces=pieces)
        found = describe_message(_read(reader, source))
        _require(found == expected, f"wrote {expected}, read {found}")
        _require(source.read_frame_start(1) is None, f"{type(reader).__name__} leaves bytes of its message unread")
    for length in range(2, len(sent)):
        try:
            _read(reader, MemoryStream(sent[:length]))
        except ConnectionLost:
            continue
        except GadgetronError as error:
            raise AssertionError(f"cut off after {length} bytes: {error!r}, expected ConnectionLost") from error
        raise AssertionError(f"cut off after {length} of {len(sent)} bytes, and the reader did not notice")
    _check_taken_in_pieces(writer, make_message, sent)


def _check_taken_in_pieces(writer: GadgetMessageWriter, make_message: Callable[[], MessageBlock], sent: bytes) -> None:
    in_pieces = FaultyStream(write_piece=3)
    writer.write(in_pieces, make_message())
    _require(bytes(in_pieces.written) == sent, "written in pieces, the message is another one")


def _read(reader: GadgetMessageReader, stream: ByteStream) -> MessageBlock:
    start = stream.read_frame_start(2)
    _require(start is not None, "the writer wrote nothing")
    return reader.read(stream)


def check_gadget_drains(
    make_gadget: Callable[[], Gadget],
    make_messages: Callable[[], Sequence[MessageBlock]],
    parameters: ParametersMessage | bytes | str = EMPTY_HEADER,
    timeout_s: float = 60.0,
) -> None:
    """Check how a gadget ends: with data, without any, and when it is aborted in the middle.

    Its close hook must be called once each time, in a thread of its own, and leave no thread behind.

    Parameters
    ----------
    make_gadget
        Makes a fresh gadget.
    make_messages
        Makes fresh messages, the same each time.

    Raises
    ------
    AssertionError
        If one of that does not hold, or the gadget gives different results the second time.
    """
    first = _run_counted(make_gadget(), make_messages(), parameters, timeout_s)
    again = _run_counted(make_gadget(), make_messages(), parameters, timeout_s)
    _require(first == again, "a second run gave other results")
    _run_counted(make_gadget(), (), parameters, timeout_s)
    _check_abort(make_gadget(), make_messages(), timeout_s)


def _run_counted(
    gadget: Gadget, messages: Sequence[MessageBlock], parameters: ParametersMessage | bytes | str, timeout_s: float
) -> list[Any]:
    closes = _count_closes(gadget)
    found = run_gadget(gadget, messages, parameters, timeout_s=timeout_s)
    _require(len(closes) == 1, f"the close hook was called {len(closes)} times")
    _require(closes[0] != threading.get_ident(), "the close hook was called in a foreign thread")
    _require(not gadget.running_threads, f"threads are still running: {gadget.running_threads}")
    return [describe_message(message) for message in found]


def _check_abort(gadget: Gadget, messages: Sequence[MessageBlock], timeout_s: float) -> None:
    class _Blocked(Gadget):
        def process(self, message: MessageBlock) -> None:
            raise GadgetronError("aborted, as the test wants it")

    closes = _count_closes(gadget)
    with contextlib.suppress(GadgetronError):  # nothing is raised where the gadget puts nothing
        run_gadget([gadget, _Blocked()], messages, timeout_s=timeout_s)
    _require(len(closes) == 1, f"the close hook was called {len(closes)} times when the session failed")
    _require(not gadget.running_threads, f"threads are still running: {gadget.running_threads}")


def _count_closes(gadget: Gadget) -> list[int]:
    closes: list[int] = []
    original = gadget.close

    def close(flags: int) -> int | None:
        closes.append(threading.get_ident())
        return original(flags)

    gadget.close = close  # type: ignore[method-assign]  # to count the calls of this instance
    return closes


def describe_message(message: MessageBlock) -> list[Any]:
    """Give what a message holds in a form that can be compared: a pair of type and content for each block."""
    return [_describe(block) for block in blocks(message)]


def _describe(block: MessageBlock) -> tuple[Any, ...]:
    obj = block.object if isinstance(block, GadgetContainerMessage) else None
    if isinstance(obj, np.ndarray):
        return (obj.dtype.str, obj.shape, obj.tobytes())
    return (type(obj).__name__, bytes(obj) if isinstance(obj, ctypes.Structure) else repr(obj))


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)
