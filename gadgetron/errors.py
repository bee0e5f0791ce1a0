"""Every error the Gadgetron raises, in one tree.

`client_text` is what a client may read: one line, without a traceback and without a path of the server.
`session_fatal` says whether the session that met the error can go on.
"""

from __future__ import annotations

import re
from typing import ClassVar

MAX_CLIENT_TEXT = 4096

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}
_PATH = re.compile(r"(?<![\w.…:/])/(?:[^\s/'\",;:()]+/)+([^\s/'\",;:()]*)")


class GadgetronError(Exception):
    """Root of all errors raised on purpose."""

    session_fatal: ClassVar[bool] = True
    peer_is_gone: ClassVar[bool] = False

    @property
    def client_text(self) -> str:
        """One line that is safe to send to a client: paths shortened to their last part, cut to a readable length."""
        line = " ".join(str(self)[: 4 * MAX_CLIENT_TEXT].split())
        return _PATH.sub(r"…/\1", escape_controls(line))[:MAX_CLIENT_TEXT]


def escape_controls(text: str) -> str:
    """Escape control characters: what somebody else has written must not move the cursor, ring, or forge a line."""
    return text.translate(_ESCAPES)


def describe(error: BaseException) -> str:
    """Say an error's class and what it tells, even if it cannot be asked: a user's exception may fail in `__str__`."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # foreign code: anything may happen
        text = "it cannot say why"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class ConfigurationError(GadgetronError):
    """A configuration (its XML, its name, its properties) is not usable."""


class UnknownClassError(ConfigurationError):
    """A name in a configuration is refused, cannot be imported, or is not of the right kind."""


class PropertyError(ConfigurationError):
    """A property is unknown, has the wrong type, is out of range, or refers to nothing."""


class ProtocolError(GadgetronError):
    """The bytes of the peer are not what the protocol allows."""


class UnknownMessageError(ProtocolError):
    """A message id that nobody here can read.

    Parameters
    ----------
    message_id
        The id as it came from the wire.
    state
        What the session was waiting for.
    """

    def __init__(self, message_id: int, state: str) -> None:
        self.message_id = message_id
        self.state = state
        super().__init__(f"unknown message id {message_id} while {state}: no reader is configured for it")


class UnexpectedMessageError(ProtocolError):
    """A known message at a time when it has no meaning."""

    def __init__(self, message: str, state: str = "") -> None:
        self.state = state
        super().__init__(message)


class MalformedMessageError(ProtocolError):
    """A message whose content contradicts itself, the header, or the protocol."""


class ManifestError(ProtocolError):
    """A stream of the framed protocol that carries something else than was declared, or than it carried before."""


class UnknownUserError(ProtocolError):
    """A client whose name is not among those that are served here."""


class LimitExceeded(ProtocolError):
    """A size that is larger than we are willing to handle.

    Parameters
    ----------
    field
        Name of the quantity, as the sender knows it.
    value, limit
        What was asked for, and what is allowed.
    """

    def __init__(self, field: str, value: int, limit: int) -> None:
        self.field = field
        self.value = value
        self.limit = limit
        super().__init__(f"{field} is {value}, the limit is {limit}")


class ConnectionLost(GadgetronError):
    """The peer is gone, or went away in the middle of a message."""

    peer_is_gone = True


class PeerTimeout(ConnectionLost):
    """The peer is there, but took longer than a deadline allows."""


class RemoteError(GadgetronError):
    """The server, or a foreign module, reports that the reconstruction failed."""


class GadgetError(GadgetronError):
    """A gadget failed; `__cause__` is what it raised.

    Parameters
    ----------
    gadget
        The gadget's name in the chain.
    message
        What happened, in words.
    """

    def __init__(self, gadget: str, message: str) -> None:
        self.gadget = gadget
        super().__init__(f"gadget {gadget}: {message}")


class QueueClosed(GadgetronError):
    """The normal end of a flow: nobody will take, or give, another message."""


class StorageError(GadgetronError):
    """Disk full, permission denied, file missing or not readable."""


class ServerBusy(GadgetronError):
    """No room for another connection or session at the moment."""


class ShuttingDown(GadgetronError):
    """The server is on its way out and takes no new work."""
