"""What the kernel knows of the other end of a connection, if that is on this computer.

A peer that half-closes its connection and goes on reading, and one that has gone, send the same bytes. And what was
sent and lies in the peer's buffer is acknowledged. On one computer the kernel's table tells the difference.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_TABLES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}


@dataclass(frozen=True, slots=True)
class PeerSocket:
    """The other end of a connection.

    Attributes
    ----------
    is_held
        Whether a process has it open.
    unread_bytes
        What the peer has not read yet.
    """

    is_held: bool
    unread_bytes: int


def find_peer(connection: socket.socket) -> PeerSocket | None:
    """Look for the other end; None if it is not on this computer, not in its network namespace, or there no more."""
    if connection.family not in _TABLES:
        return None
    try:
        own, peer = connection.getsockname(), connection.getpeername()
        for family, table in _TABLES.items():  # one end may be of another family than the other
            own_text, peer_text = _spelled(own, family), _spelled(peer, family)
            if own_text is None or peer_text is None:
                continue
            _, found, rest = Path(table).read_text(encoding="ascii").partition(f": {peer_text} {own_text} ")
            if found:
                fields = rest.split(maxsplit=7)
                return PeerSocket(is_held=fields[6] != "0", unread_bytes=int(fields[1].partition(":")[2], 16))
    except (OSError, IndexError, ValueError):  # it is over; or the system has no such table
        return None
    return None


def _spelled(address: tuple[str, int], family: socket.AddressFamily) -> str | None:
    """Spell an address as the table of a family does: words in the byte order of this computer."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if family == socket.AF_INET:
        ip = mapped or ip
        if ip.version != 4:
            return None
    elif ip.version == 4:
        ip = ipaddress.IPv6Address(f"::ffff:{ip}")
    words = struct.unpack(f"={len(ip.packed) // 4}I", ip.packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
