"""A client of plain sockets and struct, which shares no line with ours: neither can hide the other's misunderstanding.

The layouts are those of the ISMRMRD standard and of the classic protocol, written down here once more.
"""

from __future__ import annotations

import math
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

CONFIG_FILE, CONFIG_SCRIPT, HEADER, CLOSE, TEXT, QUERY, RESPONSE, ERROR = range(1, 9)
ACQUISITION, DEPENDENCY_QUERY, IMAGE, IMAGE_ARRAY, WAVEFORM = 1008, 1019, 1022, 1024, 1026

PIXEL_BYTES = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 16}

SMALL_HEADER = b"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>16</x><y>8</y><z>1</z></matrixSize>
<fieldOfView_mm><x>600</x><y>300</y><z>6</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>
<fieldOfView_mm><x>300</x><y>300</y><z>6</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum><center>4</center></kspace_encoding_step_1>
</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def config_file(name: str | bytes) -> bytes:
    return struct.pack("<H1024s", CONFIG_FILE, name if isinstance(name, bytes) else name.encode())


def config_script(xml: bytes) -> bytes:
    return struct.pack("<HI", CONFIG_SCRIPT, len(xml)) + xml


def header(xml: bytes = SMALL_HEADER) -> bytes:
    return struct.pack("<HI", HEADER, len(xml)) + xml


def close() -> bytes:
    return struct.pack("<H", CLOSE)


def text(content: bytes) -> bytes:
    return struct.pack("<HI", TEXT, len(content)) + content


def query(content: bytes, correlation_id: int = 1) -> bytes:
    return struct.pack("<HQQQ", QUERY, 0, correlation_id, len(content)) + content


