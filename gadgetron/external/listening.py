"""The passive mode: the module is running, and the Gadgetron connects to it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from gadgetron.external.connection import Connection

log = logging.getLogger("gadgetron.external")


def listen(port: int, handler: Callable[..., Any], *args: Any, host: str = "localhost", **kwargs: Any) -> None:
    """Wait for one connection, and give it to a handler.

    Parameters
    ----------
    port
        TCP port.
    handler
        Called with the Connection, and with what else is given here.
    host
        Address to listen on; by default only this computer can connect. An empty string is every address.

    Raises
    ------
    OSError
        If the port is in use.
    """
    connection, address = _accept(host, port)
    log.info("Accepted a connection from %s", address[0])
    with Connection(connection) as module_connection:
        handler(module_connection, *args, **kwargs)


def _accept(host: str, port: int) -> tuple[socket.socket, Any]:
    """Accept one connection, on every loopback address if the host is localhost."""
    with _bound(host, port) as listener:
        log.debug("Waiting for a connection on port %d", listener.getsockname()[1])
        return listener.accept()


def _bound(host: str, port: int) -> socket.socket:
    if host == "localhost":
        return socket.create_server(("127.0.0.1", port), reuse_port=False)
    if host == "" and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
