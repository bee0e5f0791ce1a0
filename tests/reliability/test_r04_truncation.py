"""R04: a session that is cut off after any byte: an end between messages, ConnectionLost inside one, never more."""

from __future__ import annotations

import random

import pytest

from gadgetron.errors import ConnectionLost
from tests import raw_client as raw
from tests.raw_client import RawClient
from tests.reliability.sessions import golden_session, make_environment, play
from tests.servers import InProcessServer

ON_SOCKETS = 200


@pytest.mark.slow
def test_every_offset_in_memory() -> None:
    session, offsets = golden_session()
    environment = make_environment()
    boundaries = set(offsets)
    assert 5_000 < len(session) < 12_000
    for length in range(len(session) + 1):
        outcome = play(memoryview(session)[:length], environment=environment)
        if length in boundaries:
            assert outcome.error is None, length
        else:
            assert isinstance(outcome.error, ConnectionLost), length
    assert environment.admission.active == 0


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["FIN", "RST"])
def test_offsets_on_sockets(server: InProcessServer, full_counts: bool, ending: str) -> None:
    session, offsets = golden_session()
    rng = random.Random(ending)
    lengths = range(len(session) + 1)
    chosen = list(lengths) if full_counts else sorted({*rng.sample(lengths, ON_SOCKETS // 2), *offsets})
    for number, length in enumerate(chosen, 1):
        with RawClient(server.port) as client:
            client.send(session[:length])
            if ending == "RST":
                client.reset()
            else:
                client.half_close()
                reply = client.read_reply()
                assert reply.ids[-1:] == [raw.CLOSE], length
                assert (reply.error == "") == (length in offsets), length
        server.wait_for_summaries(number)
    assert not server.records.of_level("error")
