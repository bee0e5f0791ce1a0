"""The passive mode: the module is running, and the Gadgetron connects to it."""

from __future__ import annotations

import errno
import logging
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from gadgetron.external.connection import Connection

log = logging.getLogger("gadgetron.external")

LOOPBACK = ("127.0.0.1", "::1")


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
    with Connection(wait_for_client_connection(port, host)) as connection:
        handler(connection, *args, **kwargs)


def wait_for_client_connection(port: int, host: str = "localhost") -> socket.socket:
    """Wait for one connection, and give it: on an address, or on both loopback addresses if the host is localhost."""
    with ExitStack() as stack:
        poll = select.poll()
        listeners = {listener.fileno(): stack.enter_context(listener) for listener in _listeners(host, port)}
        for descriptor in listeners:
            poll.register(descriptor, select.POLLIN)
        log.debug("Waiting for a connection on port %d", port)
        ready = poll.poll()[0][0]
        connection, address = listeners[ready].accept()
    log.info("Accepted a connection from %s", address[0])
    return connection


def _listeners(host: str, port: int) -> list[socket.socket]:
    if host == "" and socket.has_dualstack_ipv6():
        return [socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)]
    if host != "localhost":
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [socket.create_server((host, port), family=family)]
    first = socket.create_server((LOOPBACK[0], port))
    try:
        return [first, socket.create_server((LOOPBACK[1], first.getsockname()[1]), family=socket.AF_INET6)]
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # this computer has no IPv6
            return [first]
        first.close()
        raise
