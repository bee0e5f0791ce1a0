"""What every source of messages that reads a stream has in common: waking, watching, and an end in order."""

from __future__ import annotations

from time import monotonic

from gadgetron.errors import ConnectionLost
from gadgetron.limits import LIMITS, Limits
from gadgetron.protocol.byte_stream import ByteStream


class StreamSource:
    """The part of a `MessageSource` that no protocol changes.

    Parameters
    ----------
    stream
        Where to read; finished and closed by `finish`.
    limits
        Sizes and deadlines.
    """

    def __init__(self, stream: ByteStream, limits: Limits = LIMITS) -> None:
        self.stream = stream
        self._limits = limits
        self._is_finished = False

    def wake(self) -> None:
        """Make `run` or `watch` return soon."""
        self.stream.wake()

    def watch(self, timeout_s: float) -> bool:
        """Wait until `wake` or the timeout; True if the peer has gone for good."""
        return self.stream.wait_for_hang_up(timeout_s)

    def finish(self) -> None:
        """Half-close, let the peer read what was sent last, and close."""
        if self._is_finished:
            return
        self._is_finished = True
        try:
            self.stream.close_write()
            self.stream.discard_input(monotonic() + self._limits.linger_s, self._limits.linger_bytes)
        except ConnectionLost:
            return  # nobody left to be polite to
        finally:
            self.stream.close()
