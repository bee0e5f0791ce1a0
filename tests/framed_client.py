"""A client of the framed protocol, of plain sockets and struct, which shares no line with ours.

Layouts as in the ISMRMRD communication protocol; bodies as in docs/protocols.md.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

HANDSHAKE, COMMAND, ACQUISITION, WAVEFORM, IMAGE, XML_HEADER, ERROR, BLOB = range(8)
CHAR, USHORT, SHORT, UINT, INT, UINT64, INT64, FLOAT, DOUBLE, CXFLOAT, CXDOUBLE = range(11)
NOT_APPLICABLE = 100
STOP, DONE, CLOSE_CONNECTION, CONFIGURATION = 1001, 1002, 1003, 1004
REQUEST, ACCEPTED, UNKNOWN_USER, BUSY, MANIFEST_ERROR = 201, 202, 301, 302, 303
FILE, ENCLOSED = 701, 702
HANDSHAKE_STREAM, COMMAND_STREAM, ERROR_STREAM, HEADER_STREAM = 65536, 65537, 65538, 1

FORMATS = {SHORT: "h", INT: "i", FLOAT: "f", DOUBLE: "d", CXFLOAT: "f", CXDOUBLE: "d"}


def entity(entity_type: int, body: bytes, storage: int = NOT_APPLICABLE, stream: int = 0, version: int = 2) -> bytes:
    """One entity, without the size of its frame."""
    return struct.pack("<4I", version, entity_type, storage, stream) + body


def frame(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def mrid_frame(data: bytes) -> bytes:
    """A frame as the later C++ branch writes it: the XML header's body has no copy of the entity header."""
    is_xml = struct.unpack_from("<I", data, 4)[0] == XML_HEADER
    return frame(b"MRID" + data[:16] + (data[16:] if is_xml else data))


def handshake(
    manifest: Sequence[tuple[int, int, int]] = (),
    name: bytes = b"raw",
    status: int = REQUEST,
    stream: int = HANDSHAKE_STREAM,
    storage: int = NOT_APPLICABLE,
) -> bytes:
    body = struct.pack("<Q3I", 12345, status, len(name), len(manifest)) + name
    return entity(HANDSHAKE, body + b"".join(struct.pack("<3I", *entry) for entry in manifest), storage, stream)


def command(
    command_type: int,
    config_type: int = 700,
    config: bytes = b"",
    command_id: int = 0,
    entities: Sequence[int] = (),
    stream: int = COMMAND_STREAM,
) -> bytes:
    body = struct.pack("<4I", command_type, command_id, config_type, len(config)) + config
    return entity(COMMAND, body + struct.pack(f"<I{len(entities)}I", len(entities), *entities), stream=stream)


def config_file(name: bytes, stream: int = COMMAND_STREAM, command_id: int = 0) -> bytes:
    return command(CONFIGURATION, FILE, name, command_id, stream=stream)


def config_script(xml: bytes) -> bytes:
    return command(CONFIGURATION, ENCLOSED, xml)


def stop(stream: int = COMMAND_STREAM) -> bytes:
    return command(STOP, stream=stream)


def xml_header(xml: bytes, stream: int = HEADER_STREAM) -> bytes:
    return entity(XML_HEADER, xml, stream=stream)


def blob(description: bytes, data: bytes, stream: int = 9) -> bytes:
    return entity(BLOB, struct.pack("<I", len(description)) + description + data, CHAR, stream)


def error(description: bytes, stream: int = ERROR_STREAM) -> bytes:
    return entity(ERROR, struct.pack("<5I", 20003, 1000, 0, ACQUISITION, len(description)) + description, stream=stream)


