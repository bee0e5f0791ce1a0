"""The connector and the command line client speak the framed protocol, and give what the classic one gives."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ismrmrd import AcquisitionHeader

from gadgetron import GadgetronConnector, make_message
from gadgetron.cli.client import main
from gadgetron.cli.phantom import main as make_phantom
from gadgetron.conversion import as_image
from gadgetron.errors import (
    ConfigurationError,
    ConnectionLost,
    GadgetronError,
    LimitExceeded,
    MalformedMessageError,
    ManifestError,
    PeerTimeout,
    ProtocolError,
    RemoteError,
    UnexpectedMessageError,
)
from gadgetron.message import GadgetMessageIdentifier, MessageBlock, blocks
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.protocol.detection import Protocols
from gadgetron.testing import ScriptedPeer, ServerProcess
from tests import framed_client as framed
from tests import raw_client as raw
from tests.misbehaving import chain
from tests.protocol.test_entity_messages import MESSAGES
from tests.protocol.test_entity_sessions import EVERYTHING_BACK
from tests.servers import InProcessServer

REQUEST_BYTES = 8 + 16 + 20 + len(b"gadgetron") + 3 * 12
ACCEPTED = framed.frame(framed.handshake(status=framed.ACCEPTED))
DONE = framed.frame(framed.command(framed.DONE))
STOP_BYTES = len(framed.frame(framed.stop()))


def readout(counter: int = 1) -> MessageBlock:
    header = AcquisitionHeader()
    header.version, header.scan_counter = 1, counter
    header.number_of_samples, header.active_channels = 4, 2
    return make_message(header, np.full((2, 4), counter, np.complex64))


def content(message: MessageBlock) -> list[Any]:
    found = []
    for block in blocks(message):
        obj = block.object  # type: ignore[attr-defined]  # all of them are containers
        found.append((obj.dtype, obj.tolist()) if isinstance(obj, np.ndarray) else obj)
    return [bytes(obj) if hasattr(obj, "_fields_") else obj for obj in found]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    assert make_phantom(["--output", str(path), "--matrix", "64", "--coils", "4", "--repetitions", "3"]) == 0
    return path


def test_every_message_comes_back_through_a_chain(server: InProcessServer) -> None:
    sent = list(MESSAGES.values())
    connector = GadgetronConnector(protocol="entity")
    with connector.open("localhost", server.port):
        connector.send_gadgetron_configuration_script(EVERYTHING_BACK)
        connector.send_gadgetron_parameters(raw.SMALL_HEADER)
        connector.put_many(sent)
        connector.send_close()
        back = list(connector)
    assert [content(message) for _, message in back] == [content(message) for message in sent]
    assert [message_id for message_id, _ in back[:4]] == [1008, 1008, 1026, 1018]
    assert {message_id for message_id, _ in back[4:]} == {1022}


def images(server: InProcessServer, protocol: str) -> list[Any]:
    connector = GadgetronConnector(protocol=protocol)
    found = []
    with connector.open("localhost", server.port):
        connector.send_gadgetron_configuration_file("default.xml")
        connector.send_gadgetron_parameters(raw.SMALL_HEADER)
        for line in range(8):
            header = AcquisitionHeader()
            header.version, header.number_of_samples, header.active_channels = 1, 16, 2
            header.center_sample, header.idx.kspace_encode_step_1 = 8, line
            samples = np.random.default_rng(line).normal(size=(2, 32)).astype(np.float32).view(np.complex64)
            connector.putq(make_message(header, samples))
        connector.send_close()
        for message_id, message in connector:
            image = as_image(message, message_id)
            assert image is not None
            found.append((bytes(image.header), image.data.tobytes(), dict(image.meta)))
    return found


def test_images_are_the_same_through_both_protocols(server: InProcessServer) -> None:
    assert images(server, "entity") == images(server, "classic")


def test_a_failure_of_the_chain_is_raised(server: InProcessServer) -> None:
    connector = GadgetronConnector(protocol="entity")
    connector.open("localhost", server.port)
    connector.send_gadgetron_configuration_script(chain(("Failing", {"at": 2})))
    connector.send_gadgetron_parameters(raw.SMALL_HEADER)
    with pytest.raises(RemoteError, match="gadget G0"):
        for counter in range(10_000):
            connector.putq(readout(counter))
        connector.wait()
    connector.abort()


def test_a_denial_is_raised_with_its_reason(server: InProcessServer) -> None:
    server.environment.known_clients = ("somebody else",)
    with pytest.raises(RemoteError, match=r"denied: unknown user: no client called 'gadgetron' is served"):
        GadgetronConnector(protocol="entity").open("localhost", server.port)


def test_a_port_that_is_classic_only_says_so(server: InProcessServer) -> None:
    server.acceptor.protocols = Protocols.CLASSIC
    with pytest.raises(RemoteError, match="classic protocol only"):
        GadgetronConnector(protocol="entity").open("localhost", server.port)


def test_what_the_protocol_has_no_form_for_is_refused(server: InProcessServer) -> None:
    connector = GadgetronConnector(protocol="entity")
    with pytest.raises(ConfigurationError, match=r"GadgetMessageReader \(slot 7\)"):
        connector.register_reader(7, GadgetMessageReader())
    with pytest.raises(ConfigurationError, match=r"GadgetMessageWriter \(slot 7\)"):
        connector.register_writer(7, GadgetMessageWriter())
    with connector.open("localhost", server.port):
        with pytest.raises(ProtocolError, match="no queries"):
            connector.query("gadgetron::version")
        with pytest.raises(ProtocolError, match="no texts"):
            connector.send_text("hello")
        with pytest.raises(ConfigurationError, match="NUL"):
            connector.send_gadgetron_configuration_file("a\0b")
        with pytest.raises(ConfigurationError, match="no writer"):
            connector.putq(make_message("text"))
        with pytest.raises(ConfigurationError, match="message id 4711"):
            connector.putq(make_message(GadgetMessageIdentifier(4711), 1))


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected classic or entity"):
        GadgetronConnector(protocol="carrier pigeon")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", ConnectionLost, "hung up instead of answering"),
        (b"\x05\0\0\0\0\0\0\0", MalformedMessageError, "frame_size is 5"),
        (ACCEPTED[:20], ConnectionLost, "inside a message"),
        (DONE, UnexpectedMessageError, "instead of an answer"),
        (framed.frame(framed.error(b"not today")), RemoteError, "not today"),
        (framed.frame(framed.handshake(status=framed.BUSY)), RemoteError, "denied: server busy"),
        (framed.frame(framed.handshake(status=999)), RemoteError, "denied: status 999"),
        (
            framed.frame(framed.handshake(status=302)) + framed.frame(framed.error(b"full")),
            RemoteError,
            "server busy: full",
        ),
    ],
)
def test_a_handshake_that_fails_is_raised_by_open(answer: bytes, error: type[GadgetronError], words: str) -> None:
    steps = [("recv", REQUEST_BYTES), ("send", answer), ("close",)]
    with ScriptedPeer(steps) as peer, pytest.raises(error, match=words):
        GadgetronConnector(protocol="entity").open(peer.host, peer.port)


def test_a_handshake_without_an_answer_has_a_deadline() -> None:
    answered = threading.Event()
    with ScriptedPeer([("recv", REQUEST_BYTES), ("wait", answered)]) as peer:
        with pytest.raises(PeerTimeout):
            GadgetronConnector(protocol="entity").open(peer.host, peer.port, timeout_s=0.1)
        answered.set()


@pytest.mark.parametrize(
    ("results", "error", "words"),
    [
        (b"", ConnectionLost, "without DONE"),
        (DONE[:10], ConnectionLost, "inside a message"),
        (framed.frame(framed.error(b"out of helium")) + DONE, RemoteError, "out of helium"),
        (framed.frame(framed.command(framed.CONFIGURATION)), UnexpectedMessageError, "CONFIGURATION"),
        (ACCEPTED, UnexpectedMessageError, "again"),
        (framed.frame(framed.acquisition(stream=1)), ManifestError, "stream 1 was declared for XML_HEADER"),
        (framed.frame(framed.waveform([0.5], stream=9)), MalformedMessageError, "waveform sample 0"),
        (struct.pack("<Q", 2**63), LimitExceeded, "frame_size"),
    ],
)
def test_what_a_server_does_wrong_is_raised(results: bytes, error: type[GadgetronError], words: str) -> None:
    steps = [("recv", REQUEST_BYTES), ("send", ACCEPTED), ("recv", STOP_BYTES), ("send", results), ("close",)]
    with ScriptedPeer(steps) as peer:
        connector = GadgetronConnector(protocol="entity").open(peer.host, peer.port)
        with pytest.raises(error, match=words):
            connector.close()


def test_done_before_everything_is_sent_is_no_success() -> None:
    with ScriptedPeer([("recv", REQUEST_BYTES), ("send", ACCEPTED + DONE), ("drain",)]) as peer:
        connector = GadgetronConnector(protocol="entity").open(peer.host, peer.port)
        with pytest.raises(ConnectionLost, match="before everything was sent"):
            list(connector)
        connector.abort()


def datasets(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            value = item[()]
            if "measurement_uid" in (value.dtype.names or ()):
                value["measurement_uid"] = 0  # entities have no place for it
            found[name] = repr(value.tolist()).encode() if value.dtype.kind == "O" else value.tobytes()

    with h5py.File(path) as file:
        file.visititems(take)
    return found


@pytest.mark.slow
def test_the_client_program_writes_the_same_file_through_both_protocols(scan: Path, tmp_path: Path) -> None:
    # One message at a time: in batches, as they happen to arrive, a transform may differ in its last bit.
    with InProcessServer(queue_messages=1) as server:
        for protocol in ("classic", "entity"):
            output = tmp_path / f"{protocol}.h5"
            options = ["-o", str(output), "-G", "run", "--protocol", protocol]
            assert main(["-f", str(scan), "-p", str(server.port), *options]) == 0
    classic, entity = (datasets(tmp_path / f"{protocol}.h5") for protocol in ("classic", "entity"))
    assert classic == entity
    assert any(name.endswith("data") for name in classic)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["classic", "entity"])
def test_a_daemon_can_be_restricted(scan: Path, tmp_path: Path, protocol: str) -> None:
    with ServerProcess("--protocol", protocol) as daemon:
        for spoken in ("classic", "entity"):
            output = tmp_path / f"{spoken}.h5"
            status = main(["-f", str(scan), "-p", str(daemon.port), "-o", str(output), "--protocol", spoken])
            assert (status == 0) == (spoken == protocol)


@pytest.mark.parametrize("question", [["-Q", "gadgetron::version"], ["-q"]])
def test_the_client_program_asks_by_the_classic_protocol_only(
    question: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*question, "--protocol", "entity"])
    assert "only the classic protocol has queries" in capsys.readouterr().err
