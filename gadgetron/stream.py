"""The chain of gadgets: connected, opened, drained or aborted as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from gadgetron.errors import ConfigurationError
from gadgetron.limits import LIMITS, Limits
from gadgetron.message import MessageBlock, MessageKind, close_message
from gadgetron.nodes import Node, all_gadgets, connect, running_gadgets
from gadgetron.task import FailureCallback, Task

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget


class EndGadget(Task):
    """The end of a chain: has no thread; whoever puts a message here delivers it.

    Parameters
    ----------
    deliver
        Called with messages that fall off the chain, in the last gadget's thread.
    closed
        Called once, when the close message has come through the whole chain.
    """

    def __init__(self, deliver: Callable[[Sequence[MessageBlock]], None], closed: Callable[[], None]) -> None:
        super().__init__("EndGadget")
        self._deliver = deliver
        self._closed = closed

    def putq(self, message: MessageBlock) -> int:
        """Deliver one message."""
        if message.kind is MessageKind.DATA:
            self._deliver([message])
        elif message.kind is MessageKind.CLOSE:
            self._closed()
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        """Deliver messages in order."""
        if all(message.kind is MessageKind.DATA for message in messages):
            self._deliver(messages)
        else:
            for message in messages:
                self.putq(message)


class Stream:
    """A chain of gadgets, and of nodes that hold gadgets, between a head, where messages are put, and an end.

    Parameters
    ----------
    nodes
        First to last; none at all makes a plain wire.
    end
        Where the last gadget's messages go.
    session_name
        Goes into the threads' names.
    on_failure
        Called in the thread that failed.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        end: EndGadget,
        *,
        session_name: str = "",
        on_failure: FailureCallback | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.gadgets = list(running_gadgets(nodes))
        n_threads = sum(gadget.threads for gadget in self.gadgets)
        if n_threads > limits.max_threads_per_session:
            raise ConfigurationError(
                f"the chain asks for {n_threads} threads, the limit is {limits.max_threads_per_session}"
            )
        self._nodes = list(nodes)
        self._end = end
        self.head: Task = connect(self._nodes, end)
        for gadget in self.gadgets:
            gadget.session_name = session_name
            gadget.on_failure = on_failure
        self._is_open = False

    def open(self) -> None:
        """Start the gadgets, last to first, so that whoever runs finds a neighbour to put to.

        Raises
        ------
        RuntimeError
            If the operating system gives no thread. What was started is ended and joined.
        """
        self._is_open = True
        try:
            for gadget in reversed(self.gadgets):
                gadget.activate()
        except RuntimeError:
            self.abort()
            for gadget in self.gadgets:
                gadget.wait()
            raise

    def find(self, name: str) -> Gadget | None:
        """Give the first gadget of that name."""
        return next((gadget for gadget in all_gadgets(self._nodes) if gadget.name == name), None)

    def putq(self, message: MessageBlock) -> int:
        """Put a message at the head."""
        return self.head.putq(message)

    def close(self) -> None:
        """Put the close message: every gadget, in order, finishes what is queued before it, flushes, and ends."""
        self.head.putq(close_message())

    def abort(self) -> int:
        """Drop everything that is queued and wake everybody.

        Returns
        -------
            The number of messages dropped.
        """
        return sum(gadget.abort() for gadget in self.gadgets)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Join all threads; False if some still run after the timeout."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        ended = [gadget.wait(None if deadline is None else max(0.0, deadline - monotonic())) for gadget in self.gadgets]
        return all(ended)

    def __repr__(self) -> str:
        return f"<Stream {' > '.join(gadget.name for gadget in self.gadgets) or '(a plain wire)'}>"
