"""What the kernel knows of the other end."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from time import monotonic

import pytest

from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.descriptor_stream import SocketStream
from gadgetron.protocol.peer_socket import PeerSocket, find_peer

GUARD_S = 10.0
ADDRESSES = [
    (socket.AF_INET, "127.0.0.1", socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, "::1", socket.AF_INET6, "::1"),
    (socket.AF_INET6, "::", socket.AF_INET, "127.0.0.1"),  # mapped addresses on one side
]


def connected(
    family: socket.AddressFamily, host: str, other: socket.AddressFamily, to: str
) -> tuple[socket.socket, socket.socket]:
    dualstack = family == socket.AF_INET6 and host == "::"
    with socket.create_server((host, 0), family=family, dualstack_ipv6=dualstack) as listener:
        far = socket.socket(other)
        far.connect((to, listener.getsockname()[1]))
        near, _ = listener.accept()
    return near, far


def wait_for(connection: socket.socket, expected: PeerSocket) -> None:
    deadline = monotonic() + GUARD_S
    while (found := find_peer(connection)) != expected:
        assert monotonic() < deadline, found
        threading.Event().wait(0.01)


@pytest.mark.parametrize("addresses", ADDRESSES, ids=["4", "6", "mapped"])
def test_the_other_end_is_found_and_told_from_one_that_has_gone(
    addresses: tuple[socket.AddressFamily, str, socket.AddressFamily, str],
) -> None:
    near, far = connected(*addresses)
    with near:
        with far:
            assert find_peer(near) == PeerSocket(is_held=True, unread_bytes=0)
            near.sendall(b"x" * 1000)
            wait_for(near, PeerSocket(is_held=True, unread_bytes=1000))
            assert far.recv(600) == b"x" * 600
            wait_for(near, PeerSocket(is_held=True, unread_bytes=400))
            assert far.recv(600) == b"x" * 400
            far.shutdown(socket.SHUT_WR)
            wait_for(near, PeerSocket(is_held=True, unread_bytes=0))
        wait_for(near, PeerSocket(is_held=False, unread_bytes=0))


def test_no_tcp_no_peer() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert find_peer(near) is None
    assert find_peer(near) is None


def test_a_stream_tells_a_half_close_from_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gadgetron.protocol.descriptor_stream.LOOK_S", 0.01)
    near, far = connected(*ADDRESSES[0])
    stream = SocketStream(near, gone_after(0.1))
    try:
        assert not stream.wait_for_hang_up(0.02)
        far.shutdown(socket.SHUT_WR)
        began = monotonic()
        assert not stream.wait_for_hang_up(0.2)
        assert monotonic() - began >= 0.2, "it does not spin"
        far.close()
        assert not stream.wait_for_hang_up(0.02), "it is given a moment"
        assert stream.wait_for_hang_up(GUARD_S)
    finally:
        stream.close()
        far.close()


def gone_after(delay_s: float) -> Limits:
    return replace(LIMITS, gone_client_s=delay_s)
