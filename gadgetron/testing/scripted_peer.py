"""A server that does exactly what a script says: for tests of clients, misbehaviour included."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any, Self

from gadgetron.errors import ConnectionLost, PeerTimeout

Step = tuple[Any, ...]
"""What a peer does next, as in `("send", b"...")`:

`("recv", n)`      receive n bytes; `received` gathers them
`("recv_until", x)` receive until x has been received
`("drain",)`       receive until the client half-closes or hangs up
`("send", x)`      send bytes
`("wait", event)`  wait until a `threading.Event` is set
`("half_close",)`  end the sending direction
`("close",)`       hang up
`("reset",)`       hang up with a reset, which erases what the client has not read
"""


class ScriptedPeer:
    """Listens on a free port of the loopback interface and plays a script to the first who connects.

    A context manager: leaving it waits for the script's end, and raises what went wrong with it.

    Parameters
    ----------
    steps
        The script. After its last step the peer hangs up.
    timeout_s
        For the whole script.
    """

    def __init__(self, steps: Sequence[Step], timeout_s: float = 10.0) -> None:
        self.received = bytearray()
        self._steps = steps
        self._timeout_s = timeout_s
        self._failure: BaseException | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(timeout_s)
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run, name="scripted-peer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_rest: object) -> None:
        if exc_type is not None:
            self._listener.close()
        self._thread.join(self._timeout_s + 1.0)
        if exc_type is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with self._listener:
                connection, _address = self._listener.accept()
            with connection:
                deadline = monotonic() + self._timeout_s
                for step in self._steps:
                    connection.settimeout(max(0.001, deadline - monotonic()))
                    self._play(connection, step, deadline)
        except (OSError, ConnectionLost, ValueError) as error:
            self._failure = error

    def _play(self, connection: socket.socket, step: Step, deadline: float) -> None:
        name, *arguments = step
        if name in {"recv", "recv_until", "drain"}:
            self._play_receiving(connection, name, arguments)
        elif name == "send":
            connection.sendall(arguments[0])
        elif name == "wait":
            if not arguments[0].wait(deadline - monotonic()):
                raise PeerTimeout("scripted peer: the event was not set in time")
        elif name == "half_close":
            connection.shutdown(socket.SHUT_WR)
        elif name == "close":
            connection.close()
        elif name == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            raise ValueError(f"scripted peer: no step is called {name!r}")

    def _play_receiving(self, connection: socket.socket, name: str, arguments: list[Any]) -> None:
        if name == "recv":
            end = len(self.received) + arguments[0]
            while len(self.received) < end:
                self._receive(connection, end - len(self.received))
        elif name == "recv_until":
            while arguments[0] not in self.received:
                self._receive(connection, 65536)
        else:
            while data := connection.recv(65536):
                self.received += data

    def _receive(self, connection: socket.socket, n_bytes: int) -> None:
        data = connection.recv(n_bytes)
        if not data:
            raise ConnectionLost(f"scripted peer: the client hung up after {len(self.received)} bytes")
        self.received += data
