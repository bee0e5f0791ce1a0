"""The client against servers that keep to a script, and against ours."""

from __future__ import annotations

import struct
import threading
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgetron import GadgetronConnector
from gadgetron.conversion import as_image, as_message
from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetronError,
    LimitExceeded,
    MalformedMessageError,
    PeerTimeout,
    QueueClosed,
    RemoteError,
    UnknownMessageError,
)
from gadgetron.limits import LIMITS
from gadgetron.message import GadgetMessageIdentifier, MessageBlock, close_message, config_message, make_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.protocol.byte_stream import ByteStream
from gadgetron.testing.scripted_peer import ScriptedPeer, Step
from readers_writers.acquisition import AcquisitionWriter
from readers_writers.image import MRIImageReader, MRIImageWriter
from readers_writers.waveform import WaveformWriter
from tests.readers_writers.messages import acquisition, assert_same, image, objects, read_back, waveform, written

CLOSE = struct.pack("<H", 4)
IMAGE = written(MRIImageWriter(), image())
GUARD_S = 20.0


def text(content: str) -> bytes:
    return struct.pack("<HI", 5, len(content)) + content.encode()


def connected(peer: ScriptedPeer, **options: Any) -> GadgetronConnector:
    return GadgetronConnector(**options).open(peer.host, peer.port)


def outcome(steps: list[Step], *messages: Any, **options: Any) -> BaseException | None:
    """Send messages to a scripted peer, wait for the end, and give what `wait` raised."""
    with ScriptedPeer(steps) as peer:
        connector = connected(peer, **options)
        try:
            for message in messages:
                connector.putq(message)
            connector.wait(GUARD_S)
        except GadgetronError as error:
            return error
        finally:
            connector.abort()
    return None


def test_everything_goes_out_in_order_and_as_the_protocol_says() -> None:
    first, second = acquisition(), waveform()
    expected = (
        struct.pack("<H", 1) + b"default.xml".ljust(1024, b"\0")
        + struct.pack("<HI", 2, 4) + b"<a/>"
        + struct.pack("<HI", 3, 4) + b"<b/>"
        + text("hello")
        + written(AcquisitionWriter(), first)
        + written(WaveformWriter(), second)
        + CLOSE
    )  # fmt: skip
    with ScriptedPeer([("recv", len(expected)), ("send", CLOSE)]) as peer, connected(peer) as connector:
        connector.send_gadgetron_configuration_file("default.xml")
        connector.send_gadgetron_configuration_script("<a/>\0")
        connector.send_gadgetron_parameters("<b/>")
        connector.send_text("hello")
        assert connector.putq(first) == 0
        connector.putq(second)
    assert peer.received == expected
    assert connector.messages_sent == 2
    assert connector.messages_received == 0


def test_results_can_be_iterated_over_again_and_again_until_close() -> None:
    with ScriptedPeer([("recv", 2), ("send", 3 * IMAGE + CLOSE)]) as peer, connected(peer) as connector:
        connector.send_close()
        received = list(connector)
        assert [message_id for message_id, _message in received] == [1022] * 3
        assert_same(received[2][1], read_back(MRIImageReader(), IMAGE))
        assert list(connector) == []


def test_results_go_to_on_message_and_texts_to_on_text() -> None:
    received: list[tuple[int, MessageBlock]] = []
    texts: list[str] = []
    steps: list[Step] = [("send", text("one")), ("send", IMAGE + text("two")), ("recv", 2), ("send", CLOSE)]
    with ScriptedPeer(steps) as peer:
        connector = connected(peer, on_message=lambda *what: received.append(what), on_text=texts.append)
        connector.close(GUARD_S)
        connector.close()
        with pytest.raises(ConfigurationError, match="on_message"):
            next(iter(connector))
    assert texts == connector.texts == ["one", "two"]
    ((image_id, message),) = received
    found = as_image(message, image_id)
    assert found is not None
    assert (found.series, found.index, found.shape) == (2, 5, (2, 1, 3, 4))
    assert np.asarray(found).dtype == np.float32


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(text("ERROR gadget FFT: no data"), id="our-server"),
        pytest.param(text("[Connection Main Thread/Stream/FFT] ERROR: no data"), id="c++-server"),
        pytest.param(struct.pack("<HQ", 8, 7) + b"no data", id="error-message"),
    ],
)
@pytest.mark.parametrize("end", [[("send", CLOSE)], [("close",)], [("send", CLOSE), ("drain",)]])
def test_an_error_of_the_server_is_raised_with_its_text(told: bytes, end: list[Step]) -> None:
    error = outcome([("send", IMAGE + told), *end])
    assert isinstance(error, RemoteError)
    assert "no data" in str(error)


