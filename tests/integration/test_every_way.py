"""Every stock configuration in every way to run it: daemon and client, files, in this process, with many threads.

All of them run in this process, so that they share their FFT plans, and with one BLAS thread, as a daemon's process has
it: so the results are the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import ismrmrd
import numpy as np
import pytest
from structlog.testing import capture_logs

from gadgetron import GadgetServerAcceptor
from gadgetron.blas import one_blas_thread
from gadgetron.cli import client, daemon
from gadgetron.configuration.packaged import stock_folder
from gadgetron.configuration.search import ConfigurationSearch, given_configuration
from gadgetron.configuration.xml_safe import parse_xml
from gadgetron.conversion import ReconstructedImage, as_images
from gadgetron.dataset import ScanFile, ScanWriter, load_images
from gadgetron.environment import Environment
from gadgetron.errors import ConfigurationError
from gadgetron.in_process import reconstruct_iter
from gadgetron.loader import Loader
from gadgetron.message import MessageBlock
from gadgetron.phantom import PhantomOptions, write_phantom
from gadgetron.preflight import Chain
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.protocol.message_ids import MessageID
from gadgetron.standard_messages import load_standard_readers, load_standard_writers
from tests.gadgets.test_epi import epi_header, shot
from tests.readers_writers.messages import objects, written

pytestmark = pytest.mark.slow

ACQUISITION, IMAGE, ARRAY = MessageID.ISMRMRD_ACQUISITION, MessageID.ISMRMRD_IMAGE, MessageID.IMAGE_ARRAY
NAMES = sorted(path.name for path in stock_folder().glob("*.xml"))
WITHOUT_DATA = {"NoiseSummary.xml", "gtquery.xml", "isalive.xml"}
# A program that listens on port 18000 belongs to it; tests/integration/cases has it.
WITH_A_PROGRAM = {"external_connect_example.xml"}
WITHOUT_RESULTS = {"default_measurement_dependencies.xml", "ismrmrd_dump.xml"}
N_THREADS = 4

Result = tuple[Any, ...]


@cache
def chain_of(name: str) -> Chain:
    configuration, _ = given_configuration(name, ConfigurationSearch(environment={}))
    return Chain.of(configuration, Loader())


def takes(name: str, message_id: int) -> bool:
    return message_id in (chain_of(name).slots or ())


SCANNED = [name for name in NAMES if takes(name, ACQUISITION) and name not in WITHOUT_DATA | WITH_A_PROGRAM]
CHAINED = [name for name in NAMES if not takes(name, ACQUISITION) and (takes(name, IMAGE) or takes(name, ARRAY))]


def test_every_stock_configuration_is_run() -> None:
    assert set(NAMES) == {*SCANNED, *CHAINED, *WITHOUT_DATA, *WITH_A_PROGRAM}


# What is sent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans of every kind, each with noise, slices and repetitions; and images."""
    folder = tmp_path_factory.mktemp("scans")
    common: dict[str, Any] = {"n_coils": 3, "n_slices": 2, "n_repetitions": 2, "noise_calibration": True}
    write_phantom(folder / "full.h5", PhantomOptions(matrix=24, **common))
    accelerated = PhantomOptions(matrix=32, acceleration=2, calibration_width=16, **common)
    write_phantom(folder / "accelerated.h5", accelerated)
    with ScanWriter(folder / "epi.h5") as writer:
        writer.write_header(epi_header())
        for repetition in range(2):
            for message in shot(repetition):
                header, data = objects(message)
                writer.append(header, data)
    assert (
        run_from_stream("Generic_Cartesian_Grappa_Complex.xml", folder / "full.h5", folder / "images.h5", folder) == 0
    )
    arrays = ("Generic_Cartesian_Grappa_ImageArray.xml", folder / "full.h5", folder / "arrays.mrd", folder)
    assert run_from_stream(*arrays) == 0
    return folder


def scan_for(name: str) -> str:
    chain = chain_of(name)
    if chain.has("EPIReconXGadget"):
        return "epi.h5"
    return "accelerated.h5" if chain.has_parallel_imaging else "full.h5"


# Ways to run


def environment_in(folder: Path) -> Environment:
    return Environment(Loader(), ConfigurationSearch(environment={}), folder)


def run_from_stream(configuration: str, scan: Path, out: Path, folder: Path) -> int:
    arguments = ["--from_stream", "-c", configuration, "-i", str(scan), "-o", str(out), "-W", str(folder / "work")]
    return daemon.main([*arguments, "--log-level", "error"])


def in_process(scan: Any, configuration: str | bytes, folder: Path) -> list[Result]:
    results: list[Result] = []
    images = reconstruct_iter(
        scan,
        configuration,
        environment=environment_in(folder),
        on_message=lambda message_id, message: results.extend(described(message_id, message)),
    )
    results.extend(map(described_image, images))
    return results


def from_stream(scan: Path, configuration: str, folder: Path) -> list[Result]:
    assert run_from_stream(configuration, scan, folder / "out.mrd", folder) == 0
    return [result for message in messages_in(folder / "out.mrd") for result in described(*message)]


def messages_in(path: Path) -> Iterator[tuple[int, MessageBlock]]:
    """Read the output of `--from_stream`: parameters, messages, CLOSE."""
    readers, stream = load_standard_readers(), MemoryStream(path.read_bytes())
    while (message_id := stream.read_u16()) != MessageID.CLOSE:
        if message_id == MessageID.HEADER:
            stream.read_exactly(stream.read_u32())
        else:
            yield message_id, readers[message_id].read(stream)


