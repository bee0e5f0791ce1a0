"""Whole sessions of the framed protocol, by a client that shares no line with ours, on real sockets."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gadgetron.limits import LIMITS
from gadgetron.protocol.detection import Protocols
from tests import framed_client as framed
from tests import raw_client as raw
from tests.framed_client import FramedClient, exchange, exchange_bytes
from tests.misbehaving import chain
from tests.servers import InProcessServer

XML = framed.xml_header(raw.SMALL_HEADER)
FORMS = "acquisition, waveform, image, blob"


def stream_configuration(*components: str) -> bytes:
    return (
        '<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">'
        f"{''.join(components)}</gadgetronStreamConfiguration>"
    ).encode()


def component(kind: str, classname: str, slot: int) -> str:
    return f"<{kind}><slot>{slot}</slot><dll></dll><classname>{classname}</classname></{kind}>"


EVERYTHING_BACK = stream_configuration(
    component("writer", "readers_writers.acquisition.AcquisitionWriter", 1008),
    component("writer", "readers_writers.waveform.WaveformWriter", 1026),
    component("writer", "readers_writers.image.MRIImageWriter", 1022),
    component("writer", "readers_writers.dicom.DicomImageWriter", 1018),
)
SIMULATION = stream_configuration(
    component("writer", "readers_writers.image.MRIImageWriter", 1022),
    "<gadget><name>s</name><dll></dll><classname>tests.protocol.gadgets.Simulation</classname></gadget>",
)
CALIBRATION = stream_configuration(
    "<gadget><name>c</name><dll></dll><classname>tests.protocol.gadgets.Calibration</classname></gadget>",
)
SERIES = stream_configuration(
    component("writer", "readers_writers.image.MRIImageWriter", 1022),
    "<gadget><name>s</name><dll></dll><classname>tests.protocol.gadgets.Series</classname></gadget>",
)


# The session of the diagram


def test_the_session_of_the_diagram(server: InProcessServer) -> None:
    with FramedClient(server.port) as client:
        client.send(framed.handshake([(0, framed.ACQUISITION, framed.FLOAT)], b"scanner"))
        answer = client.read()
        assert (answer.entity_type, answer.status) == (framed.HANDSHAKE, framed.ACCEPTED)
        assert answer.stream >= 65_536
        assert b"scanner" in answer.body
        client.send(framed.config_file(b"default.xml"), XML, *framed.image_slice(), *framed.image_slice(repetition=1))
        first = client.read()  # before STOP: nothing waits for the end
        assert first.entity_type == framed.IMAGE
        client.send(framed.stop())
        reply = client.read_reply()
    assert reply.types == [framed.IMAGE, framed.COMMAND]
    assert reply.entities[-1].command_type == framed.DONE
    assert reply.entities[-1].stream >= 65_536
    summary = server.wait_for_summaries(1)[0]
    assert (summary["received"], summary["written"], summary["error"]) == (16, 2, None)


def test_the_same_scan_gives_the_same_images_through_both_protocols(server: InProcessServer) -> None:
    classic = raw.exchange(
        server.port,
        raw.config_file("default.xml"),
        raw.header(),
        raw.image_slice(),
        raw.image_slice(repetition=1),
        raw.close(),
    )
    readouts = [*framed.image_slice(), *framed.image_slice(repetition=1)]
    entities = exchange(
        server.port, framed.handshake(), framed.config_file(b"default.xml"), XML, *readouts, framed.stop()
    )
    assert classic.is_complete
    assert entities.is_complete
    images = [body for message_id, body in classic.messages if message_id == raw.IMAGE]
    pixels = [body[206 + struct.unpack_from("<Q", body, 198)[0] :] for body in images]
    assert len(pixels) == 2
    assert [image.pixels for image in entities.of(framed.IMAGE)] == pixels


def test_entities_of_every_data_type_go_through_a_chain(server: InProcessServer) -> None:
    pixels = np.arange(6, dtype="<u2").tobytes()
    reply = exchange(
        server.port,
        framed.handshake(),
        framed.config_script(EVERYTHING_BACK),
        XML,
        framed.acquisition(1, 4, 2),
        framed.waveform([1, 2, 3], stream=3),
        framed.image(pixels, (1, 1, 2, 3), framed.USHORT, stream=4),
        framed.blob(b"a name", b"data", stream=9),
        framed.acquisition(2, 4, 2),
        framed.stop(),
    )
    assert reply.is_complete
    kinds = [framed.ACQUISITION, framed.WAVEFORM, framed.IMAGE, framed.BLOB, framed.ACQUISITION]
    assert reply.types == [framed.HANDSHAKE, *kinds, framed.COMMAND]
    sent, back = framed.acquisition(1, 4, 2), reply.of(framed.ACQUISITION)[0]
    assert back.body == sent[16:]
    assert reply.of(framed.IMAGE)[0].body == framed.image(pixels, (1, 1, 2, 3), framed.USHORT)[16:]
    assert reply.of(framed.BLOB)[0].body == framed.blob(b"a name", b"data")[16:]
    assert reply.of(framed.WAVEFORM)[0].body[-24:] == struct.pack("<3d", 1, 2, 3)


@pytest.mark.parametrize("storage", [framed.SHORT, framed.INT, framed.DOUBLE, framed.CXFLOAT, framed.CXDOUBLE])
def test_readouts_of_every_storage_type_are_reconstructed_alike(server: InProcessServer, storage: int) -> None:
    start = (framed.config_file(b"default.xml"), XML)
    floats = exchange(server.port, framed.handshake(), *start, *framed.image_slice(), framed.stop())
    others = exchange(server.port, framed.handshake(), *start, *framed.image_slice(storage=storage), framed.stop())
    assert floats.is_complete
    assert others.is_complete
    assert others.of(framed.IMAGE)[0].pixels == floats.of(framed.IMAGE)[0].pixels


def test_several_series_have_streams_of_their_own(server: InProcessServer) -> None:
    start = (framed.handshake(), framed.config_script(SERIES), XML)
    reply = exchange(server.port, *start, framed.acquisition(1), framed.acquisition(2), framed.stop())
    assert reply.is_complete
    series = [struct.unpack_from("<I", image.body, 148)[0] for image in reply.of(framed.IMAGE)]
    assert series == [5, 1, 5, 1]
    assert [image.stream for image in reply.of(framed.IMAGE)] == [2, 3, 2, 3]


def test_a_simulation_receives_and_sends_nothing(server: InProcessServer) -> None:
    reply = exchange(server.port, framed.handshake(), framed.config_script(SIMULATION), framed.stop())
    assert reply.is_complete
    assert reply.types == [framed.HANDSHAKE, framed.IMAGE, framed.IMAGE, framed.COMMAND]


def test_a_calibration_sends_and_receives_nothing(server: InProcessServer) -> None:
    readouts = [framed.acquisition(number) for number in range(100)]
    reply = exchange(server.port, framed.handshake(), framed.config_script(CALIBRATION), XML, *readouts, framed.stop())
    assert reply.types == [framed.HANDSHAKE, framed.COMMAND]
    assert server.wait_for_summaries(1)[0]["received"] == 100


def test_a_calibration_may_hang_up_without_reading(server: InProcessServer) -> None:
    with FramedClient(server.port) as client:
        client.send(framed.handshake(), framed.config_script(CALIBRATION), XML)
        client.send(*[framed.acquisition(number) for number in range(20)], framed.stop())
        client.send(framed.command(framed.CLOSE_CONNECTION))
    summary = server.wait_for_summaries(1)[0]
    assert summary["received"] == 20
    assert summary["gadgets"]["c"]["in"] == 20


def test_end_of_input_on_a_boundary_counts_as_stop(server: InProcessServer) -> None:
    with FramedClient(server.port) as client:
        client.send(framed.handshake(), framed.config_file(b"default.xml"), XML, *framed.image_slice())
        client.socket.shutdown(1)
        assert client.read_reply().is_complete


def test_close_connection_ends_like_stop(server: InProcessServer) -> None:
    start = (framed.handshake(), framed.config_file(b"default.xml"), XML)
    reply = exchange(server.port, *start, *framed.image_slice(), framed.command(framed.CLOSE_CONNECTION))
    assert reply.is_complete
    assert len(reply.of(framed.IMAGE)) == 1


def test_nothing_is_read_after_stop(server: InProcessServer) -> None:
    start = (framed.handshake(), framed.config_file(b"pass_through.xml"), XML, framed.acquisition(1), framed.stop())
    assert exchange_bytes(server.port, b"".join(map(framed.frame, start)) + b"\xff" * 100).is_complete


# Configuration


@pytest.mark.parametrize("first", ["header", "none", "recon float"])
def test_who_sends_no_configuration_gets_the_default_chain(server: InProcessServer, first: str) -> None:
    commands = {
        "header": [],
        "none": [framed.command(framed.CONFIGURATION, 700)],
        "recon float": [framed.command(framed.CONFIGURATION, 705)],
    }
    reply = exchange(server.port, framed.handshake(), *commands[first], XML, *framed.image_slice(), framed.stop())
    assert reply.is_complete
    assert len(reply.of(framed.IMAGE)) == 1
    assert server.wait_for_summaries(1)[0]["configuration"] == "default.xml"


def test_gadgetron_xml_names_another_default(server: InProcessServer) -> None:
    server.environment.default_configuration = "pass_through.xml"
    reply = exchange(server.port, framed.handshake(), framed.acquisition(7), framed.stop())
    assert reply.is_complete
    assert reply.types == [framed.HANDSHAKE, framed.ACQUISITION, framed.COMMAND]


def test_data_before_parameters_is_refused_where_gadgets_need_them(server: InProcessServer) -> None:
    report = exchange(server.port, framed.handshake(), framed.acquisition(1)).error
    assert report[:4] == (20_001, 1000, 0, framed.ACQUISITION)
    assert "send parameters (an ISMRMRD header) first" in report[4]


@pytest.mark.parametrize(
    ("kind", "classname", "slot"),
    [
        ("writer", "readers_writers.dependency_query.DependencyQueryWriter", 1019),
        ("writer", "readers_writers.text.TextWriter", 2005),
        ("reader", "readers_writers.dependency_query.DependencyQueryReader", 1019),
        ("reader", "tests.misbehaving.BadReader", 2000),
    ],
)
def test_a_slot_without_an_entity_form_is_refused_by_name(
    server: InProcessServer, kind: str, classname: str, slot: int
) -> None:
    script = stream_configuration(component(kind, classname, slot))
    report = exchange(server.port, framed.handshake(), framed.config_script(script)).error
    assert report[:4] == (20_001, framed.CONFIGURATION, 0, framed.COMMAND)
    assert f"{classname.rsplit('.', 1)[-1]} (slot {slot})" in report[4]
    assert FORMS in report[4]


def test_a_configuration_that_is_not_there_is_told_with_its_command(server: InProcessServer) -> None:
    report = exchange(server.port, framed.handshake(), framed.config_file(b"no_such.xml", command_id=17)).error
    assert report[:4] == (20_001, framed.CONFIGURATION, 17, framed.COMMAND)
    assert "no_such.xml" in report[4]


def test_a_gadget_that_fails_is_told_as_an_internal_error(server: InProcessServer) -> None:
    script = chain(("Failing", {"at": 2}))
    readouts = [framed.acquisition(number) for number in range(5)]
    reply = exchange(server.port, framed.handshake(), framed.config_script(script), XML, *readouts, framed.stop())
    assert reply.error[0] == 20_003
    assert "G0" in reply.error[4]
    assert "as the test wants it" in reply.error[4]


@pytest.mark.parametrize(
    ("entities", "words"),
    [
        ([framed.config_file(b"")], "empty"),
        ([framed.config_file(b"\xff\xfe")], "UTF-8"),
        ([framed.config_file(b"../etc/passwd")], "configuration"),
        ([framed.config_script(b"<a/>")], "root"),
        ([framed.command(framed.CONFIGURATION, 707)], "config_type is 707"),
        ([framed.config_file(b"pass_through.xml"), framed.config_file(b"pass_through.xml")], "configured already"),
        ([framed.command(framed.DONE)], r"DONE (1002)"),
        ([framed.command(2001)], "USER_DEFINED_1 (2001)"),
        ([framed.command(3000)], "command_type is 3000"),
        ([framed.handshake()], "HANDSHAKE (0) again"),
        ([framed.error(b"out of helium")], "out of helium"),
        ([framed.config_file(b"pass_through.xml"), XML, framed.acquisition(line=70_000)], "kspace_encode_step_1"),
        ([framed.config_file(b"pass_through.xml"), XML, framed.waveform([0.5])], "waveform sample 0"),
    ],
)
def test_what_cannot_be_done_is_told(server: InProcessServer, entities: Sequence[bytes], words: str) -> None:
    report = exchange(server.port, framed.handshake(), *entities).error
    assert words in report[4]
    server.wait_for_summaries(1)
    assert len(server.records.of("session.failed")) == 1
    assert not server.records.of_level("error")


def test_a_command_without_meaning_does_no_harm(server: InProcessServer) -> None:
    assert exchange(server.port, framed.handshake(), framed.command(1000), framed.stop()).is_complete


# Streams


def test_a_stream_that_changes_its_type_is_an_error_that_says_all(server: InProcessServer) -> None:
    start = (framed.handshake(), framed.config_file(b"pass_through.xml"), XML)
    report = exchange(server.port, *start, framed.acquisition(stream=7), framed.waveform([1], stream=7)).error
    assert report[0] == 20_002
    assert report[3] == framed.WAVEFORM
    assert "stream 7 has carried ACQUISITION (2) — expected that, WAVEFORM (3) came" in report[4]


def test_a_stream_that_breaks_the_manifest_is_an_error(server: InProcessServer) -> None:
    start = (framed.handshake([(7, framed.ACQUISITION, framed.SHORT)]), framed.config_file(b"pass_through.xml"), XML)
    report = exchange(server.port, *start, framed.acquisition(stream=7)).error
    assert report[0] == 20_002
    assert "stream 7 was declared for ACQUISITION (2), SHORT (2)" in report[4]


def test_the_later_numbers_of_streams_are_understood(server: InProcessServer) -> None:
    entities = [
        framed.handshake([(5002, framed.ACQUISITION, framed.FLOAT), (6004, framed.IMAGE, framed.FLOAT)], stream=0),
        framed.config_file(b"default.xml", stream=1),
        framed.xml_header(raw.SMALL_HEADER, stream=50),
        *framed.image_slice(stream=5002),
        framed.stop(stream=1),
    ]
    reply = exchange(server.port, *entities)
    assert reply.is_complete
    assert [image.stream for image in reply.of(framed.IMAGE)] == [6004]


# The handshake


def denied(server: InProcessServer, *entities: bytes) -> tuple[int, tuple[int, int, int, int, str]]:
    reply = exchange(server.port, *entities)
    assert reply.types == [framed.HANDSHAKE, framed.ERROR, framed.COMMAND]
    return reply.entities[0].status, reply.error


def test_a_manifest_error_denies(server: InProcessServer) -> None:
    status, report = denied(server, framed.handshake([(3, framed.IMAGE, 11)]))
    assert status == framed.MANIFEST_ERROR
    assert report[0] == 20_002
    assert "stream 3" in report[4]


def test_an_unknown_user_is_denied(server: InProcessServer) -> None:
    server.environment.known_clients = ("scanner 1",)
    status, report = denied(server, framed.handshake(name=b"scanner 2"))
    assert status == framed.UNKNOWN_USER
    assert "scanner 2" in report[4]
    assert exchange(server.port, framed.handshake(name=b"scanner 1"), framed.stop()).is_complete


def test_a_busy_server_denies() -> None:
    with InProcessServer(max_sessions=1) as server, FramedClient(server.port) as first:
        first.send(framed.handshake(), framed.config_file(b"pass_through.xml"))
        server.records.wait_for("session.configured")
        status, report = denied(server, framed.handshake())
        assert status == framed.BUSY
        assert "1 reconstructions are running" in report[4]
        first.send(framed.stop())
        assert first.read_reply().is_complete


def test_one_connection_too_many_is_denied_in_its_own_protocol() -> None:
    with InProcessServer(max_connections=1) as server, FramedClient(server.port) as first:
        server.records.wait_for("connection.accepted")
        status, report = denied(server, framed.handshake())
        assert status == framed.BUSY
        assert "too many connections" in report[4]
        first.send(framed.handshake(), framed.stop())
        assert first.read_reply().is_complete


@pytest.mark.parametrize("status", [framed.ACCEPTED, framed.BUSY, 0, 2**32 - 1])
def test_a_handshake_that_is_no_request_is_an_error(server: InProcessServer, status: int) -> None:
    assert f"connection status is {status}" in exchange(server.port, framed.handshake(status=status)).error[4]


def test_a_session_that_begins_with_something_else_is_an_error(server: InProcessServer) -> None:
    report = exchange(server.port, framed.config_file(b"default.xml")).error
    assert report[3] == framed.COMMAND
    assert "a session begins with a handshake" in report[4]


def test_the_answer_repeats_name_time_and_manifest(server: InProcessServer) -> None:
    sent = framed.handshake([(3, framed.IMAGE, framed.SHORT)], b"n\xc3\xa4me")
    answer = exchange(server.port, sent, framed.stop()).entities[0]
    assert answer.body[:8] + answer.body[12:] == sent[16:24] + sent[28:]


@pytest.mark.parametrize("storage", [framed.CHAR, framed.NOT_APPLICABLE])
def test_control_entities_have_the_storage_type_that_the_client_gives_its_own(
    server: InProcessServer, storage: int
) -> None:
    reply = exchange(server.port, framed.handshake(storage=storage), framed.stop())
    assert [one.storage for one in reply.entities] == [storage, storage]


@pytest.mark.slow
def test_only_the_handshake_has_a_deadline() -> None:
    with InProcessServer(handshake_deadline_s=0.3, header_deadline_s=0.1) as server:
        with FramedClient(server.port) as silent:
            assert "ERROR" in silent.socket.recv(1 << 16).decode(errors="replace")
        with FramedClient(server.port) as slow:
            slow.socket.sendall(framed.frame(framed.handshake())[:20])
            assert slow.read_reply().error[4]
        with FramedClient(server.port) as patient:
            patient.send(framed.handshake())
            patient.read()
            server.wait_for_summaries(2)
            patient.send(framed.config_file(b"pass_through.xml"))
            with FramedClient(server.port) as clock:  # its deadline passes while the other one has none
                clock.read_reply()
            patient.send(XML, framed.acquisition(1), framed.stop())
            assert patient.read_reply().types == [framed.ACQUISITION, framed.COMMAND]


@pytest.mark.slow
def test_who_sends_everything_before_reading_anything_gets_everything() -> None:
    with (
        InProcessServer(writer_queue_bytes=64 * 1024) as server,
        FramedClient(server.port, receive_buffer=4096) as client,
    ):
        client.send(framed.handshake(), framed.config_file(b"pass_through.xml"), XML)
        for number in range(100):
            client.send(framed.acquisition(number, 1024, 16), framed.waveform([number]))
        client.send(framed.stop())
        server.records.wait_for("output.spilling")
        reply = client.read_reply()
        assert reply.is_complete
        counters = [struct.unpack_from("<I", one.body, 16)[0] for one in reply.of(framed.ACQUISITION)]
        assert counters == list(range(100))
        assert len(reply.of(framed.WAVEFORM)) == 100


@pytest.mark.slow
def test_a_frame_that_is_not_completed_has_a_deadline() -> None:
    with InProcessServer(frame_deadline_s=0.2) as server, FramedClient(server.port) as client:
        client.send(framed.handshake(), framed.config_file(b"pass_through.xml"), XML)
        client.socket.sendall(framed.frame(framed.acquisition())[:100])
        assert "did not complete" in client.read_reply().error[4]


# One port


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 7, 8, 9, 40])
def test_a_size_that_arrives_in_pieces_is_recognized(server: InProcessServer, n_bytes: int) -> None:
    session = framed.frame(framed.handshake()) + framed.frame(framed.stop())
    with FramedClient(server.port) as client:
        for start in range(0, 60, n_bytes):
            client.socket.sendall(session[start : min(start + n_bytes, 60)])
        client.socket.sendall(session[60:])
        assert client.read_reply().is_complete


@pytest.mark.parametrize("first", [0, *range(9, 36)])
def test_a_first_number_of_neither_protocol_is_unknown_at_once(server: InProcessServer, first: int) -> None:
    with raw.RawClient(server.port) as client:
        client.send(struct.pack("<H", first))  # and nothing more
        assert f"unknown message id {first}" in client.read_reply().error


@pytest.mark.parametrize("size", [36, 47, 1008, 65_535])
def test_a_size_from_36_to_65535_is_a_handshake(server: InProcessServer, size: int) -> None:
    name_bytes = min(size - 36, LIMITS.max_client_name_bytes)
    rest = size - 36 - name_bytes
    manifest = [(number, framed.BLOB, 0) for number in range(rest // 12)]
    handshake = framed.handshake(manifest, b"x" * name_bytes)
    if len(handshake) == size and len(manifest) <= LIMITS.max_manifest_entries:
        assert exchange(server.port, handshake, framed.stop()).is_complete
    else:
        padded = handshake.ljust(size, b"\0")
        assert exchange(server.port, padded[:size]).error[0] == 20_001


@pytest.mark.parametrize("size", [65_536, 65_572, 2**32 + 36, 2**63 + 36])
def test_a_larger_size_is_no_handshake(server: InProcessServer, size: int) -> None:
    with raw.RawClient(server.port) as client:
        client.send(struct.pack("<Q", size))
        assert "unknown message id" in client.read_reply().error


@pytest.mark.parametrize("protocols", list(Protocols))
def test_a_port_can_be_restricted_to_one_protocol(server: InProcessServer, protocols: Protocols) -> None:
    server.acceptor.protocols = protocols
    classic = raw.exchange(server.port, raw.config_file("pass_through.xml"), raw.header(), raw.close())
    entities = exchange(server.port, framed.handshake(), framed.stop())
    if protocols is Protocols.ENTITY:
        assert classic.error == "this port serves the entity protocol only"
    else:
        assert classic.is_complete
    if protocols is Protocols.CLASSIC:
        assert entities.error[4] == "this port serves the classic protocol only"
    else:
        assert entities.is_complete


# The later C++ branch


def mrid(*entities: bytes) -> bytes:
    return b"".join(map(framed.mrid_frame, entities))


def cpp_session(header: bytes, config_type: int = 705) -> bytes:
    """What the 2.x branch's example client sends, in its order and on its streams."""
    manifest = [
        *((5000 + number, framed.ACQUISITION, storage) for number, storage in enumerate((2, 4, 7, 8))),
        (50, framed.XML_HEADER, framed.NOT_APPLICABLE),
        *((6000 + number, framed.IMAGE, storage) for number, storage in enumerate((2, 1, 4, 3, 7, 8, 9, 10))),
        (10_000, framed.BLOB, framed.NOT_APPLICABLE),
    ]
    return mrid(
        framed.handshake(manifest, b"Client 1", stream=0),
        framed.command(framed.CONFIGURATION, config_type, stream=1),
        framed.xml_header(header, stream=50),
        *framed.image_slice(stream=5002),
        framed.stop(stream=1),
    )


