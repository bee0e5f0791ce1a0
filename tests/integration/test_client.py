"""The client's programs against our server, and against servers that keep to a script."""

from __future__ import annotations

import io
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
from structlog.testing import capture_logs

from gadgetron import GadgetServerAcceptor, reconstruct
from gadgetron.cli import alive, client, query
from gadgetron.cli.progress import Progress, printable
from gadgetron.cli.results import StagedFiles
from gadgetron.configuration.packaged import stock_folder
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.dataset import ScanFile, list_image_groups, load_images
from gadgetron.environment import Environment
from gadgetron.errors import StorageError
from gadgetron.loader import Loader
from gadgetron.message import make_message
from gadgetron.noise_storage import NOISE_PREFIX, store_noise
from gadgetron.phantom import PhantomOptions, write_phantom
from gadgetron.protocol.arrays import IMAGE_DTYPES
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.storage import Storage
from gadgetron.testing.scripted_peer import ScriptedPeer
from gadgetron.toolboxes.noise import NoiseCovariance
from readers_writers.acquisition import AcquisitionWriter
from readers_writers.dicom import DicomImageWriter
from readers_writers.image import MRIImageWriter
from readers_writers.legacy_image import MRIImageWriterCPLX, MRIImageWriterFLOAT, MRIImageWriterUSHORT
from tests.readers_writers.messages import image, meta, objects, written
from tests.reference import GOLDEN_IMAGES, GOLDEN_INPUTS, needs_reference

CLOSE = struct.pack("<H", 4)
ROOT = Path(__file__).resolve().parents[2]


def text(content: str) -> bytes:
    return struct.pack("<HI", 5, len(content)) + content.encode()


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    write_phantom(path, PhantomOptions(matrix=32, n_coils=3, n_repetitions=2))
    return path


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """The port of a server in this process, whose log does not get into what the programs print."""
    environment = Environment(Loader(), ConfigurationSearch(), tmp_path / "work")
    with capture_logs(), GadgetServerAcceptor(environment, port=0) as server:
        yield str(server.port)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "out.h5"


def run(scan: Path, out: Path, port: int | str, *options: str) -> int:
    return client.main(["-a", "127.0.0.1", "-p", str(port), "-f", str(scan), "-o", str(out), *options])


def session_bytes(scan: Path) -> int:
    """How much the client sends for a scan, from the configuration's name to CLOSE."""
    stream = MemoryStream()
    with ScanFile(scan) as file:
        AcquisitionWriter().write_many(stream, list(file.messages()))
        return 2 + 1024 + 2 + 4 + len(file.header_xml) + stream.bytes_written + 2


