"""The client's side of the classic protocol: what it sends besides data, and the connection it sends it on."""

from __future__ import annotations

import socket
from time import monotonic

from gadgetron.errors import ConfigurationError, ConnectionLost, PeerTimeout
from gadgetron.limits import LIMITS, Limits, check
from gadgetron.protocol.descriptor_stream import SocketStream
from gadgetron.protocol.message_ids import MessageID
from gadgetron.protocol.wire import U16, U32, U64

FILE_NAME_FIELD_BYTES = 1024
CLOSE_FRAME = U16.pack(MessageID.CLOSE)

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def configuration_file_frame(name: str) -> bytes:
    """Make the message that names one of the server's configurations.

    Raises
    ------
    ConfigurationError
        If the name does not fit into the message.
    """
    data = name.encode()
    if b"\0" in data or len(data) >= FILE_NAME_FIELD_BYTES:
        what = f"{len(data)} bytes" if b"\0" not in data else "a NUL character in it"
        raise ConfigurationError(
            f"the configuration's name has {what} — at most {FILE_NAME_FIELD_BYTES - 1} bytes, no NUL"
        )
    return U16.pack(MessageID.CONFIG_FILE) + data.ljust(FILE_NAME_FIELD_BYTES, b"\0")


def configuration_script_frame(xml: bytes, limits: Limits = LIMITS) -> bytes:
    """Make the message that carries a configuration."""
    check("configuration bytes", len(xml), limits.max_config_bytes)
    return U16.pack(MessageID.CONFIG_SCRIPT) + U32.pack(len(xml)) + xml


def parameters_frame(data: bytes, limits: Limits = LIMITS) -> bytes:
    """Make the message that carries parameters, conventionally an ISMRMRD header."""
    check("parameters bytes", len(data), limits.max_header_bytes)
    return U16.pack(MessageID.HEADER) + U32.pack(len(data)) + data


def text_frame(text: str, limits: Limits = LIMITS) -> bytes:
    """Make the message that tells the server something for its log."""
    data = text.encode()
    check("text bytes", len(data), limits.max_text_bytes)
    return U16.pack(MessageID.TEXT) + U32.pack(len(data)) + data


def query_frame(correlation_id: int, question: bytes, limits: Limits = LIMITS) -> bytes:
    """Make the message that asks the server something; the response carries the same correlation id."""
    check("query bytes", len(question), limits.max_text_bytes)
    reserved = U64.pack(0)
    return U16.pack(MessageID.QUERY) + reserved + U64.pack(correlation_id) + U64.pack(len(question)) + question


def connect(host: str, port: int, timeout_s: float, limits: Limits = LIMITS) -> SocketStream:
    """Connect to a server, on whichever of the host's addresses answers first.

    Raises
    ------
    ConnectionLost
        If the host is unknown, or nothing listens there.
    PeerTimeout
        If there is no answer within the time.
    """
    deadline = monotonic() + timeout_s
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as err:
        raise ConnectionLost(f"{host}: no such host — connecting to {host}:{port}") from err
    failure: OSError | None = None
    for family, kind, protocol, _name, address in addresses:
        remaining_s = deadline - monotonic()
        if remaining_s <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(remaining_s)
            connection.connect(address)
            _set_options(connection)
            return SocketStream(connection, limits)
        except OSError as err:
            connection.close()
            failure = err
    raise _in_words(failure, f"{host}:{port}", timeout_s) from failure


def _set_options(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _in_words(failure: OSError | None, where: str, timeout_s: float) -> ConnectionLost:
    if isinstance(failure, ConnectionRefusedError):
        return ConnectionLost(f"nothing listens on {where} — is gadgetron running?")
    if failure is None or isinstance(failure, TimeoutError):
        return PeerTimeout(f"no answer from {where} within {timeout_s:g} s")
    return ConnectionLost(f"cannot connect to {where}: {failure.strerror or failure}")