def test_who_puts_while_the_server_reports_an_error_is_told() -> None:
    with ScriptedPeer([("recv", 100), ("send", text("ERROR full") + CLOSE), ("drain",)]) as peer:
        connector = connected(peer)
        with pytest.raises(RemoteError, match="ERROR full"):
            for _ in range(10_000):
                connector.putq(acquisition(16, 512))
        with pytest.raises(RemoteError, match="ERROR full"):
            connector.wait(GUARD_S)
        connector.abort()


@pytest.mark.parametrize(
    ("steps", "error_class", "words"),
    [
        ([("recv", 2), ("close",)], ConnectionLost, "without CLOSE"),
        ([("recv", 2), ("send", IMAGE), ("close",)], ConnectionLost, "without CLOSE"),
        ([("recv", 2), ("send", IMAGE[:-1]), ("close",)], ConnectionLost, "inside a message"),
        ([("recv", 2), ("send", b"\4"), ("close",)], ConnectionLost, "inside a message"),
        ([("recv", 2), ("reset",)], ConnectionLost, "connection"),
        ([("recv", 2), ("send", struct.pack("<H", 4711))], UnknownMessageError, "4711"),
        ([("recv", 2), ("send", struct.pack("<HI", 5, 2**31))], LimitExceeded, "text bytes"),
        ([("recv", 2), ("send", b"HTTP/1.1 400 Bad Request\r\n\r\n")], UnknownMessageError, "unknown"),
    ],
)
def test_a_server_that_breaks_the_rules_is_named(
    steps: list[Step], error_class: type[GadgetronError], words: str
) -> None:
    error = outcome(steps)
    assert type(error) is error_class
    assert words in str(error)


def test_a_lost_connection_names_the_server() -> None:
    error = outcome([("recv", 2), ("close",)])
    assert "127.0.0.1:" in str(error)


def test_a_server_that_ends_before_everything_was_sent_is_no_success() -> None:
    with ScriptedPeer([("send", CLOSE), ("drain",)]) as peer:
        connector = connected(peer)
        with pytest.raises(ConnectionLost, match="before everything was sent"):
            list(connector)
        with pytest.raises(ConnectionLost, match="before everything was sent"):
            connector.putq(acquisition())


def test_nothing_listens_is_said_in_words() -> None:
    with ScriptedPeer([]) as peer, connected(peer) as connector, pytest.raises(ConnectionLost):
        connector.wait(GUARD_S)
        connector.abort()
    with pytest.raises(ConnectionLost, match=f"nothing listens on 127.0.0.1:{peer.port} — is gadgetron running"):
        GadgetronConnector().open(peer.host, peer.port, timeout_s=2)


@pytest.mark.parametrize("port", ["", "http", 0, 65536, "-1", "9002.0"])
def test_a_port_that_is_none_is_refused(port: Any) -> None:
    with pytest.raises(ConfigurationError, match="65535"):
        GadgetronConnector().open("localhost", port)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(ConnectionLost, match="no such host"):
        GadgetronConnector().open("no-such-host.invalid", 9002, timeout_s=5)


def test_waiting_ends_when_the_time_is_over() -> None:
    released = threading.Event()
    with ScriptedPeer([("wait", released), ("send", CLOSE)]) as peer:
        connector = connected(peer)
        with pytest.raises(PeerTimeout, match="did not end within 0.05 s"):
            connector.wait(0.05)
        released.set()
        connector.wait(GUARD_S)


def test_a_silent_server_is_lost_after_the_idle_time() -> None:
    released = threading.Event()
    with ScriptedPeer([("wait", released)]) as peer:
        connector = connected(peer, idle_s=0.05)
        with pytest.raises(PeerTimeout, match="sent nothing"):
            connector.wait(GUARD_S)
        released.set()


def test_a_server_that_takes_nothing_does_not_hold_an_abort_up() -> None:
    released = threading.Event()
    with ScriptedPeer([("wait", released), ("close",)]) as peer:
        connector = connected(peer)
        blocked = threading.Thread(target=put_for_ever, args=(connector,), daemon=True)
        blocked.start()
        blocked.join(0.2)
        assert blocked.is_alive()
        connector.abort()
        blocked.join(GUARD_S)
        assert not blocked.is_alive()
        released.set()


