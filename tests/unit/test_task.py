"""The active object: threads, the end, and failures."""

from __future__ import annotations

import threading

import pytest

from gadgetron.errors import QueueClosed
from gadgetron.message import MessageBlock, MessageKind, close_message
from gadgetron.task import Task

GUARD_S = 30.0


class Recorder(Task):
    """Keeps what it gets until the close message."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.seen: list[MessageBlock] = []
        self.thread_names: set[str] = set()

    def svc(self) -> None:
        self.thread_names.add(threading.current_thread().name)
        while (message := self.getq()).kind is not MessageKind.CLOSE:
            self.seen.append(message)


class Raising(Task):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.failures: list[BaseException] = []
        self.on_failure = lambda _task, error: self.failures.append(error)

    def svc(self) -> None:
        self.getq()
        raise self.error


def test_a_task_serves_its_queue_until_the_close_message() -> None:
    task = Recorder()
    task.session_name = "session-7"
    task.activate()
    messages = [MessageBlock() for _ in range(100)]
    for message in messages:
        assert task.putq(message) == 0
    task.putq(close_message())
    assert task.wait(GUARD_S)
    assert task.seen == messages
    assert task.thread_names == {"session-7/recorder-0"}
    assert task.running_threads == []


def test_activating_twice_is_refused() -> None:
    task = Recorder()
    task.activate()
    with pytest.raises(RuntimeError, match="active already"):
        task.activate()
    task.putq(close_message())
    assert task.wait(GUARD_S)


def test_abort_wakes_the_thread_and_counts_what_is_dropped() -> None:
    task = Recorder()
    for _ in range(5):
        task.putq(MessageBlock())
    assert task.abort() == 5
    assert task.abort() == 0
    task.activate(4)
    assert task.wait(GUARD_S)
    assert task.seen == []
    with pytest.raises(QueueClosed):
        task.putq(MessageBlock())


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), StopIteration()])
def test_whatever_svc_raises_is_reported_once_and_closes_the_queue(error: BaseException) -> None:
    task = Raising(error)
    task.activate()
    task.putq(MessageBlock())
    assert task.wait(GUARD_S)
    assert task.failures == [error]
    with pytest.raises(QueueClosed):
        task.putq(MessageBlock())


def test_the_end_of_the_flow_is_no_failure_and_a_foreign_queue_s_end_is() -> None:
    ended = Raising(QueueClosed("of its own"))
    ended.abort()
    ended.activate()
    foreign = Raising(QueueClosed("of somebody else's queue"))
    foreign.activate()
    foreign.putq(MessageBlock())
    assert ended.wait(GUARD_S)
    assert foreign.wait(GUARD_S)
    assert ended.failures == []
    assert foreign.failures == [foreign.error]


def test_threads_that_cannot_start_leave_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("-2"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    task = Recorder()
    with pytest.raises(RuntimeError, match="can't start"):
        task.activate(4)
    assert task.running_threads == []


def test_svc_must_be_implemented() -> None:
    failures: list[BaseException] = []
    task = Task("bare")
    task.on_failure = lambda _task, error: failures.append(error)
    task.activate()
    assert task.wait(GUARD_S)
    assert isinstance(failures[0], NotImplementedError)


def test_repr_is_a_status_line() -> None:
    assert repr(Recorder()).startswith("<Recorder recorder 0/0 threads <MessageQueue 0/64 messages")


def test_wait_tells_whether_threads_still_run() -> None:
    task = Recorder()
    task.activate()
    assert not task.wait(0.001)
    task.putq(close_message())
    assert task.wait()
