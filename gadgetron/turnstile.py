"""Order among the threads of one gadget: outputs leave as their inputs came."""

from __future__ import annotations

import threading

from gadgetron.errors import QueueClosed


class Turnstile:
    """Lets the threads of one gadget put their outputs in the order in which they took their inputs."""

    def __init__(self) -> None:
        self._turn_changed = threading.Condition()  # guards the two numbers below
        self._issued = 0
        self._current = 0
        self._aborted = False

    def issue(self) -> int:
        """Give the next ticket; draw it in the same step as the input."""
        with self._turn_changed:
            ticket = self._issued
            self._issued += 1
            return ticket

    def wait(self, ticket: int) -> None:
        """Wait until every earlier ticket has advanced; QueueClosed if the gadget is aborted."""
        with self._turn_changed:
            while self._current != ticket:
                if self._aborted:
                    raise QueueClosed("the gadget was aborted")
                self._turn_changed.wait()

    def advance(self, ticket: int) -> None:
        """Wait for the turn, and pass it on."""
        self.wait(ticket)
        with self._turn_changed:
            self._current += 1
            self._turn_changed.notify_all()

    def abort(self) -> None:
        """Wake everybody who waits. Idempotent."""
        with self._turn_changed:
            self._aborted = True
            self._turn_changed.notify_all()