def put_for_ever(connector: GadgetronConnector) -> None:
    try:
        while True:
            connector.putq(acquisition(16, 512))
    except ConnectionLost:
        return


def test_after_an_abort_there_is_nothing_to_iterate_over() -> None:
    with ScriptedPeer([("send", IMAGE), ("drain",)]) as peer:
        connector = connected(peer)
        iterator = iter(connector)
        next(iterator)
        connector.abort()
        connector.abort()
        connector.close()
        for rest in (iterator, connector):
            with pytest.raises(ConnectionLost, match="aborted"):
                next(iter(rest))
        with pytest.raises(ConnectionLost, match="aborted"):
            connector.putq(acquisition())
        assert "ended" in repr(connector)


def test_leaving_by_an_exception_hangs_up_at_once() -> None:
    with ScriptedPeer([("drain",)]) as peer, pytest.raises(ZeroDivisionError), connected(peer) as connector:
        connector.send_text("about to fail")
        _ = 1 / 0
    assert CLOSE not in peer.received


def test_on_message_that_raises_ends_the_connection_with_its_error() -> None:
    def raise_it(message_id: int, message: MessageBlock) -> None:
        raise KeyError("mine")

    with ScriptedPeer([("send", IMAGE), ("drain",)]) as peer:
        connector = connected(peer, on_message=raise_it)
        with pytest.raises(KeyError, match="mine"):
            connector.wait(GUARD_S)


def test_on_message_cannot_wait_for_the_end() -> None:
    with ScriptedPeer([("send", IMAGE), ("drain",)]) as peer:
        connector = GadgetronConnector(on_message=lambda _id, _message: connector.wait())
        connector.open(peer.host, peer.port)
        with pytest.raises(ConfigurationError, match="cannot wait"):
            connector.wait(GUARD_S)


def test_a_message_that_cannot_be_written_ends_the_connection_with_its_error() -> None:
    broken = acquisition()
    objects(broken)[0].active_channels = 9
    error = outcome([("drain",)], broken)
    assert isinstance(error, MalformedMessageError)
    assert "active_channels" in str(error)


def test_what_no_writer_takes_is_refused_at_once() -> None:
    with ScriptedPeer([("recv_until", CLOSE), ("send", CLOSE)]) as peer, connected(peer) as connector:
        with pytest.raises(ConfigurationError, match="no writer is registered for .*dict"):
            connector.putq(make_message({}))
        with pytest.raises(ConfigurationError, match="message id 4711"):
            connector.putq(make_message(GadgetMessageIdentifier(4711), "x"))
        with pytest.raises(ConfigurationError, match="nothing behind"):
            connector.putq(make_message(GadgetMessageIdentifier(1008)))
        with pytest.raises(MalformedMessageError, match="int: no item"):
            connector.putq(5)


def test_nothing_follows_close() -> None:
    with ScriptedPeer([("recv", 2), ("send", CLOSE), ("drain",)]) as peer, connected(peer) as connector:
        connector.putq(make_message(GadgetMessageIdentifier(4)))
        with pytest.raises(QueueClosed, match="CLOSE has been sent"):
            connector.putq(acquisition())
        connector.send_close()
    assert peer.received == CLOSE


def test_a_connector_that_is_not_open_says_so() -> None:
    connector = GadgetronConnector()
    for use in (connector.send_close, connector.wait, lambda: list(connector), lambda: connector.putq(close_message())):
        with pytest.raises(ConnectionLost, match="call open first"):
            use()
    connector.abort()
    connector.close()
    assert "closed" in repr(connector)


def test_a_connector_is_opened_once() -> None:
    steps: list[Step] = [("recv", 2), ("send", CLOSE)]
    with ScriptedPeer(steps) as peer, connected(peer) as connector, pytest.raises(ConfigurationError, match="already"):
        connector.open(peer.host, peer.port)


@pytest.mark.parametrize("name", ["x" * 1024, "a\0b"])
def test_configuration_names_that_do_not_fit_are_refused(name: str) -> None:
    with ScriptedPeer([("recv", 2), ("send", CLOSE)]) as peer, connected(peer) as connector:
        with pytest.raises(ConfigurationError, match="configuration's name"):
            connector.send_gadgetron_configuration_file(name)
        with pytest.raises(LimitExceeded, match="configuration bytes"):
            connector.send_gadgetron_configuration_script(b" " * (LIMITS.max_config_bytes + 1))


