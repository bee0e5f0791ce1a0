"""R27: a client that vanishes at a random place of its session: chain closed, every close hook called once."""

from __future__ import annotations

import random
import threading

import pytest

from tests import raw_client as raw
from tests.misbehaving import CountsCloses, chain
from tests.raw_client import RawClient, exchange
from tests.servers import InProcessServer

SAMPLE, FULL = 100, 1_000
N_GADGETS = 3


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["FIN", "RST"])
def test_close_hooks_run_once_wherever_the_client_vanishes(
    server: InProcessServer, full_counts: bool, ending: str
) -> None:
    CountsCloses.made.clear()
    start = raw.config_script(chain("CountsCloses", ("CountsCloses", {"threads": 3}), "CountsCloses")) + raw.header()
    data = b"".join(raw.acquisition(number, 64, 4) for number in range(60))
    count = FULL if full_counts else SAMPLE
    for seed in range(count // 2):
        rng = random.Random(seed)
        cut = rng.randrange(1, len(data))
        with RawClient(server.port) as client:
            client.send(start, data[:cut])
            if rng.random() < 0.5:
                assert client.read_message()[0] == raw.ACQUISITION if cut > 3000 else True
            if ending == "RST":
                client.reset()
        summary = server.wait_for_summaries(seed + 1)[-1]
        whole = len(raw.acquisition(0, 64, 4))
        assert summary["error"] is not None or cut % whole == 0, f"seed {seed}"
    configured = len(server.records.of("session.configured"))
    assert [gadget.closes for gadget in CountsCloses.made] == [1] * N_GADGETS * configured
    assert not server.records.of_level("error")
    assert not [thread for thread in threading.enumerate() if "/G" in thread.name]
    assert exchange(server.port, start, data, raw.close()).is_complete
