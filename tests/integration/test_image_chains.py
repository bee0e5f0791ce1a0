"""Chains that end in image arrays, and chains that begin with images, in every way in which a user runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from gadgetron import GadgetronConnector, GadgetServerAcceptor, reconstruct
from gadgetron.blas import one_blas_thread
from gadgetron.cli import client, daemon, validate
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.dataset import ImageFileWriter, ScanFile, StoredImage, load_images
from gadgetron.environment import Environment
from gadgetron.errors import UnknownMessageError
from gadgetron.loader import Loader
from gadgetron.message import as_container_message
from gadgetron.phantom import PhantomOptions, write_phantom
from gadgetron.recon_types import ImageArray

pytestmark = pytest.mark.slow

ARRAYS = "Generic_Cartesian_Grappa_ImageArray.xml"
SINGLES = "Generic_Cartesian_Grappa_Complex.xml"
FACTOR = 10  # SINGLES scales, ARRAYS does not


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    write_phantom(path, PhantomOptions(matrix=32, n_coils=3, n_slices=2, n_contrasts=2))
    return path


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    environment = Environment(Loader(), ConfigurationSearch(), tmp_path / "work")
    with one_blas_thread(), capture_logs(), GadgetServerAcceptor(environment, port=0) as server:
        yield str(server.port)


def run_client(scan: Path, configuration: str, out: Path, port: str) -> list[StoredImage]:
    place = ["-a", "127.0.0.1", "-p", port]
    assert client.main([*place, "-f", str(scan), "-c", configuration, "-o", str(out), "-G", "run"]) == 0
    return load_images(out, "run")


def run_from_stream(scan: Path, configuration: str, out: Path) -> list[StoredImage]:
    arguments = ["-c", configuration, "-i", str(scan), "-o", str(out), "--log-level", "error"]
    assert daemon.main(["--from_stream", *arguments]) == 0
    return load_images(out)


def test_the_images_of_image_arrays_come_with_headers_and_meta_attributes(
    scan: Path, tmp_path: Path, port: str
) -> None:
    expected = reconstruct(scan, SINGLES)
    assert [(image.header.slice, image.header.contrast) for image in expected] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for images in (
        reconstruct(scan, ARRAYS),
        run_client(scan, ARRAYS, tmp_path / "client.h5", port),
        run_from_stream(scan, ARRAYS, tmp_path / "stream.h5"),
    ):
        for image, wanted in zip(images, expected, strict=True):
            np.testing.assert_array_equal(image.data * np.float32(FACTOR), wanted.data)
            assert bytes(image.header)[:-8] == bytes(wanted.header)[:-8]  # but for the length of the attributes
            assert image.meta["GADGETRON_DataRole"] == "Image"
            assert image.meta["GADGETRON_ImageNumber"] == wanted.meta["GADGETRON_ImageNumber"]


def test_an_image_array_that_is_asked_for_as_such_is_whole(scan: Path, port: str) -> None:
    with ScanFile(scan) as file, GadgetronConnector() as connector:
        connector.open("127.0.0.1", port)
        connector.send_gadgetron_configuration_file(ARRAYS)
        connector.send_gadgetron_parameters(file.header_xml)
        connector.put_many(list(file.messages()))
        connector.send_close()
        received = list(connector)
    assert [message_id for message_id, _ in received] == [1024]
    block = as_container_message(received[0][1], ImageArray)
    assert block is not None
    assert block.object.data.shape == (2, 1, 2, 1, 1, 32, 32)
    assert block.object.acquisition_headers is not None
    assert block.object.acquisition_headers.shape == (2, 1, 2, 1, 32)


def test_images_of_a_file_go_on_through_a_chain(scan: Path, tmp_path: Path, port: str) -> None:
    complex_file = tmp_path / "complex.h5"
    images = run_from_stream(scan, SINGLES, complex_file)
    for results in (
        reconstruct(complex_file, "stream_complex_to_float.xml"),
        run_client(complex_file, "stream_complex_to_float.xml", tmp_path / "client.h5", port),
        run_from_stream(complex_file, "stream_complex_to_float.xml", tmp_path / "stream.h5"),
    ):
        for result, image in zip(results, images, strict=True):
            assert result.data.dtype == np.float32
            np.testing.assert_array_equal(result.data, np.abs(image.data))
            assert result.header.slice == image.header.slice
            assert result.meta["GADGETRON_ImageNumber"] == image.meta["GADGETRON_ImageNumber"]


def test_the_image_chain_gives_the_magnitude_of_k_space(scan: Path, tmp_path: Path) -> None:
    complex_file = tmp_path / "complex.h5"
    images = run_from_stream(scan, SINGLES, complex_file)
    results = reconstruct(complex_file, "Generic_Cartesian_Image_Chain_FFT.xml")
    for result, image in zip(results, images, strict=True):
        kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image.data, (2, 3)), norm="ortho"), (2, 3))
        assert result.data.dtype == np.uint16
        np.testing.assert_allclose(result.data, np.abs(kspace), atol=0.51)


def test_images_are_refused_by_a_chain_that_has_no_reader_for_them(
    scan: Path, tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    complex_file = tmp_path / "complex.h5"
    run_from_stream(scan, SINGLES, complex_file)
    with pytest.raises(UnknownMessageError, match="1022 while reading complex.h5: no reader"):
        reconstruct(complex_file, "default.xml")
    place = ["-a", "127.0.0.1", "-p", port]
    assert client.main([*place, "-f", str(complex_file), "-o", str(tmp_path / "out.h5")]) == 1
    assert "unknown message id 1022" in capsys.readouterr().err
    assert validate.main(["default.xml", "--data", str(complex_file)]) == 1
    assert "4 images and no readouts" in capsys.readouterr().out
    assert validate.main(["stream_complex_to_float.xml", "--data", str(complex_file)]) == 0


def test_images_of_several_runs_are_named_by_group(scan: Path, tmp_path: Path, port: str) -> None:
    file = tmp_path / "runs.h5"
    for number, image in enumerate(reconstruct(scan, SINGLES)[:2]):
        with ImageFileWriter(file, f"run {number}") as writer:
            writer.append(image.header, image.data, image.meta)
    place = ["-a", "127.0.0.1", "-p", port, "-c", "stream_complex_to_float.xml", "-f", str(file)]
    assert client.main([*place, "-o", str(tmp_path / "none.h5")]) == 1
    assert client.main([*place, "-g", "run 1", "-o", str(tmp_path / "out.h5")]) == 0
    (image,) = load_images(tmp_path / "out.h5")
    assert image.header.contrast == 1