def run_scripted(scan: Path, out: Path, answer: bytes, *options: str) -> int:
    """Run the client against a server that takes everything and gives this answer."""
    with ScriptedPeer([("recv", session_bytes(scan)), ("send", answer)]) as peer:
        return run(scan, out, peer.port, *options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_images_are_those_that_reconstruct_gives(
    scan: Path, out: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, out, port, "-G", "first") == 0
    assert "2 images received in" in (said := capsys.readouterr()).out
    assert f"{out}, group 'first'" in said.out
    assert said.err == ""
    stored = load_images(out, "first")
    expected = reconstruct(scan, "default.xml")
    for ours, theirs in zip(stored, expected, strict=True):
        assert np.array_equal(ours.data, theirs.data)
        for field in ("image_index", "image_series_index", "repetition", "slice", "data_type"):
            assert getattr(ours.header, field) == getattr(theirs.header, field)


@needs_reference
def test_images_are_those_of_the_c_program(out: Path, port: str) -> None:
    assert run(GOLDEN_INPUTS / "sl96_full.h5", out, port, "-G", "ours") == 0
    ours = load_images(out, "ours")
    theirs = load_images(GOLDEN_IMAGES / "default__sl96_full.h5")
    for a, b in zip(ours, theirs, strict=True):
        assert np.linalg.norm(a.data - b.data) <= 1e-5 * np.linalg.norm(b.data)


def test_runs_never_mix(scan: Path, out: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(scan, out, port) == 0
    assert run(scan, out, port) == 0
    assert run(scan, out, port, "-G", "named") == 0
    assert len(list_image_groups(out)) == 3
    before = out.read_bytes()
    assert run(scan, out, port, "-G", "named") == 1
    assert "group 'named' exists already" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert names(out.parent) == ["out.h5"]


def test_a_local_configuration_is_sent_along(scan: Path, out: Path, port: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.xml"
    mine.write_bytes((stock_folder() / "default.xml").read_bytes())
    assert run(scan, out, port, "-C", str(mine)) == 0
    assert len(load_images(out)) == 2


def test_what_is_wrong_is_said_and_the_exit_status_is_1(
    scan: Path, out: Path, port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scan, out, port, "-c", "defualt.xml") == 1
    assert "the reconstruction failed — 127.0.0.1" in (said := capsys.readouterr().err)
    assert "did you mean default.xml" in said
    assert run(scan, out, port, "-C", str(tmp_path / "gone.xml")) == 1
    assert "gone.xml" in capsys.readouterr().err
    assert run(tmp_path / "gone.h5", out, port) == 1
    assert "gone.h5: no such file" in capsys.readouterr().err
    assert run(scan, tmp_path / "nowhere" / "out.h5", port) == 1
    assert "nowhere" in capsys.readouterr().err
    assert names(out.parent) == []


def test_nothing_listens(scan: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedPeer([]) as peer:
        assert run(scan, out, peer.port) == 1
    assert f"127.0.0.1:{peer.port}: the" in capsys.readouterr().err
    assert run(scan, out, peer.port) == 1
    assert "is gadgetron running?" in capsys.readouterr().err


def test_a_chain_that_makes_nothing(
    scan: Path, out: Path, port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = tmp_path / "silent.xml"
    silent.write_text(
        "<gadgetronStreamConfiguration><reader><slot>1008</slot><dll>gadgetroncore</dll>"
        "<classname>GadgetIsmrmrdAcquisitionMessageReader</classname></reader></gadgetronStreamConfiguration>"
    )
    assert run(scan, out, port, "-C", str(silent)) == 1
    assert "nothing came back: 64 messages were sent through" in capsys.readouterr().err
    assert run(scan, out, port, "-C", str(silent), "--allow-empty") == 0
    assert "64 messages sent, nothing received" in capsys.readouterr().out
    assert names(out.parent) == []


IMAGE = written(MRIImageWriter(), image())


@pytest.mark.parametrize(
    "answer", [text("ERROR gadget FFT: \x1b[2J no"), b"", IMAGE + text("ERROR late"), struct.pack("<H", 99)]
)
def test_after_a_failure_the_output_is_as_it_was(
    scan: Path, out: Path, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_scripted(scan, out, IMAGE + answer) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "\x1b" not in said.err
    assert "was dropped; --keep-partial keeps it" in said.err
    assert names(out.parent) == []


def test_what_came_before_a_failure_can_be_kept(scan: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_scripted(scan, out, 3 * IMAGE + text("ERROR no more"), "--keep-partial") == 1
    assert "(3 images) is in" in (said := capsys.readouterr().err)
    assert "says: no more" in said
    assert len(load_images(out)) == 3


def test_a_server_that_hangs_up_is_a_failure(scan: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedPeer([("recv", 4000), ("reset",)]) as peer:
        assert run(scan, out, peer.port) == 1
    assert f"127.0.0.1:{peer.port}: the connection was lost" in capsys.readouterr().err


def test_what_the_server_says_is_printed_and_cannot_steer_the_terminal(
    scan: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_scripted(scan, out, text("half done \x1b[31m\x07") + IMAGE + CLOSE) == 0
    assert capsys.readouterr().out.startswith("half done \\x1b[31m\\x07\n")


def test_old_image_messages_are_understood(scan: Path, out: Path) -> None:
    with_meta = bytearray(IMAGE)
    with_meta[:2] = struct.pack("<H", 1016)
    answer = (
        written(MRIImageWriterCPLX(legacy_image_messages=True), image(np.complex64))
        + written(MRIImageWriterFLOAT(legacy_image_messages=True), image(np.float32))
        + written(MRIImageWriterUSHORT(legacy_image_messages=True), image(np.uint16))
        + with_meta
    )
    assert run_scripted(scan, out, answer + CLOSE) == 0
    assert [stored.data.dtype.name for stored in load_images(out)] == ["complex64", "float32", "float32", "uint16"]


def test_dicom_files_get_names_of_ours(scan: Path, out: Path) -> None:
    file = make_message(b"DICM one", "../../../etc/passwd", meta(a="b"))
    answer = written(DicomImageWriter(), file) + written(DicomImageWriter(), make_message(b"two", ""))
    assert run_scripted(scan, out, answer + CLOSE, "-G", "a/b") == 0
    assert names(out.parent) == ["a_b_000000.dcm", "a_b_000000_attrib.xml", "a_b_000001.dcm"]
    assert (out.parent / "a_b_000000.dcm").read_bytes() == b"DICM one"
    assert run_scripted(scan, out, answer + CLOSE, "-G", "a/b") == 1
    assert (out.parent / "a_b_000001.dcm").read_bytes() == b"two"


@pytest.mark.parametrize("dtype", IMAGE_DTYPES.values(), ids=str)
def test_analyze_files(scan: Path, out: Path, dtype: np.dtype[Any]) -> None:
    message = image(dtype, meta=meta(a="b"))
    objects(message)[0].field_of_view[:] = (8.0, 6.0, 5.0)
    again = image(dtype)
    answer = written(MRIImageWriter(), message) + written(MRIImageWriter(), again)
    assert run_scripted(scan, out, answer + CLOSE, "-G", "run", "-F", "hdr") == 0
    stem = "run_SLC0_CON0_PHS0_REP0_SET0_AVE0_5_2"
    assert names(out.parent) == [f"{stem}.attrib", f"{stem}.hdr", f"{stem}.img", f"{stem}_1.hdr", f"{stem}_1.img"]
    header = (out.parent / f"{stem}.hdr").read_bytes()
    assert len(header) == 348
    assert struct.unpack_from("<i", header) == (348,)
    assert struct.unpack_from("<5h", header, 40) == (4, 4, 3, 1, 2)
    assert struct.unpack_from("<h", header, 72) == (8 * dtype.itemsize,)
    assert struct.unpack_from("<3f", header, 80) == (2.0, 2.0, 5.0)
    pixels = np.fromfile(out.parent / f"{stem}.img", dtype).reshape(2, 1, 3, 4)
    assert np.array_equal(pixels, objects(message)[1])
    assert ismrmrd.Meta.deserialize((out.parent / f"{stem}.attrib").read_text()) == {"a": "b"}


def test_other_results_are_counted(scan: Path, out: Path, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(scan, out, port, "-c", "pass_through.xml") == 0
    assert "64 messages sent, 64 acquisitions received" in capsys.readouterr().out
    assert names(out.parent) == []


def test_queries(port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gadgetron import __version__

    where = ["-a", "127.0.0.1", "-p", port]
    assert client.main([*where, "-Q", "gadgetron::version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    assert client.main([*where, "-q"]) == 0
    xml = capsys.readouterr().out
    assert "NoiseDependencies" in ismrmrd.Meta.deserialize(xml.encode())
    assert client.main([*where, "-q", "-o", str(tmp_path / "answer.xml")]) == 0
    assert query.main(["-h", "127.0.0.1", "-p", port, "-o", str(tmp_path / "same.xml")]) == 0
    assert (tmp_path / "answer.xml").read_text() == (tmp_path / "same.xml").read_text() == xml.removesuffix("\n")
    assert client.main([*where, "-q", "-c", "isalive.xml"]) == 1
    assert "isalive.xml is no query" in capsys.readouterr().err
    assert query.main(["-h", "127.0.0.1", "-p", port, "-o", str(tmp_path / "no" / "folder")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert client.main([*where, "-q", "-C", "x.xml"]) == 1


def test_a_configuration_without_data_needs_no_scan(
    port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["-a", "127.0.0.1", "-p", port]
    assert client.main([*where, "-c", "NoiseSummary.xml"]) == 0
    assert ismrmrd.Meta.deserialize(capsys.readouterr().out.encode())["status"] == "failed"
    store_noise(
        Storage(tmp_path / "work"), NOISE_PREFIX, "1_2", NoiseCovariance(4 * np.eye(3, dtype=complex), 2.5), b""
    )
    stock = stock_folder() / "NoiseSummary.xml"
    (tmp_path / "mine.xml").write_text(stock.read_text().replace("<value></value>", "<value>1_2</value>"))
    assert client.main([*where, "-C", str(tmp_path / "mine.xml"), "-o", str(tmp_path / "answer.xml")]) == 0
    answer = ismrmrd.Meta.deserialize((tmp_path / "answer.xml").read_bytes())
    assert (answer["status"], float(answer["mean_sigma"])) == ("success", 2.0)
    assert client.main([*where, "-c", "default.xml"]) == 1
    assert "default.xml" in capsys.readouterr().err


def test_alive(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert alive.main(["127.0.0.1", port]) == 0
    assert "alive" in capsys.readouterr().out
    with ScriptedPeer([("recv", 1028), ("send", text("ERROR no configuration is called that") + CLOSE)]) as peer:
        assert alive.main(["127.0.0.1", str(peer.port)]) == 1
    assert "no configuration" in capsys.readouterr().err
    assert alive.main(["127.0.0.1", str(peer.port)]) == 1
    assert query.main(["-h", "127.0.0.1", "-p", str(peer.port)]) == 1


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-f", "x.h5", "-c", "a.xml", "-C", "b.xml"],
        ["-f", "x.h5", "-F", "png"],
        ["-p", "x"],
    ],
)
def test_a_wrong_command_line_is_exit_status_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        client.main(options)
    assert caught.value.code == 2
    assert "usage: gadgetron_ismrmrd_client" in capsys.readouterr().err


def test_interrupting_leaves_nothing_behind(
    scan: Path, out: Path, port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "sent", interrupt)
    assert run(scan, out, port) == 130
    assert "interrupted" in capsys.readouterr().err
    assert names(out.parent) == []


def end_by_signal(scan: Path, out: Path, number: int) -> tuple[int, str]:
    """End a client in the middle of a run; gives exit status and what it said."""
    reached = threading.Event()
    with ScriptedPeer([("recv", 5000), ("send", IMAGE), ("drain",)]) as peer:
        command = [sys.executable, "-m", "gadgetron.cli.client", "-a", "127.0.0.1", "-p", str(peer.port)]
        process = subprocess.Popen(
            [*command, "-f", str(scan), "-o", str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        while len(peer.received) < 5000 and process.poll() is None:
            reached.wait(0.01)
        assert names(out.parent) != []  # its temporary files
        process.send_signal(number)
        _stdout, said = process.communicate(timeout=20)
    return process.returncode, said


@pytest.mark.slow
def test_sigterm_leaves_nothing_behind(scan: Path, out: Path) -> None:
    status, said = end_by_signal(scan, out, signal.SIGTERM)
    assert status == 130, said
    assert names(out.parent) == []


@pytest.mark.slow
def test_what_a_killed_client_left_the_next_one_removes(scan: Path, out: Path, port: str) -> None:
    end_by_signal(scan, out, signal.SIGKILL)
    assert len(names(out.parent)) == 2
    assert run(scan, out, port) == 0
    assert names(out.parent) == [out.name]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal(
    scan: Path, out: Path, port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(scan, out, port, "-v") == 0
    assert "sent: " in terminal.getvalue()
    assert "received: " in terminal.getvalue()
    assert "configuration default.xml" in terminal.getvalue()


def test_text_is_made_printable() -> None:
    assert printable("Größe\t½\n\x07\u202e") == "Größe\t½\n\\x07\\u202e"


def test_staged_files_get_their_names_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old")
    files = StagedFiles(tmp_path)
    for name in "abc":
        files.write(name, name.encode())
    with pytest.raises(StorageError, match="b: exists already"):
        files.publish()
    files.discard()
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_text() == "old"


@pytest.mark.slow
@pytest.mark.parametrize("program", ["gadgetron_ismrmrd_client", "gt_alive", "gt_query"])
def test_launchers_run_from_the_checkout(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bin" / program, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert program in done.stdout
