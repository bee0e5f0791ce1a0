"""Small pieces of messages that several readers and writers share."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from gadgetron.limits import check

if TYPE_CHECKING:
    from gadgetron.protocol.byte_stream import ByteStream

U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
U64 = struct.Struct("<Q")


def read_bytes_u32(stream: ByteStream, field: str, limit: int) -> bytes:
    """Read a u32 length and that many bytes, at most `limit`."""
    n_bytes = stream.read_u32()
    check(field, n_bytes, limit)
    return bytes(stream.read_exactly(n_bytes))


def read_bytes_u64(stream: ByteStream, field: str, limit: int) -> bytes:
    """Read a u64 length and that many bytes, at most `limit`."""
    n_bytes = stream.read_u64()
    check(field, n_bytes, limit)
    return bytes(stream.read_exactly(n_bytes))


def text_of(data: bytes) -> str:
    """Decode text of a peer: trailing NUL characters, which some count in, are dropped; bad UTF-8 is replaced."""
    return data.rstrip(b"\0").decode("utf-8", errors="replace")
