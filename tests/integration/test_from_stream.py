"""`gadgetron --from_stream`: one reconstruction without a socket, over files and pipes, as a shell runs it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gadgetron import reconstruct
from gadgetron.cli.daemon import main
from gadgetron.dataset import list_image_groups, load_images
from gadgetron.message import GadgetContainerMessage
from gadgetron.phantom import PhantomOptions, write_phantom
from gadgetron.protocol.byte_stream import MemoryStream
from readers_writers.image import MRIImageReader
from tests import raw_client as raw

GUARD_S = 60
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    write_phantom(path, PhantomOptions(matrix=32, n_coils=2, n_repetitions=3))
    return path


def run(*arguments: str | Path, data: bytes = b"", path: str = str(ROOT)) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "gadgetron.cli.daemon", "--log-level", "error", "--from_stream"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        input=data,
        capture_output=True,
        timeout=GUARD_S,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


def images_in(data: bytes) -> list[Any]:
    """Read a stream as it must be: the parameters, images, CLOSE."""
    stream = MemoryStream(data)
    assert stream.read_u16() == raw.HEADER
    assert bytes(stream.read_exactly(stream.read_u32())).startswith(b"<")
    found = []
    while (message_id := stream.read_u16()) != raw.CLOSE:
        assert message_id == 1022
        block = MRIImageReader().read(stream).cont
        assert isinstance(block, GadgetContainerMessage)
        found.append(block.object)
    assert not stream.has_buffered(1)
    return found


def test_a_file_in_and_a_file_out_is_what_reconstruct_gives(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "images.h5"
    result = run("-c", "default.xml", "-i", scan, "-o", out)
    assert result.returncode == 0, result.stderr
    group = list_image_groups(out)[0]
    images = load_images(out, group)
    expected = reconstruct(scan, "default.xml")
    assert len(expected) == 3
    for image, wanted in zip(images, expected, strict=True):
        np.testing.assert_allclose(image.data, wanted.data, rtol=1e-5, atol=1e-6)  # two processes measure two plans


def test_the_output_of_one_is_the_input_of_another(scan: Path) -> None:
    readouts = run("-c", "pass_through.xml", "-i", scan)
    assert readouts.returncode == 0, readouts.stderr
    result = run("-c", "default.xml", data=readouts.stdout)
    assert result.returncode == 0, result.stderr
    expected = reconstruct(scan, "default.xml")
    for image, wanted in zip(images_in(result.stdout), expected, strict=True):
        np.testing.assert_allclose(image, wanted.data, rtol=1e-5, atol=1e-6)


def test_an_input_that_ends_without_close_is_an_end(scan: Path) -> None:
    readouts = run("-c", "pass_through.xml", "-i", scan).stdout
    result = run("-c", "default.xml", data=readouts[:-2])
    assert result.returncode == 0
    assert len(images_in(result.stdout)) == 3


def test_an_input_cut_inside_a_message_fails_and_says_so_in_both_places(scan: Path) -> None:
    readouts = run("-c", "pass_through.xml", "-i", scan).stdout
    result = run("-c", "default.xml", data=readouts[:-50])
    assert result.returncode == 1
    assert b"inside a message" in result.stderr
    assert b"ERROR the peer closed the connection inside a message" in result.stdout
    assert result.stdout.endswith(struct.pack("<H", raw.CLOSE))


def test_a_failure_leaves_no_file_under_the_name(scan: Path, tmp_path: Path) -> None:
    readouts = run("-c", "pass_through.xml", "-i", scan).stdout
    out = tmp_path / "images.h5"
    result = run("-c", "default.xml", "-o", out, data=readouts[:-50])
    assert result.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_may_be_a_file_anywhere(scan: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.xml"
    own.write_bytes((ROOT / "config" / "default.xml").read_bytes())
    assert len(images_in(run("-c", own, "-i", scan).stdout)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "defualt.xml"], b"did you mean default.xml?"),
        (["-c", "default.xml", "-i", "/nonexistent"], b"/nonexistent cannot be opened: No such file"),
        (["-c", "default.xml", "-o", "/nonexistent/out.mrd"], b"cannot be opened"),
        (["-c", "default.xml", "--parameter", "novalue"], b"expected NAME=VALUE"),
        ([], b"needs a configuration"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_with_status_2(arguments: list[str], words: bytes) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert b"Traceback" not in result.stderr


def test_a_gadget_that_prints_does_not_spoil_the_stream(scan: Path, tmp_path: Path) -> None:
    package = tmp_path / "noisy_gadgets"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from gadgetron import Gadget\n"
        "class NoisyGadget(Gadget):\n"
        "    '''Prints.'''\n"
        "    def process(self, message):\n"
        "        print('on standard output')\n"
        "        self.put_next(message)\n"
    )
    xml = (ROOT / "config" / "pass_through.xml").read_text()
    gadget = "<gadget><name>Noisy</name><dll>noisy_gadgets</dll><classname>NoisyGadget</classname></gadget>"
    own = tmp_path / "noisy.xml"
    for end in ("</gadgetronStreamConfiguration>", "</stream>"):
        xml = xml.replace(end, gadget + end)
    own.write_text(xml.replace("<stream/>", f"<stream>{gadget}</stream>"))
    result = run("--allow", "noisy_gadgets", "-c", own, "-i", scan, path=f"{ROOT}{os.pathsep}{tmp_path}")
    assert result.returncode == 0, result.stderr
    assert b"on standard output" in result.stderr
    assert b"on standard output" not in result.stdout
    assert len(images_in(run("-c", "default.xml", data=result.stdout).stdout)) == 3


@pytest.mark.parametrize("option", ["-c", "-i", "-o", "--parameter"])
def test_its_options_do_not_start_a_server(option, capsys):
    with pytest.raises(SystemExit) as caught:
        main([option, "a=b"])
    assert caught.value.code == 2
    assert f"{option} needs --from_stream" in capsys.readouterr().err