def test_queries_are_answered_by_their_numbers() -> None:
    def response(number: int, answer: bytes) -> bytes:
        return struct.pack("<HQQ", 7, number, len(answer)) + answer

    query_bytes = 2 + 8 + 8 + 8 + 2
    steps: list[Step] = [
        ("recv", query_bytes),
        ("send", response(99, b"-") + response(1, b"5.0")),
        ("recv", query_bytes),
    ]
    with ScriptedPeer([*steps, ("close",)]) as peer:
        connector = connected(peer)
        assert connector.query(b"v?", GUARD_S) == "5.0"
        with pytest.raises(ConnectionLost):
            connector.query("w?", GUARD_S)
        with pytest.raises(ConnectionLost):
            connector.query("x?", GUARD_S)
        connector.abort()
    assert peer.received[:query_bytes] == struct.pack("<HQQQ", 6, 0, 1, 2) + b"v?"


def test_a_query_without_an_answer_ends() -> None:
    with ScriptedPeer([("drain",)]) as peer:
        connector = connected(peer)
        with pytest.raises(PeerTimeout, match="no answer to the query"):
            connector.query("x", 0.05)
        connector.abort()


def test_more_results_than_may_wait_are_an_error_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gadgetron.connector.connector.FULL_INBOX_CHECK_S", 0.05)
    with ScriptedPeer([("recv", 2), ("send", 50 * IMAGE + CLOSE), ("drain",)]) as peer:
        connector = connected(peer, max_received_bytes=4 * len(IMAGE))
        with pytest.raises(GadgetronError, match="iterate over the connector"):
            connector.wait(GUARD_S)
        assert len(list(connector)) == 50


class LineReader(GadgetMessageReader):
    slot = 3000

    def read(self, stream: ByteStream) -> MessageBlock:
        return make_message(bytes(stream.read_exactly(3)).decode())


class LineWriter(GadgetMessageWriter):
    slot = 3000
    accepts = ((str,),)

    def write(self, stream: ByteStream, message: MessageBlock) -> None:
        stream.write(struct.pack("<H", 3000), objects(message)[0].encode())


def test_registered_readers_and_writers_are_used() -> None:
    with ScriptedPeer([("recv", 12), ("send", struct.pack("<H", 3001) + b"abc" + CLOSE), ("drain",)]) as peer:
        connector = GadgetronConnector()
        connector.register_reader(3001, LineReader())
        connector.register_writer(3000, LineWriter())
        connector.open(peer.host, peer.port)
        connector.putq(make_message("xyz"))
        connector.putq(make_message(GadgetMessageIdentifier(3000), "uvw"))
        connector.send_close()
        assert [(message_id, objects(message)) for message_id, message in connector] == [(3001, ["abc"])]
    assert peer.received == b"\xb8\x0bxyz\xb8\x0buvw" + CLOSE


def test_items_of_the_ismrmrd_package_become_messages() -> None:
    data = np.arange(6, dtype=np.complex64).reshape(2, 3)
    trajectory = np.zeros((3, 2), np.float32)
    item = ismrmrd.Acquisition.from_array(data, trajectory, scan_counter=7)
    message = as_message(item)
    item.data[:] = 0
    header, samples, coordinates = objects(message)
    assert header.scan_counter == 7
    assert np.array_equal(samples, data)
    assert coordinates.shape == (3, 2)
    assert len(objects(as_message(ismrmrd.Acquisition.from_array(data)))) == 2
    waveform_message = as_message(ismrmrd.Waveform.from_array(np.ones((1, 4), np.uint32)))
    assert objects(waveform_message)[1].dtype == np.uint32
    assert objects(as_message((header, data, None)))[1] is data
    parameters = config_message("x")
    assert as_message(parameters) is parameters


def test_what_is_no_image_makes_no_image() -> None:
    assert as_image(acquisition()) is None
    assert as_image(make_message(ismrmrd.ImageHeader())) is None
    found = as_image(image(meta=ismrmrd.Meta({"a": "b"})))
    assert found is not None
    assert found.meta == {"a": "b"}
    assert "series 2, index 5" in repr(found)
    assert np.array(found, np.float64, copy=True) is not found.data
