"""The engine without sockets: the table of states, failures at every place, and the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.controller import GadgetStreamController
from gadgetron.environment import Admission, Environment
from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetError,
    GadgetronError,
    RemoteError,
    ServerBusy,
    UnexpectedMessageError,
    UnknownMessageError,
)
from gadgetron.loader import Loader
from gadgetron.message import MessageBlock, config_message
from gadgetron.output import Output
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.protocol.classic import ClassicSource
from gadgetron.session_state import ADVICE, TRANSITIONS, Action, Received, SessionState
from tests import raw_client as raw
from tests.misbehaving import chain
from tests.servers import Records

GUARD_S = 30.0
WIRE = chain()


class ListSink:
    """Keeps what it gets; fails where it is told to."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.aborted_with: list[GadgetronError | None] = []
        self.finished_with: list[GadgetronError | None] = []
        self.dropped = 0
        self.on_finish: Callable[[], None] | None = None

    def open(self) -> None:
        pass

    def put_many(self, outputs: Sequence[Output]) -> None:
        self.outputs.extend(outputs)

    def abort(self, error: GadgetronError | None = None) -> None:
        self.aborted_with.append(error)

    def finish(self, error: GadgetronError | None) -> None:
        self.finished_with.append(error)
        if self.on_finish is not None:
            self.on_finish()

    @property
    def written(self) -> int:
        return len(self.outputs)


class ScriptSource:
    """Calls the controller as a script says."""

    def __init__(self, script: Callable[[GadgetStreamController], None]) -> None:
        self._script = script
        self._woken = threading.Event()
        self.finished = 0

    def run(self, controller: GadgetStreamController) -> None:
        self._script(controller)

    def wake(self) -> None:
        self._woken.set()

    def watch(self, timeout_s: float) -> bool:
        return not self._woken.wait(min(timeout_s, GUARD_S))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(
        loader=Loader(["tests"]),
        search=ConfigurationSearch(environment={"HOME": str(tmp_path)}),
        working_directory=tmp_path / "work",
        admission=Admission(1),
    )


def run(
    environment: Environment, script: Callable[[GadgetStreamController], None], sink: ListSink | None = None
) -> GadgetronError | None:
    source = ScriptSource(script)
    error = GadgetStreamController(environment).run(source, sink or ListSink())
    assert source.finished == 1
    assert environment.admission.active == 0
    return error


def bring_to(controller: GadgetStreamController, state: SessionState) -> None:
    """Bring a new controller into a state, as a client would."""
    steps: list[Callable[[], None]] = [
        lambda: controller.configuration_script(WIRE),
        lambda: controller.parameters(config_message(raw.SMALL_HEADER)),
        controller.end_of_input,
    ]
    for step in steps[: list(SessionState).index(state)]:
        step()
    assert controller.state is state


SENDERS: dict[Received, Callable[[GadgetStreamController], None]] = {
    Received.CONFIG: lambda c: c.configuration_script(WIRE),
    Received.HEADER: lambda c: c.parameters(config_message(raw.SMALL_HEADER)),
    Received.CLOSE: lambda c: c.end_of_input(),
    Received.TEXT: lambda c: c.text("hello"),
    Received.QUERY: lambda c: c.query(7, "gadgetron::version"),
    Received.RESPONSE: lambda c: c.response(),
    Received.ERROR: lambda c: c.peer_error("out of it"),
    Received.DATA: lambda c: c.data([MessageBlock()]),
    Received.UNKNOWN: lambda c: c.no_reader(4711),
}

FAILURES = {
    Action.REFUSE: UnexpectedMessageError,
    Action.REFUSE_UNKNOWN: UnknownMessageError,
    Action.REPORT_PEER_ERROR: RemoteError,
}


def test_the_table_says_what_happens_for_every_pair() -> None:
    assert set(TRANSITIONS) == {(state, received) for state in SessionState for received in Received}
    assert set(SENDERS) == set(Received)
    assert set(ADVICE) <= {pair for pair, action in TRANSITIONS.items() if action is Action.REFUSE}