def by_client(scan: Path, configuration: str, folder: Path) -> list[Result]:
    """Give the images that a client writes, which are in a file: series after series."""
    out = folder / "out.h5"
    with one_blas_thread(), capture_logs(), GadgetServerAcceptor(environment_in(folder / "work"), port=0) as server:
        place = ["-a", "127.0.0.1", "-p", str(server.port)]
        assert client.main([*place, "-f", str(scan), "-c", configuration, "-o", str(out), "--allow-empty"]) == 0
    if not out.exists():
        return []
    return [described_image(ReconstructedImage(image.header, image.data, image.meta)) for image in load_images(out)]


def with_threads(configuration: str) -> bytes:
    """Give a stock configuration in which every gadget that may has so many threads."""
    data = (stock_folder() / configuration).read_bytes()
    root = parse_xml(data, max_bytes=len(data), what=configuration)
    namespace = root.tag.partition("}")[0] + "}" if "}" in root.tag else ""
    inside = {
        gadget
        for kind in ("purestream", "parallelprocess")  # their threads are their `workers`
        for node in root.iter(f"{namespace}{kind}")
        for gadget in node.iter(f"{namespace}gadget")
    }
    for gadget in root.iter(f"{namespace}gadget"):
        if gadget in inside or not may_have_threads(gadget, namespace):
            continue
        for own in gadget.findall(f"{namespace}property"):
            if "threads" in (own.get("name"), own.findtext(f"{namespace}name")):
                gadget.remove(own)
        added = ET.SubElement(gadget, f"{namespace}property")
        ET.SubElement(added, f"{namespace}name").text = "threads"
        ET.SubElement(added, f"{namespace}value").text = str(N_THREADS)
    return ET.tostring(root)


def may_have_threads(gadget: ET.Element, namespace: str) -> bool:
    dll, name = (gadget.findtext(f"{namespace}{part}") or "" for part in ("dll", "classname"))
    try:
        return Loader().load_gadget(dll, name).thread_safe
    except ConfigurationError:
        return False  # a module of another process


# What comes back


def described(message_id: int, message: MessageBlock) -> list[Result]:
    if images := as_images(message, message_id):
        return list(map(described_image, images))
    return [(message_id, written(load_standard_writers()[message_id], message))]


def described_image(image: ReconstructedImage) -> Result:
    header = ismrmrd.ImageHeader.from_buffer_copy(image.header)
    header.attribute_string_len = 0
    header.data_type = 0
    meta = {
        name: list(map(str, value)) if isinstance(value, list) else [str(value)] for name, value in image.meta.items()
    }
    return image.series, bytes(header), image.data.dtype, image.data.shape, image.data.tobytes(), meta


def images_by_series(results: list[Result]) -> list[Result]:
    images = [result for result in results if len(result) > 2]
    return sorted(images, key=lambda result: result[0])


def check_same(found: list[Result], expected: list[Result], way: str) -> None:
    """Fail with what differs, and by how much: last bits are another matter than another image."""
    assert len(found) == len(expected), way
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        if one == other:
            continue
        if len(one) == len(other) == 6 and one[2:4] == other[2:4]:
            pixels, wanted = (np.frombuffer(result[4], result[2]).astype(complex) for result in (one, other))
            error = np.linalg.norm(pixels - wanted) / max(np.linalg.norm(wanted), 1e-30)
            same = [name for name, at in (("series", 0), ("header", 1), ("meta", 5)) if one[at] == other[at]]
            pytest.fail(f"{way}: image {index} differs by {error:.1e} of its norm; the same are {', '.join(same)}")
        pytest.fail(f"{way}: result {index} differs: {one[:4]}, expected {other[:4]}")


@pytest.mark.parametrize("name", SCANNED)
def test_a_scan_gives_the_same_in_every_way(name: str, folder: Path, tmp_path: Path) -> None:
    scan = folder / scan_for(name)
    first, second, third, fourth = (tmp_path / name for name in ("first", "second", "third", "fourth"))
    second.mkdir()
    third.mkdir()
    expected = in_process(scan, name, first)
    assert bool(expected) != (name in WITHOUT_RESULTS)
    check_same(from_stream(scan, name, second), expected, "--from_stream")
    check_same(by_client(scan, name, third), images_by_series(expected), "daemon and client")
    check_same(in_process(scan, with_threads(name), fourth), expected, "many threads")


@pytest.mark.parametrize("name", CHAINED)
def test_images_give_the_same_in_every_way(name: str, folder: Path, tmp_path: Path) -> None:
    if takes(name, ARRAY):
        with ScanFile(folder / "full.h5") as file:
            header = file.header_xml

        def scan() -> Any:
            return header, [message for _, message in messages_in(folder / "arrays.mrd")]

        source = folder / "arrays.mrd"
    else:
        source = folder / "images.h5"

        def scan() -> Any:
            return source

        by_series = images_by_series(in_process(source, name, tmp_path))
        check_same(by_client(source, name, tmp_path), by_series, "daemon and client")
    expected = in_process(scan(), name, tmp_path)
    assert len(expected) == 4
    check_same(from_stream(source, name, tmp_path), expected, "--from_stream")
    check_same(in_process(scan(), with_threads(name), tmp_path), expected, "many threads")
