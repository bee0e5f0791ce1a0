"""R35: a gadget that fails, at each position of each shipped chain, at each point of its life."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import gadgetron.controller as controller_module
from gadgetron.chain import Chain, build_chain
from gadgetron.configuration import load_configuration
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.loader import Loader
from gadgetron.message import MessageBlock
from tests import raw_client as raw
from tests.misbehaving import chain
from tests.raw_client import exchange
from tests.servers import InProcessServer

STOCK = ConfigurationSearch(environment={"HOME": "/nonexistent"})
SHIPPED = [name for name in STOCK.names() if load_configuration(name, STOCK).gadgets]
POINTS = ["process_config", "first", "middle", "last", "close"]
DATA = {
    raw.WAVEFORM: raw.waveform(),
    raw.ACQUISITION: b"".join(raw.image_slice(n_channels=4, repetition=repetition) for repetition in range(3)),
}


class AsTheTestWantsIt(Exception):
    pass


def fail(*_args: object) -> Any:
    raise AsTheTestWantsIt("as the test wants it")


@pytest.fixture
def with_chains(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Chain], None]], None]:
    """Have something done to every chain that is built."""

    def do_to_chains(change: Callable[[Chain], None]) -> None:
        def build(*args: Any) -> Chain:
            built = build_chain(*args)
            change(built)
            return built

        monkeypatch.setattr(controller_module, "build_chain", build)

    return do_to_chains


def session_for(name: str) -> bytes:
    """All messages of a session: data of the kinds that the chain reads."""
    loader = Loader()
    readers = load_configuration(name, STOCK).readers
    slots = [
        spec.slot if spec.slot is not None else loader.load_reader(spec.dll, spec.classname).slot for spec in readers
    ]
    data = b"".join(messages for slot, messages in DATA.items() if slot in slots)
    return raw.config_file(name) + raw.header() + data + raw.close()


def what_to_try(server: InProcessServer, session: bytes) -> list[tuple[int, str, int]]:
    """Run the chain as it is; gives position, point, and number of messages there.

    A chain for other scans than this one refuses its parameters: then only the gadgets in front of the one that does
    can fail before it, and only with the parameters.
    """
    reply = exchange(server.port, session)
    gadgets = server.wait_for_summaries(1)[-1]["gadgets"]
    if reply.is_complete:
        return [(position, point, gadget["in"]) for position, gadget in enumerate(gadgets.values()) for point in POINTS]
    refusing = [f"gadget {name}: MalformedMessageError" in reply.error for name in gadgets].index(True)
    return [(position, "process_config", 0) for position in range(refusing + 1)]


def sabotage(chain: Chain, position: int, point: str, n_messages: int) -> list[str]:
    """Have a gadget fail at a point; gives its name, or nothing if it never gets there."""
    gadget = chain.gadgets[position]
    if point in ("process_config", "close"):
        setattr(gadget, point, fail)
        return [gadget.name]
    at = {"first": 0, "middle": n_messages // 2, "last": n_messages - 1}[point]
    original = gadget.process_many
    seen = 0

    def process_many(messages: Sequence[MessageBlock]) -> None:
        nonlocal seen
        for message in messages:
            if seen == at:
                fail()
            seen += 1
            original([message])

    gadget.process_many = process_many  # type: ignore[method-assign]  # this instance only
    return [gadget.name] if n_messages else []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_gadget_of_a_shipped_chain_at_every_point(
    server: InProcessServer, with_chains: Callable[[Callable[[Chain], None]], None], name: str
) -> None:
    session = session_for(name)
    failures = 0
    for sessions, (position, point, n_messages) in enumerate(what_to_try(server, session), 2):
        told: list[str] = []
        with_chains(lambda built, at=(position, point, n_messages), told=told: told.extend(sabotage(built, *at)))
        reply = exchange(server.port, session)
        summary = server.wait_for_summaries(sessions)[-1]
        case = f"{name}, gadget {position}, {point}"
        if told:
            failures += 1
            assert reply.error == f"gadget {told[0]}: AsTheTestWantsIt: as the test wants it", case
            assert summary["error"] == reply.error, case
        else:
            assert reply.is_complete, case
        assert not [thread for thread in threading.enumerate() if "/writer-0" in thread.name], case
    assert failures > 0
    assert len(server.records.of_level("error")) == failures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "at"),
    [("init", 0), ("process_config", 0), ("process", 0), ("process", 299), ("return", 150), ("close", 0)],
)
@pytest.mark.parametrize("position", range(4))
def test_producers_blocked_on_full_queues_wake(
    start_server: Callable[..., InProcessServer], where: str, position: int, at: int
) -> None:
    """Large readouts, so that every queue in front of the one that fails is full."""
    server = start_server()
    gadgets: list[Any] = ["Echo", ("Echo", {"threads": 2}), "Echo", "Echo"]
    gadgets[position] = "FailsToStart" if where == "init" else ("Failing", {"where": where, "at": at})
    reply = exchange(
        server.port,
        raw.config_script(chain(*gadgets)),
        raw.header(),
        *(raw.acquisition(number, 1024, 8) for number in range(300)),
        raw.close(),
    )
    assert reply.error.startswith(f"gadget G{position}: ")
    assert reply.scan_counters == list(range(len(reply.scan_counters)))
    server.wait_for_summaries(1)
    assert len(server.records.of_level("error")) == 1
