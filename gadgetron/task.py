"""The active object: a queue of messages and the threads that serve it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic

from gadgetron.errors import QueueClosed
from gadgetron.message import MessageBlock
from gadgetron.message_queue import MessageQueue

FailureCallback = Callable[["Task", BaseException], None]


class Task:
    """An inbox and N threads that run `svc`, as ACE_Task.

    Draining is `putq` of a close message; `abort` drops what is queued and wakes everybody.

    Parameters
    ----------
    name
        Becomes part of the threads' names.
    inbox
        The queue; a bounded one of its own by default.

    Notes
    -----
    Threads are daemons, so a hung one cannot keep the process alive, and are joined by whoever owns the task: `wait`.
    """

    def __init__(self, name: str = "", inbox: MessageQueue | None = None) -> None:
        self.name = name or type(self).__name__
        self.inbox = inbox if inbox is not None else MessageQueue()
        self.session_name = ""
        self.on_failure: FailureCallback | None = None
        self._threads: list[threading.Thread] = []

    def activate(self, n_threads: int = 1) -> None:
        """Start the threads.

        Raises
        ------
        RuntimeError
            If the task is active already, or the operating system gives no thread; those that started are then ended.
        """
        if self._threads:
            raise RuntimeError(f"{self.name} is active already")
        prefix = f"{self.session_name}/" if self.session_name else ""
        try:
            for index in range(n_threads):
                thread = threading.Thread(target=self._run, name=f"{prefix}{self.name}-{index}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError:
            self.abort()
            self.wait()
            raise

    def putq(self, message: MessageBlock) -> int:
        """Give a message to this task; it belongs to the task from now on. Waits while the inbox is full.

        Returns
        -------
            0, as ACE's putq is not negative on success.

        Raises
        ------
        QueueClosed
            If the task has ended.
        """
        self.inbox.put(message)
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        """Give several messages in one queue operation."""
        self.inbox.put_many(messages)

    def getq(self, timeout_s: float | None = None) -> MessageBlock:
        """Take the next message, for an `svc` of one's own."""
        return self.inbox.get(timeout=timeout_s)

    def svc(self) -> None:
        """Serve the inbox until the close message. Runs in each of the task's threads; override it."""
        raise NotImplementedError(f"{type(self).__name__} does not implement svc")

    def _run(self) -> None:
        try:
            self.svc()
        except BaseException as error:  # noqa: BLE001  # whatever a gadget raises, SystemExit too, ends its session only
            try:
                if not (isinstance(error, QueueClosed) and self.inbox.is_closed):
                    self._report(error)
            finally:
                self.inbox.close()

    def _report(self, error: BaseException) -> None:
        if self.on_failure is None:
            raise error
        self.on_failure(self, error)

    def abort(self) -> int:
        """End now: drop what is queued and wake everybody who waits here. Idempotent.

        Returns
        -------
            The number of messages dropped.
        """
        return self.inbox.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Join the threads; False if one still runs after the timeout. Not from one of the task's own threads."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def running_threads(self) -> list[threading.Thread]:
        """The threads that have not ended."""
        return [thread for thread in self._threads if thread.is_alive()]

    @property
    def n_threads(self) -> int:
        """How many threads were started."""
        return len(self._threads)

    def __repr__(self) -> str:
        threads = f"{len(self.running_threads)}/{len(self._threads)} threads"
        return f"<{type(self).__name__} {self.name} {threads} {self.inbox!r}>"