def acquisition(
    scan_counter: int = 0,
    n_samples: int = 4,
    n_channels: int = 2,
    *,
    line: int = 0,
    repetition: int = 0,
    flags: int = 0,
    n_dimensions: int = 0,
    storage: int = FLOAT,
    stream: int = 0,
    time_stamp: int = 0,
    dwell_ns: int = 5000,
    samples: Sequence[float] | bytes | None = None,
) -> bytes:
    """One readout; its samples are scan_counter everywhere unless given: re, im of channel after channel."""
    head = struct.pack("<2Q4I", time_stamp, flags, scan_counter, 0, 0, 0)
    head += struct.pack("<3I", n_samples, n_channels, n_channels) + bytes(128)
    head += struct.pack("<6I", 0, 0, n_samples // 2, 0, n_dimensions, dwell_ns) + bytes(60)
    head += struct.pack("<18I", 0, line, 0, 0, 0, 0, 0, repetition, 0, 0, *[0] * 8) + bytes(64)
    if not isinstance(samples, bytes):
        values = samples if samples is not None else [scan_counter, 0] * (n_samples * n_channels)
        samples = struct.pack(f"<{len(values)}{FORMATS[storage]}", *values)
    return entity(ACQUISITION, head + bytes(4 * n_samples * n_dimensions) + samples, storage, stream)


def waveform(values: Sequence[float], stream: int = 3) -> bytes:
    head = struct.pack("<2Q2I", 7, 8, 1000, len(values)) + bytes(64)
    return entity(WAVEFORM, head + struct.pack(f"<{len(values)}d", *values), DOUBLE, stream)


def image(
    pixels: bytes, shape: tuple[int, int, int, int], storage: int, attributes: bytes = b"", stream: int = 4
) -> bytes:
    """One image; its shape is (channels, z, y, x)."""
    channels, z, y, x = shape
    head = struct.pack("<2Q3I12xI", 1, 2, x, y, z, channels) + bytes(60) + bytes(24) + bytes(12)
    head += struct.pack("<3I", 1, 5, 6) + bytes(64) + struct.pack("<I", len(attributes))
    return entity(IMAGE, head + attributes + pixels, storage, stream)


def image_slice(n_lines: int = 8, n_samples: int = 16, n_channels: int = 2, **fields: int) -> list[bytes]:
    """All readouts of one image; the last one is flagged as the last of its slice and repetition."""
    last_flags = 1 << 7 | 1 << 13
    return [
        acquisition(
            line + 1,
            n_samples,
            n_channels,
            line=line,
            flags=last_flags if line == n_lines - 1 else 0,
            **fields,
        )
        for line in range(n_lines)
    ]


@dataclass
class Entity:
    """What came in one frame."""

    entity_type: int
    storage: int
    stream: int
    body: bytes

    @property
    def status(self) -> int:
        return int(struct.unpack_from("<I", self.body, 8)[0])

    @property
    def command_type(self) -> int:
        return int(struct.unpack_from("<I", self.body)[0])

    @property
    def error(self) -> tuple[int, int, int, int, str]:
        """error type, command type, command id, entity type, description."""
        *numbers, n_bytes = struct.unpack_from("<5I", self.body)
        assert len(self.body) == 20 + n_bytes
        return (*numbers, self.body[20:].decode())  # type: ignore[return-value]  # four numbers

    @property
    def pixels(self) -> bytes:
        return self.body[220 + struct.unpack_from("<I", self.body, 216)[0] :]


@dataclass
class Reply:
    """Everything a server sent.

    Attributes
    ----------
    rest
        Bytes of a frame that is not complete.
    """

    entities: list[Entity] = field(default_factory=list)
    was_reset: bool = False
    rest: bytes = b""
    data: bytes = b""

    @property
    def types(self) -> list[int]:
        return [one.entity_type for one in self.entities]

    def of(self, entity_type: int) -> list[Entity]:
        return [one for one in self.entities if one.entity_type == entity_type]

    @property
    def is_complete(self) -> bool:
        """Whether the session ended well: accepted first, DONE last, no error, an orderly end."""
        if not self.entities or self.was_reset or self.rest or self.of(ERROR):
            return False
        first, last = self.entities[0], self.entities[-1]
        return (first.entity_type, first.status) == (HANDSHAKE, ACCEPTED) and (
            last.entity_type,
            last.command_type,
        ) == (COMMAND, DONE)

    @property
    def error(self) -> tuple[int, int, int, int, str]:
        """The failure, told as it should be: ERROR, DONE, an orderly end."""
        assert not self.was_reset, self
        assert not self.rest, self
        assert self.types[-2:] == [ERROR, COMMAND], self
        assert self.entities[-1].command_type == DONE, self
        assert "Traceback" not in self.entities[-2].error[4]
        return self.entities[-2].error


class FramedClient:
    """A connection; a context manager."""

    def __init__(self, port: int, timeout_s: float = 60.0, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *entities: bytes) -> None:
        self.socket.sendall(b"".join(frame(one) for one in entities))

    def reset(self) -> None:
        """Hang up with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read(self) -> Entity:
        """Read one frame."""
        (size,) = struct.unpack("<Q", self._read(8))
        return parse(self._read(size))

    def _read(self, n_bytes: int) -> bytes:
        data = b""
        while len(data) < n_bytes:
            piece = self.socket.recv(n_bytes - len(data))
            if not piece:
                raise EOFError(f"{len(data)} of {n_bytes} bytes")
            data += piece
        return data

    def read_reply(self) -> Reply:
        """Read to the end of the connection."""
        reply = Reply()
        data = bytearray()
        try:
            while piece := self.socket.recv(1 << 20):
                data += piece
        except ConnectionResetError:
            reply.was_reset = True
        parse_reply(bytes(data), reply)
        return reply


def parse(data: bytes) -> Entity:
    if data[:4] == b"MRID":
        is_xml = struct.unpack_from("<I", data, 8)[0] == XML_HEADER
        assert is_xml or data[4:20] == data[20:36]
        data = data[4:] if is_xml else data[20:]
    version, entity_type, storage, stream = struct.unpack_from("<4I", data)
    assert version == 2
    return Entity(entity_type, storage, stream, data[16:])


def parse_reply(data: bytes, reply: Reply) -> None:
    reply.data = data
    position = 0
    while len(data) - position >= 8:
        (size,) = struct.unpack_from("<Q", data, position)
        if len(data) - position - 8 < size:
            break
        reply.entities.append(parse(data[position + 8 : position + 8 + size]))
        position += 8 + size
    reply.rest = data[position:]


def exchange(port: int, *entities: bytes) -> Reply:
    """Send entities on a connection of their own, and read the reply to its end."""
    return exchange_bytes(port, b"".join(frame(one) for one in entities))


def exchange_bytes(port: int, data: bytes) -> Reply:
    with FramedClient(port) as client:
        client.socket.sendall(data)
        return client.read_reply()
