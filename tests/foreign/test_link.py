"""The connection to a module: who waits for whom."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from gadgetron.errors import ConnectionLost
from gadgetron.foreign.link import ForeignLink
from gadgetron.message import MessageBlock
from gadgetron.protocol.descriptor_stream import SocketStream
from readers_writers.acquisition import AcquisitionReader
from tests import raw_client as raw

GUARD_S = 10.0


@contextmanager
def receiving(taken: threading.Event, go_on: threading.Event) -> Iterator[tuple[ForeignLink, socket.socket]]:
    """A link whose reader says when it hands something over, and waits there; and the module's socket."""
    near, far = socket.socketpair()
    link = ForeignLink(SocketStream(near), {1008: AcquisitionReader()})

    def put(_messages: list[MessageBlock]) -> None:
        taken.set()
        assert go_on.wait(GUARD_S)

    def receive() -> None:
        with pytest.raises(ConnectionLost):
            link.receive(put)

    thread = threading.Thread(target=receive)
    thread.start()
    with far:
        yield link, far
    thread.join(GUARD_S)
    link.close()


def wait_until_starved(link: ForeignLink, least_s: float) -> None:
    deadline = monotonic() + GUARD_S
    while link.starved_s() < least_s:
        assert monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_reader_that_waits_with_nothing_to_read_is_starved() -> None:
    taken, go_on = threading.Event(), threading.Event()
    with receiving(taken, go_on) as (link, far):
        wait_until_starved(link, 0.1)
        far.sendall(raw.acquisition(1))
        assert taken.wait(GUARD_S)
        assert link.starved_s() == 0.0, "it is the chain that is slow"
        go_on.set()
        wait_until_starved(link, 0.1)
        assert not link.has_ended
    assert link.wait_for_end(GUARD_S)
    assert link.starved_s() == 0.0
