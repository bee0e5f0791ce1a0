"""A server on a real socket, against a client that shares no code with it."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import framed_client as framed
from tests import raw_client as raw
from tests.misbehaving import Blocking, chain
from tests.raw_client import RawClient, exchange
from tests.servers import GUARD_S, InProcessServer

StartServer = Callable[..., InProcessServer]


def readouts(count: int, first: int = 0, **options: Any) -> bytes:
    return b"".join(raw.acquisition(number, **options) for number in range(first, first + count))


@pytest.fixture
def blocking() -> Iterator[type[Blocking]]:
    Blocking.entered.clear()
    Blocking.go_on.clear()
    yield Blocking
    Blocking.go_on.set()


def test_a_plain_wire_returns_every_readout_in_order(server: InProcessServer) -> None:
    reply = exchange(server.port, raw.config_file("pass_through.xml"), raw.header(), readouts(500), raw.close())
    assert reply.is_complete
    assert reply.scan_counters == list(range(500))
    summary = server.wait_for_summaries(1)[0]
    assert (summary["received"], summary["written"], summary["dropped"], summary["error"]) == (500, 500, 0, None)


def test_an_empty_session_ends_with_close(server: InProcessServer) -> None:
    reply = exchange(server.port, raw.config_file("pass_through.xml"), raw.header(), raw.close())
    assert reply.ids == [raw.CLOSE]
    assert reply.is_complete


@pytest.mark.parametrize("n_sent", range(3), ids=["nothing", "configuration", "parameters"])
def test_close_before_any_data_is_answered_with_close(server: InProcessServer, n_sent: int) -> None:
    messages = [raw.config_file("pass_through.xml"), raw.header()][:n_sent]
    assert exchange(server.port, *messages, raw.close()).ids == [raw.CLOSE]


def test_the_end_of_input_between_messages_is_an_end(server: InProcessServer) -> None:
    with RawClient(server.port) as client:
        client.send(raw.config_file("pass_through.xml"), raw.header(), readouts(20))
        client.half_close()
        reply = client.read_reply()
    assert reply.is_complete
    assert reply.scan_counters == list(range(20))


def test_a_configuration_may_be_sent_as_text(server: InProcessServer) -> None:
    reply = exchange(server.port, raw.config_script(chain("Echo")), raw.header(), readouts(3), raw.close())
    assert reply.is_complete
    assert reply.scan_counters == [0, 1, 2]


def test_parameters_may_come_again_and_end_with_zero_characters(server: InProcessServer) -> None:
    reply = exchange(
        server.port,
        raw.config_script(chain("Echo", "Echo")),
        raw.header(raw.SMALL_HEADER + b"\0"),
        readouts(3),
        raw.header(),
        readouts(3, first=3),
        raw.close(),
    )
    assert reply.is_complete
    assert reply.scan_counters == list(range(6))


def test_readouts_come_back_byte_for_byte(server: InProcessServer) -> None:
    messages = [
        raw.acquisition(1, 7, 3, trajectory_dimensions=2, flags=5, line=3),
        raw.acquisition(2, 0, 3),
        raw.acquisition(3, 5, 0),
        raw.waveform(6, 2),
        raw.acquisition(4, 1, 1),
    ]
    reply = exchange(server.port, raw.config_file("pass_through.xml"), raw.header(), *messages, raw.close())
    assert [struct.pack("<H", number) + body for number, body in reply.messages[:-1]] == messages


def test_default_xml_makes_an_image(server: InProcessServer) -> None:
    reply = exchange(server.port, raw.config_file("default.xml"), raw.header(), raw.image_slice(), raw.close())
    assert reply.ids == [raw.IMAGE, raw.CLOSE]
    assert reply.is_complete
    assert struct.unpack_from("<3H", reply.messages[0][1], 16) == (8, 8, 1)


def test_a_query_is_answered_before_a_configuration_and_after(server: InProcessServer) -> None:
    from gadgetron import __version__

    reply = exchange(
        server.port,
        raw.query(b"gadgetron::version", 41),
        raw.config_file("pass_through.xml"),
        raw.query(b"no such thing", 42),
        raw.header(),
        raw.close(),
    )
    assert reply.ids == [raw.RESPONSE, raw.RESPONSE, raw.CLOSE]
    answers = {struct.unpack_from("<Q", body)[0]: body[16:].decode() for _, body in reply.messages[:2]}
    assert answers == {41: __version__, 42: "Unknown query"}


def test_text_of_the_client_does_no_harm(server: InProcessServer) -> None:
    reply = exchange(
        server.port,
        raw.text(b"hello\n\x1b[31m" + bytes(range(256))),
        raw.config_file("pass_through.xml"),
        raw.header(),
        raw.text(b""),
        raw.close(),
    )
    assert reply.is_complete


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([raw.header()], "configuration first"),
        ([raw.acquisition()], "configuration and parameters first"),
        ([raw.config_file("pass_through.xml"), raw.acquisition()], "parameters"),
        ([raw.config_file("pass_through.xml"), raw.config_file("pass_through.xml")], "configured already"),
        ([raw.config_file("pass_through.xml"), raw.header(), raw.config_script(b"<a/>")], "configured already"),
        ([raw.config_file("no_such_thing.xml")], "no_such_thing.xml"),
        ([raw.config_file("pass_through.xml"), raw.header(), struct.pack("<H", 1022)], "1022"),
        ([struct.pack("<H", 4711)], "4711"),
        ([struct.pack("<HQQQ", raw.RESPONSE, 0, 1, 0)], "response"),
        ([struct.pack("<HQ", raw.ERROR, 9) + b"out of it"], "out of it"),
        ([raw.config_script(chain("NoSuchGadget"))], "NoSuchGadget"),
        ([raw.config_script(chain("FailsToStart"))], "G0"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_done_is_told(server: InProcessServer, messages: list[bytes], words: str) -> None:
    error = exchange(server.port, *messages).error
    assert words in error
    assert "/home" not in error
    server.wait_for_summaries(1)
    assert len(server.records.of("session.failed")) == 1


def test_a_failing_reader_is_told(server: InProcessServer) -> None:
    messages = [raw.config_script(chain("Echo", reader="BadReader")), raw.header(), struct.pack("<H", 2000)]
    assert "KeyError" in exchange(server.port, *messages).error
    server.wait_for_summaries(1)
    assert len(server.records.of_level("error")) == 1


def test_a_failing_writer_is_told(server: InProcessServer) -> None:
    reply = exchange(
        server.port, raw.config_script(chain("Echo", writer="BadWriter")), raw.header(), readouts(100), raw.close()
    )
    assert "KeyError" in reply.error
    summary = server.wait_for_summaries(1)[0]
    assert summary["written"] == 0
    assert "KeyError" in summary["error"]
    assert len(server.records.of_level("error")) == 1


def test_a_message_that_cannot_be_written_is_told_in_both_protocols(server: InProcessServer) -> None:
    """Whole messages have been written before: the error comes after them."""
    classic = exchange(server.port, raw.config_script(chain("Contradicts")), raw.header(), readouts(5), raw.close())
    assert "number_of_samples" in classic.error
    reply = framed.exchange(
        server.port,
        framed.handshake(),
        framed.config_script(chain("Contradicts")),
        framed.xml_header(raw.SMALL_HEADER),
        *(framed.acquisition(number, 4, 2) for number in range(5)),
        framed.stop(),
    )
    assert reply.types[-2:] == [framed.ERROR, framed.COMMAND]
    assert reply.entities[-1].command_type == framed.DONE
    server.wait_for_summaries(2)
    assert len(server.records.of("session.failed")) == 2


def test_nothing_follows_a_message_that_a_writer_did_not_complete(server: InProcessServer) -> None:
    reply = exchange(
        server.port, raw.config_script(chain("Echo", writer="HalfWriter")), raw.header(), readouts(1), raw.close()
    )
    assert not reply.messages
    assert reply.rest.endswith(b"half a message")
    assert "KeyError" in server.wait_for_summaries(1)[0]["error"]


def test_a_client_that_goes_away_while_the_chain_works_ends_its_session(
    server: InProcessServer, blocking: type[Blocking]
) -> None:
    client = RawClient(server.port)
    client.send(raw.config_script(chain("Blocking")), raw.header(), readouts(1), raw.close())
    assert blocking.entered.wait(GUARD_S)
    client.reset()
    assert "went away" in server.records.wait_for("session.failed")[0]["error"]
    blocking.go_on.set()
    server.wait_for_summaries(1)


def test_a_session_too_many_is_refused_and_its_place_is_given_again(
    start_server: StartServer, blocking: type[Blocking]
) -> None:
    server = start_server(max_sessions=1)
    with RawClient(server.port) as client:
        client.send(raw.config_script(chain("Blocking")), raw.header(), readouts(1))
        assert blocking.entered.wait(GUARD_S)
        assert "as many as this server allows" in exchange(server.port, raw.config_file("pass_through.xml")).error
        blocking.go_on.set()
        client.send(raw.close())
        assert client.read_reply().is_complete
    server.wait_for_summaries(2)
    assert exchange(server.port, raw.config_file("pass_through.xml"), raw.close()).is_complete


def test_a_connection_too_many_is_refused_and_its_place_is_given_again(start_server: StartServer) -> None:
    server = start_server(max_connections=2, linger_s=0.01)
    with RawClient(server.port) as first, RawClient(server.port) as second:
        for client in (first, second):
            client.send(raw.query(b"gadgetron::version"))
            assert client.read_message()[0] == raw.RESPONSE
        assert "too many connections" in exchange(server.port).error
        first.send(raw.close())
        assert first.read_reply().is_complete
        server.wait_for_summaries(1)
        wait_for_sessions(server, 1)
        assert exchange(server.port, raw.config_file("pass_through.xml"), raw.header(), raw.close()).is_complete


def wait_for_sessions(server: InProcessServer, count: int) -> None:
    """Wait until the acceptor knows that a session has ended: just after its summary."""
    guard = threading.Event()
    for _ in range(int(GUARD_S / 0.001)):
        if len(server.acceptor.sessions) == count:
            return
        guard.wait(0.001)
    pytest.fail(f"{len(server.acceptor.sessions)} sessions")


def test_a_session_whose_threads_cannot_start_is_told(server: InProcessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("G1-0"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reply = exchange(server.port, raw.config_script(chain("Echo", "Echo", "Echo")), raw.header())
    assert "cannot be started" in reply.error
    server.wait_for_summaries(1)


@pytest.mark.parametrize("which", ["reader", "writer-0"])
def test_a_connection_whose_threads_cannot_start_is_told(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith(f"/{which}"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert "try again later" in exchange(server.port).error
    assert exchange(server.port, raw.close()).is_complete


def test_a_refusal_whose_thread_cannot_start_does_not_break_the_end(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(max_connections=0)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("/refusal"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not exchange(server.port).messages
    assert "too many" in exchange(server.port).error
    server.acceptor.close()


def test_running_out_of_descriptors_does_not_stop_the_server(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()
    accept = socket.socket.accept

    def fail_once(listener: socket.socket) -> tuple[socket.socket, Any]:
        if not failed.is_set():
            failed.set()
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fail_once)
    assert exchange(server.port, raw.close()).is_complete
    assert len(server.records.of("server.out_of_descriptors")) == 1


def test_closing_the_server_tells_idle_connections_and_lets_sessions_finish(
    start_server: StartServer, blocking: type[Blocking]
) -> None:
    server = start_server(linger_s=0.01)
    with RawClient(server.port) as idle, RawClient(server.port) as busy:
        idle.send(raw.query(b"gadgetron::version"))
        assert idle.read_message()[0] == raw.RESPONSE
        busy.send(raw.config_script(chain("Blocking")), raw.header(), readouts(3), raw.close())
        assert blocking.entered.wait(GUARD_S)
        outcome: list[bool] = []
        closing = threading.Thread(target=lambda: outcome.append(server.acceptor.close(GUARD_S)))
        closing.start()
        assert "shutting down" in idle.read_reply().error
        with pytest.raises(ConnectionRefusedError):
            RawClient(server.port)
        blocking.go_on.set()
        assert busy.read_reply().scan_counters == [0, 1, 2]
        closing.join(GUARD_S)
    assert outcome == [True]


def test_aborting_the_server_tells_sessions_even_when_only_their_output_is_left(start_server: StartServer) -> None:
    """The chain has drained; the client has not read. It must not be told that this was all."""
    server = start_server(linger_s=GUARD_S)
    with RawClient(server.port, receive_buffer=4096) as client:
        client.send(raw.config_file("pass_through.xml"), raw.header())
        client.send(readouts(400, n_samples=4096), raw.close())
        session = wait_for_drained(server)
        server.acceptor.abort_sessions()
        reply = client.read_reply()
    assert "shutting down" in reply.error
    assert session.error is not None
    summary = server.wait_for_summaries(1)[0]
    assert summary["written"] + summary["dropped"] == 400
    assert len(reply.scan_counters) == summary["written"]


def wait_for_drained(server: InProcessServer) -> Any:
    guard = threading.Event()
    for _ in range(int(GUARD_S / 0.001)):
        for session in server.acceptor.sessions:
            if session.controller._ended.is_set():
                return session.controller
        guard.wait(0.001)
    pytest.fail("the chain did not drain")


@pytest.mark.parametrize("threads", [1, 4])
def test_what_the_last_gadget_puts_and_what_it_outputs_keep_their_order(server: InProcessServer, threads: int) -> None:
    configuration = raw.config_script(chain(("TwoWays", {"threads": threads})))
    reply = exchange(server.port, configuration, raw.header(), readouts(500), raw.close())
    assert reply.scan_counters == list(range(500))
