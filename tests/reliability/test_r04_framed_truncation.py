"""R04 for the framed protocol: a session cut off after any byte ends, between frames, or is lost, inside one."""

from __future__ import annotations

import random

import pytest

from gadgetron.errors import ConnectionLost
from tests.framed_client import FramedClient
from tests.reliability.framed_sessions import golden_session, play
from tests.reliability.sessions import make_environment
from tests.reliability.test_r01_r02_framed_mutations import told
from tests.servers import InProcessServer

ON_SOCKETS = 200


@pytest.mark.slow
def test_every_offset_in_memory() -> None:
    session, offsets = golden_session()
    environment = make_environment()
    assert 5_000 < len(session) < 12_000
    for length in range(len(session) + 1):
        error = play(memoryview(session)[:length], environment=environment).error
        if length in offsets:
            assert error is None, length
        else:
            assert isinstance(error, ConnectionLost), (length, error)
    assert environment.admission.active == 0


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["FIN", "RST"])
def test_offsets_on_sockets(server: InProcessServer, full_counts: bool, ending: str) -> None:
    session, offsets = golden_session()
    rng = random.Random(ending)
    lengths = range(len(session) + 1)
    chosen = list(lengths) if full_counts else sorted({*rng.sample(lengths, ON_SOCKETS // 2), *offsets, *range(10)})
    for number, length in enumerate(chosen, 1):
        with FramedClient(server.port) as client:
            client.socket.sendall(session[:length])
            if ending == "RST":
                client.reset()
            else:
                client.socket.shutdown(1)
                reply = client.read_reply()
                assert (told(reply.data, str(length)) == "") == (length in offsets), length
        server.wait_for_summaries(number)
    assert not server.records.of_level("error")
