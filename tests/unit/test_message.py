"""Messages: chains of blocks, what they weigh, and types as gadgets name them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ismrmrd import AcquisitionHeader, ImageHeader

from gadgetron.message import (
    BLOCK_OVERHEAD_BYTES,
    Array,
    GadgetContainerMessage,
    MessageBlock,
    MessageKind,
    as_container_message,
    blocks,
    close_message,
    config_message,
    kept_alive_nbytes,
    make_message,
    matches,
)
from gadgetron.message_types import fits, may_fit, message_may_fit, message_type_name, type_name

COMPLEX = np.zeros((2, 3), np.complex64)


def test_a_message_is_a_chain_of_blocks() -> None:
    message = make_message(1, "two", 3.0)
    assert [block.object for block in blocks(message) if isinstance(block, GadgetContainerMessage)] == [1, "two", 3.0]
    assert message.get_object_ptr() == 1
    message.object = "another"
    assert message.object == "another"
    message.release()
    assert message.cont is None


def test_kinds() -> None:
    assert close_message().kind is MessageKind.CLOSE
    assert config_message("<a/>").kind is MessageKind.CONFIG
    assert make_message(1).kind is MessageBlock().kind is MessageKind.DATA


def test_parameters_are_bytes_and_text() -> None:
    parameters = config_message(b"<a>\xc3\xa9</a>\0\0")
    assert parameters.text == "<a>é</a>"
    assert parameters.data.endswith(b"\0\0")
    assert parameters.nbytes > len(parameters.data)


def test_a_message_weighs_what_it_keeps_alive() -> None:
    block = np.zeros(10_000, np.uint8)
    view = block[:80].view(np.complex64).reshape(2, 5)
    assert kept_alive_nbytes(view) == 10_000
    assert kept_alive_nbytes(np.frombuffer(memoryview(bytearray(500))[10:20], np.uint8)) >= 10
    message = make_message(AcquisitionHeader(), view)
    assert message.nbytes == 10_000 + 2 * BLOCK_OVERHEAD_BYTES


def test_what_a_reader_charges_holds_until_the_object_is_replaced() -> None:
    container = GadgetContainerMessage(np.zeros(1000, np.uint8))
    container.charge(77)
    assert container.nbytes == 77
    container.object = np.zeros(10, np.uint8)
    assert container.nbytes == 10 + BLOCK_OVERHEAD_BYTES


def test_objects_that_grow_are_asked_again() -> None:
    class Bucket:
        nbytes = 5

    container = GadgetContainerMessage(Bucket())
    assert container.nbytes == 5 + BLOCK_OVERHEAD_BYTES
    container.object.nbytes = 500
    assert container.nbytes == 500 + BLOCK_OVERHEAD_BYTES


@pytest.mark.parametrize(
    ("value", "expected_type", "result"),
    [
        (1, int, True),
        (1, str, False),
        (COMPLEX, Array[np.complex64], True),
        (COMPLEX, Array[np.complex128], False),
        (COMPLEX, Array[Any], True),
        (COMPLEX, np.ndarray, True),
        (COMPLEX, Array[np.float32] | Array[np.complex64], True),
        (1, int | None, True),
        (object(), Any, True),
        (AcquisitionHeader(), ImageHeader | AcquisitionHeader, True),
        (AcquisitionHeader(), ImageHeader, False),
    ],
)
def test_types_fit_or_do_not(value: object, expected_type: Any, result: bool) -> None:
    assert fits(value, expected_type) is result
    container = GadgetContainerMessage(value)
    assert (as_container_message(container, expected_type) is container) is result
    assert matches(container, (expected_type,)) is result


def test_what_is_no_container_holds_nothing() -> None:
    assert as_container_message(None, Any) is None
    assert as_container_message(MessageBlock(), Any) is None
    assert not matches(MessageBlock(), (Any,))
    assert not matches(make_message(1), (int, int))
    assert matches(make_message(1, 2, "more"), (int, int))


def test_chains_are_compared_before_data_arrives() -> None:
    readout = (AcquisitionHeader, Array[np.complex64])
    assert message_may_fit(readout, (AcquisitionHeader,))
    assert message_may_fit(readout, (Any, Array[Any]))
    assert not message_may_fit((AcquisitionHeader,), readout)
    assert not message_may_fit(readout, (ImageHeader, Array[np.complex64]))
    assert may_fit(bool, int)
    assert may_fit(int, bool)
    assert not may_fit(Array[np.float32], Array[np.float64])


def test_types_have_names_for_people() -> None:
    assert type_name(Any) == "any"
    assert type_name(Array[np.complex64] | int) == "Array[complex64] | int"
    assert message_type_name((AcquisitionHeader, Array[Any])) == "AcquisitionHeader + Array"


def test_what_is_no_type_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be used as the type"):
        fits(1, 5)


def test_repr_is_short() -> None:
    assert repr(make_message(COMPLEX, 1)) == "<GadgetContainerMessage Array(2, 3) complex64 …>"
    assert repr(close_message()) == "<MessageBlock CLOSE>"