def test_the_cpp_client_gets_its_image_on_the_stream_it_listens_to(server: InProcessServer) -> None:
    reply = exchange_bytes(server.port, cpp_session(raw.SMALL_HEADER))
    assert reply.is_complete
    assert [one.entity_type for one in reply.entities] == [framed.HANDSHAKE, framed.IMAGE, framed.COMMAND]
    assert [one.stream for one in reply.entities] == [0, 6004, 1]
    assert reply.data[8:12] == b"MRID"
    assert reply.data.count(b"MRID") == 3


def test_the_cpp_client_is_told_of_errors_where_it_listens(server: InProcessServer) -> None:
    data = cpp_session(b"<a/>")
    reply = exchange_bytes(server.port, data)
    assert reply.error[0] in (20_001, 20_003)
    assert [one.stream for one in reply.entities] == [0, 2, 1]


def test_an_xml_header_with_the_copy_of_the_entity_header_is_understood(server: InProcessServer) -> None:
    xml = framed.xml_header(raw.SMALL_HEADER, stream=50)
    data = mrid(framed.handshake(stream=0), framed.config_file(b"default.xml", stream=1))
    data += framed.frame(b"MRID" + xml[:16] + xml) + mrid(*framed.image_slice(stream=5002), framed.stop(stream=1))
    assert exchange_bytes(server.port, data).is_complete


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:8] + b"MRIX" + frame[12:],
        lambda frame: frame[:12] + struct.pack("<I", 3) + frame[16:],
        lambda frame: frame[:28] + struct.pack("<I", 3) + frame[32:],
        lambda frame: struct.pack("<Q", 36) + frame[8:44],
    ],
    ids=["magic", "version", "copy", "size"],
)
def test_spoilt_heads_are_errors(server: InProcessServer, spoil: Callable[[bytes], bytes]) -> None:
    assert exchange_bytes(server.port, spoil(framed.mrid_frame(framed.handshake(stream=0)))).error[0] == 20_001