def acquisition(
    scan_counter: int = 0,
    n_samples: int = 4,
    n_channels: int = 2,
    *,
    line: int = 0,
    flags: int = 0,
    repetition: int = 0,
    trajectory_dimensions: int = 0,
    body: bytes | None = None,
) -> bytes:
    """One readout; `body` replaces the samples, which are scan_counter everywhere otherwise."""
    head = bytearray(340)
    struct.pack_into("<HQII", head, 0, 1, flags, 0, scan_counter)
    struct.pack_into("<HHH", head, 34, n_samples, n_channels, n_channels)
    struct.pack_into("<HHHHHf", head, 168, 0, 0, n_samples // 2, 0, trajectory_dimensions, 5.0)
    struct.pack_into("<9H", head, 242, line, 0, 0, 0, 0, 0, repetition, 0, 0)
    if body is None:
        body = bytes(4 * n_samples * trajectory_dimensions)
        body += struct.pack("<2f", scan_counter, 0.0) * (n_samples * n_channels)
    return struct.pack("<H", ACQUISITION) + bytes(head) + body


def waveform(n_samples: int = 3, n_channels: int = 1) -> bytes:
    head = struct.pack("<H6xQIIIHHfH2x", 1, 0, 0, 0, 0, n_samples, n_channels, 1.0, 0)
    return struct.pack("<H", WAVEFORM) + head + bytes(4 * n_samples * n_channels)


def image_slice(n_lines: int = 8, n_samples: int = 16, n_channels: int = 2, repetition: int = 0) -> bytes:
    """All readouts of one image for SMALL_HEADER; the last one is flagged as the last of its slice and repetition."""
    last_flags = 1 << 7 | 1 << 13
    return b"".join(
        acquisition(
            line + 1,
            n_samples,
            n_channels,
            line=line,
            repetition=repetition,
            flags=last_flags if line == n_lines - 1 else 0,
        )
        for line in range(n_lines)
    )


@dataclass
class Reply:
    """Everything a server sent.

    Attributes
    ----------
    messages
        (id, content without the id) of each complete message.
    was_reset
        Whether the connection ended with a reset instead of an orderly end.
    rest
        Bytes of a message that is not complete.
    """

    messages: list[tuple[int, bytes]] = field(default_factory=list)
    was_reset: bool = False
    rest: bytes = b""

    @property
    def ids(self) -> list[int]:
        return [message_id for message_id, _ in self.messages]

    @property
    def texts(self) -> list[str]:
        return [content[4:].decode() for message_id, content in self.messages if message_id == TEXT]

    @property
    def error(self) -> str:
        """What a failure was told with: TEXT that begins with ERROR, CLOSE, an orderly end. Empty if it was none."""
        if all(text.startswith("WARNING ") for text in self.texts):
            return ""
        assert self.ids[-2:] == [TEXT, CLOSE], self
        assert not self.was_reset, self
        assert not self.rest, self
        assert self.texts[-1].startswith("ERROR "), self
        assert "\n" not in self.texts[-1], self
        assert "Traceback" not in self.texts[-1], self
        return self.texts[-1].removeprefix("ERROR ")

    @property
    def is_complete(self) -> bool:
        """Whether the session ended well: CLOSE last, no text, an orderly end."""
        return self.ids[-1:] == [CLOSE] and not self.texts and not self.was_reset and not self.rest

    @property
    def scan_counters(self) -> list[int]:
        return [
            struct.unpack_from("<I", body, 14)[0] for message_id, body in self.messages if message_id == ACQUISITION
        ]


class RawClient:
    """A connection; a context manager."""

    def __init__(self, port: int, timeout_s: float = 60.0, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *messages: bytes) -> None:
        self.socket.sendall(b"".join(messages))

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Hang up with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_reply(self) -> Reply:
        """Read to the end of the connection."""
        data, was_reset = self.read_bytes()
        reply = Reply(was_reset=was_reset)
        parse_reply(data, reply)
        return reply

    def read_bytes(self) -> tuple[bytes, bool]:
        """Read to the end of the connection; tells also whether that was a reset."""
        data = bytearray()
        try:
            while piece := self.socket.recv(1 << 20):
                data += piece
        except ConnectionResetError:
            return bytes(data), True
        return bytes(data), False

    def read_message(self) -> tuple[int, bytes]:
        """Read one message."""
        start = self._read(2)
        message_id = struct.unpack("<H", start)[0]
        content = b""
        while (missing := missing_bytes(message_id, content)) > 0:
            content += self._read(missing)
        return message_id, content

    def _read(self, n_bytes: int) -> bytes:
        data = b""
        while len(data) < n_bytes:
            piece = self.socket.recv(n_bytes - len(data))
            if not piece:
                raise EOFError(f"{len(data)} of {n_bytes} bytes")
            data += piece
        return data


def exchange(port: int, *messages: bytes) -> Reply:
    """Send messages on a connection of their own, and read the reply to its end."""
    with RawClient(port) as client:
        client.send(*messages)
        return client.read_reply()


def parse_reply(data: bytes | bytearray, reply: Reply) -> None:
    view = memoryview(data)
    position = 0
    while len(view) - position >= 2:
        message_id = struct.unpack_from("<H", view, position)[0]
        size = 0
        while True:
            content = bytes(view[position + 2 : position + 2 + size])
            missing = missing_bytes(message_id, content)
            if missing <= 0 or len(content) < size:
                break
            size += missing
        if missing > 0:
            break
        reply.messages.append((message_id, content))
        position += 2 + size
    reply.rest = bytes(view[position:])


def missing_bytes(message_id: int, content: bytes) -> int:
    """How many bytes are known to be missing from a message with this id, after what has come of it."""
    n = len(content)
    if message_id == CLOSE:
        return 0
    if message_id in (HEADER, TEXT):
        return 4 - n if n < 4 else 4 + struct.unpack_from("<I", content)[0] - n
    if message_id == RESPONSE:
        return 16 - n if n < 16 else 16 + struct.unpack_from("<Q", content, 8)[0] - n
    if message_id == DEPENDENCY_QUERY:
        return 8 - n if n < 8 else 8 + struct.unpack_from("<Q", content)[0] - n
    if message_id == ACQUISITION:
        if n < 340:
            return 340 - n
        n_samples, _, n_channels = struct.unpack_from("<HHH", content, 34)
        n_dimensions = struct.unpack_from("<H", content, 176)[0]
        return 340 + 8 * n_samples * n_channels + 4 * n_samples * n_dimensions - n
    if message_id == WAVEFORM:
        if n < 40:
            return 40 - n
        n_samples, n_channels = struct.unpack_from("<HH", content, 28)
        return 40 + 4 * n_samples * n_channels - n
    if message_id == IMAGE:
        if n < 206:
            return 206 - n
        data_type = struct.unpack_from("<H", content, 2)[0]
        x, y, z = struct.unpack_from("<3H", content, 16)
        n_channels = struct.unpack_from("<H", content, 34)[0]
        n_text = struct.unpack_from("<Q", content, 198)[0]
        return 206 + n_text + PIXEL_BYTES[data_type] * x * y * z * n_channels - n
    if message_id == IMAGE_ARRAY:
        return bytes_of_image_array(content) - n
    raise AssertionError(f"the server sent a message with the id {message_id}")


def bytes_of_image_array(content: bytes) -> int:
    """How long an image array is, as far as what has come of it tells: more than that if there is more to come."""
    end = 0

    def number(layout: str) -> int:
        nonlocal end
        end += struct.calcsize(layout)
        if end > len(content):
            raise EOFError
        return int(struct.unpack_from(layout, content, end - struct.calcsize(layout))[0])

    def array(element_bytes: int) -> None:
        nonlocal end
        n_dimensions = number("<Q")
        n_bytes = math.prod([number("<Q") for _ in range(n_dimensions)]) * element_bytes
        end += n_bytes  # and not at once: the right side changes it, too

    try:
        array(8)
        array(198)
        for _ in range(number("<Q")):
            n_bytes = number("<Q")
            end += n_bytes
        if number("<B"):
            for _ in range(number("<Q")):
                n_samples, n_channels = struct.unpack_from("<HH", content.ljust(end + 40, b"\0"), end + 28)
                end += 40 + 4 * n_samples * n_channels
        if number("<B"):
            array(340)
    except EOFError:
        return end
    return end
