"""Run a gadget, or several, as a server would: with their own threads and queues, but without server and sockets."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gadgetron.errors import GadgetronError, PeerTimeout
from gadgetron.gadget import Gadget
from gadgetron.message import GadgetContainerMessage, MessageBlock, ParametersMessage, config_message
from gadgetron.nodes import Node, Parallel, all_gadgets
from gadgetron.stream import EndGadget, Stream
from gadgetron.task import Task

EMPTY_HEADER = b"<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'/>"


def run_gadget(
    gadget: Node | Sequence[Node],
    messages: Iterable[MessageBlock],
    parameters: ParametersMessage | bytes | str = EMPTY_HEADER,
    *,
    free_parameters: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
    timeout_s: float = 60.0,
) -> list[MessageBlock]:
    """Send parameters, messages and the end through a gadget, and give what comes out.

    Parameters
    ----------
    gadget
        One gadget, or a chain of them, first to last; parallel streams are a node of a chain. Each can be run once.
    messages
        What to put; they belong to the gadget from then on.
    parameters
        The ISMRMRD header.
    free_parameters
        What `self.controller.parameter` gives.
    working_directory
        Where the gadget may write; a temporary folder, removed at the end, unless it is given.
    timeout_s
        For everything.

    Returns
    -------
        Messages that the last gadget put, and those given to `output_ready` (their first block holds a
        GadgetMessageIdentifier), in the order in which they came.

    Raises
    ------
    GadgetError
        If a gadget failed; `__cause__` is what it raised.
    PeerTimeout
        If the time is over.
    """
    nodes: list[Node] = [gadget] if isinstance(gadget, (Gadget, Parallel)) else list(gadget)
    with tempfile.TemporaryDirectory(prefix="gadgetron-test-") as folder:
        run = _Run(nodes, free_parameters or {}, working_directory or Path(folder))
        return run.run(messages, parameters, timeout_s)


class _Run:
    """One run; stands in for the session's controller."""

    def __init__(self, nodes: Sequence[Node], parameters: Mapping[str, str], working_directory: Path) -> None:
        self.working_directory = working_directory
        self._parameters = parameters
        self._lock = threading.Lock()  # guards the next two
        self._collected: list[MessageBlock] = []
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._stream = Stream(
            nodes, EndGadget(self._deliver, self._ended.set), session_name="test", on_failure=self._failed
        )
        for gadget in all_gadgets(nodes):
            gadget.controller = self

    def run(
        self, messages: Iterable[MessageBlock], parameters: ParametersMessage | bytes | str, timeout_s: float
    ) -> list[MessageBlock]:
        feeder = threading.Thread(target=self._feed, args=(messages, parameters), name="test/feeder", daemon=True)
        self._stream.open()
        feeder.start()
        in_time = self._ended.wait(timeout_s)
        if not in_time or self._error is not None:
            self._stream.abort()
        feeder.join(timeout_s)
        self._stream.wait(timeout_s)
        if self._error is not None:
            raise self._error
        if not in_time:
            raise PeerTimeout(f"{self._stream!r} did not end within {timeout_s:g} s")
        return self._collected

    def _feed(self, messages: Iterable[MessageBlock], parameters: ParametersMessage | bytes | str) -> None:
        try:
            self._stream.putq(parameters if isinstance(parameters, ParametersMessage) else config_message(parameters))
            for message in messages:
                self._stream.putq(message)
            self._stream.close()
        except GadgetronError as error:
            self._fail(error)

    def _deliver(self, messages: Sequence[MessageBlock]) -> None:
        with self._lock:
            self._collected.extend(messages)

    def _failed(self, _task: Task, error: BaseException) -> None:
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
        self._ended.set()
        self._stream.abort()

    def output_ready(self, message: MessageBlock) -> int:
        self._deliver([message])
        return 0

    def tell_client(self, text: str) -> None:
        self._deliver([GadgetContainerMessage(text)])

    def find_gadget(self, name: str) -> Gadget | None:
        return self._stream.find(name)

    def parameter(self, name: str) -> str | None:
        return self._parameters.get(name)
