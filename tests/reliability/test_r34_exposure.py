"""R34, its part about addresses: loopback unless a flag says otherwise, and nothing on the port can stop the server."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from gadgetron.cli.daemon import is_loopback, main
from gadgetron.testing import ServerProcess
from tests.raw_client import RawClient


def listening_addresses(port: int) -> set[str]:
    """Addresses on which something listens on a port, of IPv4 and IPv6, from /proc."""
    found = set()
    for name, n_bytes in (("tcp", 4), ("tcp6", 16)):
        path = Path("/proc/net") / name
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else []:
            address, _, state = line.split()[1:4]
            host, _, port_text = address.partition(":")
            if state == "0A" and int(port_text, 16) == port:
                words = struct.unpack(f">{n_bytes // 4}I", bytes.fromhex(host))
                family = socket.AF_INET if n_bytes == 4 else socket.AF_INET6
                found.add(socket.inet_ntop(family, struct.pack(f"<{n_bytes // 4}I", *words)))
    return found


@pytest.mark.slow
def test_only_loopback_by_default() -> None:
    with ServerProcess() as server:
        assert listening_addresses(server.port) == {"127.0.0.1"}
        assert not server.records_of("server.exposed")


@pytest.mark.slow
def test_an_exposed_address_is_warned_of() -> None:
    with ServerProcess("--host", "0.0.0.0", "--allow-remote") as server:
        assert listening_addresses(server.port) == {"0.0.0.0"}
        assert server.records_of("server.exposed")[0]["level"] == "warning"


@pytest.mark.slow
def test_nothing_on_the_port_stops_the_server() -> None:
    """The C++ server had a route, without any authentication, that did."""
    with ServerProcess() as server:
        for request in (b"POST /acceptor/close HTTP/1.1\r\n\r\n", b"GET /acceptor/close HTTP/1.1\r\n\r\n"):
            with RawClient(server.port) as client:
                client.send(request)
                assert client.read_reply().error
        assert server.is_running


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "10.0.0.1"])
def test_an_exposed_address_needs_a_flag(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--host", host, "-p", "0"])
    assert exit_.value.code == 2
    assert "--allow-remote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("8.8.8.8", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_which_addresses_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