@pytest.mark.parametrize("state", SessionState)
@pytest.mark.parametrize("received", Received)
def test_the_controller_does_what_the_table_says(
    environment: Environment, state: SessionState, received: Received
) -> None:
    action = TRANSITIONS[state, received]
    sink = ListSink()
    states: list[SessionState] = []

    def script(controller: GadgetStreamController) -> None:
        bring_to(controller, state)
        before = len(sink.outputs)
        SENDERS[received](controller)
        states.append(controller.state)
        assert len(sink.outputs) - before == (1 if action is Action.ANSWER else 0)
        if controller.state is not SessionState.DRAINING:
            controller.end_of_input()

    error = run(environment, script, sink)
    expected = FAILURES.get(action)
    if expected is not None:
        assert type(error) is expected
        assert sink.finished_with == [error]
        return
    assert error is None
    after = {
        Action.CONFIGURE: SessionState.AWAIT_HEADER,
        Action.SEND_PARAMETERS: SessionState.STREAM,
        Action.END: SessionState.DRAINING,
    }
    assert states == [after.get(action, state)]


def test_the_first_failure_counts(environment: Environment) -> None:
    def script(controller: GadgetStreamController) -> None:
        controller.fail(GadgetError("a", "first"))
        controller.fail(GadgetError("b", "second"))

    with Records() as records:
        error = run(environment, script)
    assert str(error) == "gadget a: first"
    assert len(records.of_level("error")) == 1
    assert len(records.of("session.summary")) == 1


def test_a_failure_while_output_is_delivered_counts_too(environment: Environment) -> None:
    sink = ListSink()
    controller = GadgetStreamController(environment)
    lost = ConnectionLost("while writing the last image")
    sink.on_finish = lambda: controller.fail(lost)
    with Records() as records:
        assert controller.run(ScriptSource(lambda c: bring_to(c, SessionState.DRAINING)), sink) is lost
    assert sink.aborted_with == [lost]
    assert records.of("session.summary")[0]["error"] == str(lost)


def test_a_failure_after_the_end_is_none(environment: Environment) -> None:
    controller = GadgetStreamController(environment)
    with Records() as records:
        assert controller.run(ScriptSource(lambda c: bring_to(c, SessionState.DRAINING)), ListSink()) is None
        controller.fail(GadgetError("late", "too late"))
    assert controller.error is None
    assert not records.of("session.failed")


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(1), KeyboardInterrupt(), MemoryError()])
def test_whatever_a_reader_raises_fails_the_session_with_its_name(environment: Environment, error: Any) -> None:
    def script(controller: GadgetStreamController) -> None:
        bring_to(controller, SessionState.STREAM)
        raise error

    found = run(environment, script)
    assert isinstance(found, GadgetError)
    assert type(error).__name__ in str(found)
    assert found.__cause__ is error


def test_a_session_too_many_is_refused_and_gives_its_place_back(environment: Environment) -> None:
    environment.admission.enter()

    def script(controller: GadgetStreamController) -> None:
        with pytest.raises(ServerBusy):
            controller.configuration_script(WIRE)
        controller.end_of_input()

    source = ScriptSource(script)
    assert GadgetStreamController(environment).run(source, ListSink()) is None
    assert environment.admission.active == 1
    environment.admission.leave()


def test_everything_wrong_with_a_configuration_is_told_at_once(environment: Environment) -> None:
    xml = chain("NoSuchOne", "Echo", ("Failing", {"no_such_property": 1}), "NoSuchTwo")
    error = run(environment, lambda c: c.configuration_script(xml))
    assert isinstance(error, ConfigurationError)
    for words in ("NoSuchOne", "no_such_property", "NoSuchTwo"):
        assert words in str(error)


def test_output_without_a_writer_fails_the_session(environment: Environment) -> None:
    controller = GadgetStreamController(environment)
    with pytest.raises(ConfigurationError, match="must be a GadgetMessageIdentifier"):
        controller.output_ready(MessageBlock())


def test_a_session_in_memory_needs_no_socket(environment: Environment) -> None:
    stream = MemoryStream(
        raw.config_script(chain("Echo")) + raw.header() + raw.acquisition(1) + raw.acquisition(2) + raw.close()
    )
    sink = ListSink()
    controller = GadgetStreamController(environment)

    class Source(ClassicSource):
        def watch(self, timeout_s: float) -> bool:
            controller._ended.wait(GUARD_S)
            return False

    assert controller.run(Source(stream), sink) is None
    assert len(sink.outputs) == 2
    assert controller.messages_in == 2
    assert "G0" in controller.status()
