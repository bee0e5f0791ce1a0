"""R08: each of the 65 536 message ids has a defined answer in each state."""

from __future__ import annotations

import random
import struct

import pytest

from gadgetron.controller import GadgetStreamController
from gadgetron.errors import UnexpectedMessageError, UnknownMessageError
from gadgetron.protocol.message_ids import MessageID
from gadgetron.session_state import SessionState
from tests import raw_client as raw
from tests.raw_client import exchange
from tests.reliability.sessions import make_environment
from tests.servers import InProcessServer

SAMPLE = 60
AFTER = b"\xff" * 16  # or two bytes could still become the size of a frame, and the server waits for the rest
READERS = {1008, 1022}
KNOWN = frozenset(MessageID)
BEFORE = {
    SessionState.AWAIT_CONFIG: b"",
    SessionState.AWAIT_HEADER: raw.config_file("pass_through.xml"),
    SessionState.STREAM: raw.config_file("pass_through.xml") + raw.header(),
}


@pytest.mark.slow
@pytest.mark.parametrize("state", BEFORE)
def test_ids_that_are_no_control_messages(state: SessionState) -> None:
    controller = GadgetStreamController(make_environment())
    controller.state = state
    controller._chain.readers = dict.fromkeys(READERS)  # type: ignore[arg-type]  # only the ids count here
    for message_id in range(9, 65_536):
        if state is SessionState.STREAM and message_id in READERS:
            continue  # its reader takes it
        known = message_id in READERS or (state is SessionState.AWAIT_CONFIG and message_id in KNOWN)
        with pytest.raises(UnexpectedMessageError if known else UnknownMessageError) as caught:
            controller.no_reader(message_id)
        assert str(message_id) in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("state", BEFORE)
def test_ids_on_sockets(server: InProcessServer, full_counts: bool, state: SessionState) -> None:
    rng = random.Random(state.name)
    ids = [0, *range(9, 65_536)]
    chosen = ids if full_counts else [0, 9, 1007, 65_535, *rng.sample(ids, SAMPLE)]
    for message_id in chosen:
        if message_id in (1008, 1026):
            continue  # pass_through.xml reads them
        error = exchange(server.port, BEFORE[state], struct.pack("<H", message_id), AFTER).error
        assert str(message_id) in error
        assert state.value in error


def test_after_close_nothing_is_read(server: InProcessServer) -> None:
    messages = [
        BEFORE[SessionState.STREAM],
        raw.acquisition(1),
        raw.close(),
        struct.pack("<H", 4711),
        raw.acquisition(),
    ]
    reply = exchange(server.port, *messages)
    assert reply.scan_counters == [1]
    assert reply.is_complete
