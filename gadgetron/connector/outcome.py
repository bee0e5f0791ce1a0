"""What went wrong with a connection: several threads may find out, the user is told once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from gadgetron.errors import RemoteError


@dataclass
class Outcome:
    """The failure of a connection, if there is one.

    What the server reports counts more than what follows from it (a connection that is reset while we still send);
    otherwise the first failure counts.

    Attributes
    ----------
    where
        The server, as `host:port`, for error texts.
    """

    where: str = "the server"
    _lock: threading.Lock = field(default_factory=threading.Lock)  # guards the two
    _remote: RemoteError | None = None
    _local: BaseException | None = None

    def note(self, error: BaseException) -> None:
        """Remember a failure."""
        with self._lock:
            if isinstance(error, RemoteError):
                self._remote = self._remote or error
            elif self._local is None:
                self._local = error

    @property
    def has_remote_error(self) -> bool:
        """Whether the server has reported an error."""
        return self._remote is not None

    def raise_failure(self) -> None:
        """Raise the failure, if there is one."""
        with self._lock:
            error = self._remote or self._local
        if error is not None:
            raise error
