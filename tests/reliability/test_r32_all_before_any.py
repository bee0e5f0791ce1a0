"""R32: a client that sends everything before it reads anything gets everything, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gadgetron.limits import MIB
from tests import raw_client as raw
from tests.misbehaving import chain
from tests.raw_client import RawClient
from tests.servers import InProcessServer

SAMPLE_BYTES, FULL_BYTES = 96 * MIB, 2048 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("gadgets", [(), ("Echo", ("Echo", {"threads": 2}))], ids=["wire", "chain"])
def test_everything_comes_back(
    start_server: Callable[..., InProcessServer], full_counts: bool, gadgets: tuple[str, ...]
) -> None:
    server = start_server(writer_queue_bytes=4 * MIB)
    size = len(raw.acquisition(0, 8192, 8))
    count = (FULL_BYTES if full_counts else SAMPLE_BYTES) // size
    body = bytes(8 * 8192 * 8)
    with RawClient(server.port) as client:
        client.send(raw.config_script(chain(*gadgets)), raw.header())
        for number in range(count):
            client.send(raw.acquisition(number, 8192, 8, body=body))
        client.send(raw.close())
        session = server.acceptor.sessions[0]
        assert session.sink._waiting_bytes <= 4 * MIB + size
        for number in range(count):
            message_id, content = client.read_message()
            assert message_id == raw.ACQUISITION
            assert int.from_bytes(content[14:18], "little") == number
        assert client.read_message() == (raw.CLOSE, b"")
    summary = server.wait_for_summaries(1)[0]
    assert (summary["received"], summary["written"], summary["error"]) == (count, count, None)
    assert session.sink.spilled > 0
