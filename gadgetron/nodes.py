"""What a stream consists of: gadgets, and nodes that hold gadgets, and how they are connected."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from gadgetron.branch import Branch
from gadgetron.errors import ConfigurationError, GadgetError, QueueClosed, describe
from gadgetron.gadget import Gadget
from gadgetron.limits import LIMITS
from gadgetron.merge import BYPASS, Merge
from gadgetron.message import MessageBlock, ParametersMessage
from gadgetron.task import Task

__all__ = ["Node", "Parallel", "PureStream", "all_gadgets", "connect", "running_gadgets"]


@dataclass
class Parallel:
    """Streams side by side: a branch puts to them by key, a merge takes from all of them. Streams may be empty."""

    branch: Branch
    streams: dict[str, list[Node]]
    merge: Merge


Node: TypeAlias = "Gadget | Parallel"


class PureStream(Gadget):
    """Runs gadgets that keep nothing from one message to the next, all of them in one thread, or in each of several.

    A message goes through all of them in the thread that took it. With several threads that many messages are worked on
    at once; their results go on in the order in which the messages came.

    Parameters
    ----------
    gadgets
        First to last; none at all makes a plain wire.
    workers
        Number of threads; 0 for as many as there are processors.

    Raises
    ------
    ConfigurationError
        If a gadget is not `thread_safe`.
    """

    thread_safe = True

    def __init__(self, gadgets: Sequence[Gadget], workers: int = 1, name: str = "") -> None:
        super().__init__(name or "purestream")
        for gadget in gadgets:
            if not gadget.thread_safe:
                raise ConfigurationError(not_pure(gadget.name))
        self.gadgets = list(gadgets)
        self.threads = pure_stream_threads(workers)
        downstream: Task = _Results(self)
        for gadget in reversed(self.gadgets):
            gadget.connect(downstream)
            downstream = _Step(gadget)
        self._first = downstream

    def activate(self, n_threads: int = 0) -> None:
        """Start the threads. The gadgets inside see the framework as this one sees it: its turn is theirs."""
        for gadget in self.gadgets:
            gadget.controller = self.controller
        super().activate(n_threads)

    def process_config(self, parameters: ParametersMessage) -> None:
        """Give parameters to every gadget."""
        for gadget in self.gadgets:
            _call(gadget, partial(gadget.process_config, parameters))

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Run messages through the gadgets."""
        self._first.put_many(messages)

    def close(self, flags: int) -> None:
        """Close every gadget, first to last."""
        for gadget in self.gadgets:
            _call(gadget, partial(gadget.close, flags))


def pure_stream_threads(workers: int) -> int:
    """Give the number of threads that a pure stream has."""
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(workers or n_processors or 1, LIMITS.max_threads_per_gadget)


def not_pure(name: str) -> str:
    """Say why a gadget cannot be part of a pure stream."""
    return (
        f"gadget {name} cannot be part of a purestream: it keeps something from one message to the next "
        "(its class does not say thread_safe)"
    )


class _Step(Task):
    """A gadget of a pure stream as the one before sees it: has no thread, whoever puts here runs the gadget."""

    def __init__(self, gadget: Gadget) -> None:
        super().__init__(gadget.name)
        self._gadget = gadget

    def putq(self, message: MessageBlock) -> int:
        self.put_many([message])
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        _call(self._gadget, partial(self._gadget.process_many, messages))


class _Results(Task):
    """The end of a pure stream: has no thread; what comes here is put by the node, in its turn."""

    def __init__(self, node: PureStream) -> None:
        super().__init__("results")
        self._node = node

    def putq(self, message: MessageBlock) -> int:
        self._node.put_next(message)
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        for message in messages:
            self._node.put_next(message)


def _call(gadget: Gadget, function: Callable[[], int | None]) -> None:
    """Call a gadget's hook, and name the gadget in what it raises."""
    try:
        result = function()
    except (GadgetError, QueueClosed):
        raise
    except Exception as error:  # user code: anything may happen; the node's thread reports it
        raise GadgetError(gadget.name, describe(error)) from error
    if isinstance(result, int) and result < 0:
        raise GadgetError(gadget.name, "returned GADGET_FAIL")


def all_gadgets(nodes: Sequence[Node]) -> Iterator[Gadget]:
    """Give every gadget, those inside of nodes included, in the order in which messages meet them."""
    for gadget in running_gadgets(nodes):
        yield gadget
        if isinstance(gadget, PureStream):
            yield from gadget.gadgets


def running_gadgets(nodes: Sequence[Node]) -> Iterator[Gadget]:
    """Give the gadgets that have threads, in the order in which messages meet them."""
    for node in nodes:
        if isinstance(node, Parallel):
            yield node.branch
            for stream in node.streams.values():
                yield from running_gadgets(stream)
            yield node.merge
        else:
            yield node


def connect(nodes: Sequence[Node], downstream: Task) -> Task:
    """Connect nodes with each other and with what comes behind them; give the task at their head."""
    for node in reversed(nodes):
        if isinstance(node, Parallel):
            node.merge.connect(downstream)
            heads = {key: connect(stream, node.merge.input_for(key)) for key, stream in node.streams.items()}
            node.branch.connect_streams(heads, node.merge.input_for(BYPASS))
            downstream = node.branch
        else:
            node.connect(downstream)
            downstream = node
    return downstream
