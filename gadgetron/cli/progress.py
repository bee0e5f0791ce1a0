"""Progress bars on a terminal, and what the server says between them."""

from __future__ import annotations

import sys
from typing import Self

from tqdm import tqdm


class Progress:
    """Two bars on standard error: messages sent, and results received. Only where standard error is a terminal.

    Parameters
    ----------
    n_to_send
        Messages that will be sent.
    is_verbose
        Whether remarks are shown.
    """

    def __init__(self, n_to_send: int, *, is_verbose: bool = False) -> None:
        is_hidden = not sys.stderr.isatty()
        self._is_verbose = is_verbose
        self._sent = tqdm(total=n_to_send, desc="sent", unit=" messages", position=0, disable=is_hidden, leave=False)
        self._received = tqdm(desc="received", unit=" results", position=1, disable=is_hidden, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._received.close()
        self._sent.close()

    def sent(self, n_messages: int) -> None:
        """Count messages that were sent."""
        self._sent.update(n_messages)

    def received(self) -> None:
        """Count a result."""
        self._received.update()

    def say(self, text: str) -> None:
        """Print what the server says; what it says of a failure is for who ends the program."""
        if not text.startswith("ERROR"):
            tqdm.write(printable(text), file=sys.stdout)

    def remark(self, text: str) -> None:
        """Print what the client does, if it is verbose."""
        if self._is_verbose:
            tqdm.write(text, file=sys.stderr)


def printable(text: str) -> str:
    """Escape what would steer a terminal: a server's text is only text."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
