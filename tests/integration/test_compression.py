"""The client's -P and -T: the same images but for what may be lost, of far fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest

from gadgetron.cli import client
from gadgetron.dataset import load_images
from gadgetron.dataset.scan_writer import ScanWriter
from tests.gadgets.support import relative_difference
from tests.integration.test_noise_dependency import header, imaging_readouts, noise_readouts, run_session
from tests.readers_writers.messages import objects


@pytest.fixture
def dependent_scan(tmp_path):
    """A file of readouts with noise, in a bandwidth of half the noise scan's."""
    path = tmp_path / "scan.h5"
    write_scan(path, header("1_2_4", "3"))
    return path


def write_scan(path, xml):
    with ScanWriter(path) as writer:
        writer.write_header(xml)
        for message in imaging_readouts():
            writer.append(*objects(message))


def reconstruct(server, scan, out, *options):
    return client.main(["-a", "127.0.0.1", "-p", str(server.port), "-f", str(scan), "-o", str(out), *options])


def images(out):
    return np.stack([image.data for image in load_images(out)])


@pytest.mark.parametrize(("bits", "error"), [(6, 0.1), (12, 1e-3), (24, 1e-6)])
def test_few_bits_give_nearly_the_same_image(bits, error, server, dependent_scan, tmp_path):
    assert reconstruct(server, dependent_scan, tmp_path / "all.h5") == 0
    assert reconstruct(server, dependent_scan, tmp_path / "few.h5", "-P", str(bits)) == 0
    difference = relative_difference(images(tmp_path / "few.h5"), images(tmp_path / "all.h5"))
    assert difference < error
    assert difference > 0 or bits == 24


def test_a_tolerance_is_a_part_of_the_noise(server, dependent_scan, tmp_path, capsys):
    out = tmp_path / "out.h5"
    assert reconstruct(server, dependent_scan, out, "-T", "0.5") == 1
    assert "-T: the server has no noise of measurement 1_2_3" in capsys.readouterr().err
    run_session(server.port, "default_measurement_dependencies.xml", header("1_2_3"), noise_readouts())
    assert reconstruct(server, dependent_scan, tmp_path / "all.h5") == 0
    assert reconstruct(server, dependent_scan, out, "-T", "0.5") == 0
    assert 0 < relative_difference(images(out), images(tmp_path / "all.h5")) < 0.2


def test_a_scan_that_names_no_noise_has_no_tolerance(server, tmp_path, capsys):
    path = tmp_path / "scan.h5"
    write_scan(path, header("1_2_4"))
    assert reconstruct(server, path, tmp_path / "out.h5", "-T", "0.5") == 1
    assert "-T: the scan's header names no noise scan" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-P", "1"], "2 to 31 bits"),
        (["-P", "32"], "2 to 31 bits"),
        (["-T", "nan"], "part of the noise"),
        (["-T", "-1"], "part of the noise"),
        (["-Z"], "ZFP compression is not supported"),
        (["-P", "8", "--protocol", "entity"], "classic protocol"),
        (["-P", "8", "-T", "0.1"], "not allowed with"),
    ],
)
def test_options_that_cannot_be_are_said_so(options, said, capsys):
    with pytest.raises(SystemExit) as caught:
        client.main(["-f", "x.h5", *options])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
