"""Reconstruction without a server."""

from __future__ import annotations

import itertools
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
from structlog.testing import capture_logs

from gadgetron import reconstruct, reconstruct_iter
from gadgetron.conversion import ReconstructedImage
from gadgetron.dataset import ImageFileWriter, ScanFile, ScanWriter, load_images
from gadgetron.errors import ConfigurationError, GadgetError, MalformedMessageError, StorageError
from gadgetron.message import MessageBlock
from tests.readers_writers.messages import acquisition, objects

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>16</x><y>8</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>320</x><y>160</y><z>5</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>160</x><y>160</y><z>5</z></fieldOfView_mm></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>7</maximum><center>4</center></kspace_encoding_step_1>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
</ismrmrdHeader>"""

USERS_GADGETS = '''
from gadgetron import Gadget2, Array
import ismrmrd, numpy as np

class Failing(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Fails at the third readout."""

    seen = 0

    def process(self, header, readout):
        self.seen += 1
        if self.seen == 3:
            raise ZeroDivisionError("the third readout")
        self.put_next(header)
'''


def scan_items(n_repetitions: int = 2) -> Iterator[ismrmrd.Acquisition]:
    rng = np.random.default_rng(1)
    for repetition, line in itertools.product(range(n_repetitions), range(8)):
        data = rng.standard_normal((2, 16, 2), np.float32).view(np.complex64)[..., 0]
        item = ismrmrd.Acquisition.from_array(data, center_sample=8, version=1)
        item.idx.kspace_encode_step_1 = line
        item.idx.repetition = repetition
        if line == 7:
            item.set_flag(ismrmrd.ACQ_LAST_IN_SLICE)
            item.set_flag(ismrmrd.ACQ_LAST_IN_REPETITION)
        yield item


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    with ScanWriter(path) as writer:
        writer.write_header(HEADER)
        for item in scan_items():
            writer.append(item.getHead(), item.data)
    return path


def chain(*gadgets: str, writer: str = "gadgetron_core_writers/ImageWriter") -> str:
    dll, name = writer.split("/")
    nodes = "".join(
        f"<gadget><name>{gadget}</name><dll></dll><classname>{gadget}</classname></gadget>" for gadget in gadgets
    )
    return textwrap.dedent(f"""\
        <gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">
          <writer><slot>1008</slot><dll>{dll}</dll><classname>{name}</classname></writer>{nodes}
        </gadgetronStreamConfiguration>""")


def same(left: list[ReconstructedImage], right: list[ReconstructedImage]) -> bool:
    return all(np.array_equal(a.data, b.data) for a, b in zip(left, right, strict=True))


def test_a_file_and_a_stock_configuration_give_images(scan_file: Path) -> None:
    images = reconstruct(scan_file, "default.xml")
    assert [image.shape for image in images] == [(1, 1, 8, 8)] * 2
    assert [image.header.repetition for image in images] == [0, 1]
    assert all(np.isfinite(image.data).all() and image.data.any() for image in images)


def test_items_give_the_same_images_as_a_file_and_stay_as_they_were(scan_file: Path) -> None:
    items = list(scan_items())
    before = [item.to_bytes() for item in items]
    from_file = reconstruct(str(scan_file))
    for header in (HEADER, HEADER.encode(), ismrmrd.xsd.CreateFromDocument(HEADER)):
        assert same(reconstruct((header, items)), from_file)
    assert [item.to_bytes() for item in items] == before
    with ScanFile(scan_file) as scan:
        assert same(reconstruct((scan.header_xml, scan.items())), from_file)
        assert same(reconstruct((scan.header_xml, scan.messages())), from_file)


def test_a_configuration_is_a_name_a_path_or_a_text(scan_file: Path, tmp_path: Path) -> None:
    from gadgetron.configuration.packaged import stock_folder

    text = (stock_folder() / "default.xml").read_text()
    path = tmp_path / "mine.xml"
    path.write_text(text)
    expected = reconstruct(scan_file, "default.xml")
    for configuration in (path, str(path), text, text.encode()):
        assert same(reconstruct(scan_file, configuration), expected)


def test_images_come_one_by_one_while_the_scan_goes_on() -> None:
    release = threading.Event()

    def live() -> Iterator[ismrmrd.Acquisition]:
        items = list(scan_items(3))
        yield from items[:17]  # the first of the third repetition ends the second
        release.wait(20)
        yield from items[17:]

    images = reconstruct_iter((HEADER, live()))
    assert [next(images).header.repetition for _ in range(2)] == [0, 1]
    assert not release.is_set()
    release.set()
    assert [image.header.repetition for image in images] == [2]


def test_on_image_sees_every_image(scan_file: Path) -> None:
    seen: list[ReconstructedImage] = []
    assert reconstruct(scan_file, on_image=seen.append) == seen
    assert len(seen) == 2


def test_an_abandoned_iteration_ends_the_chain() -> None:
    images = reconstruct_iter((HEADER, (item for _ in range(1000) for item in scan_items())))
    next(images)
    images.close()


def test_on_image_that_raises_ends_the_chain() -> None:
    def raise_it(image: ReconstructedImage) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        reconstruct((HEADER, scan_items(50)), on_image=raise_it)


def test_results_that_are_no_images_go_to_on_message() -> None:
    results: list[tuple[int, MessageBlock]] = []
    configuration = chain(writer="gadgetron_mricore/GadgetIsmrmrdAcquisitionMessageWriter")
    items = [acquisition(scan_counter=number) for number in range(300)]
    images = reconstruct((HEADER, items), configuration, on_message=lambda *result: results.append(result))
    assert images == []
    assert [objects(message)[0].scan_counter for _id, message in results] == list(range(300))
    assert {message_id for message_id, _message in results} == {1008}


def test_a_failing_gadget_raises_what_it_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_gadgets.py").write_text(USERS_GADGETS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GadgetError, match=r"users_gadgets.Failing.*the third readout") as caught:
        reconstruct((HEADER, scan_items(50)), chain("users_gadgets.Failing"), allow=["users_gadgets"])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ConfigurationError, match="allow"):
        reconstruct((HEADER, scan_items()), chain("users_gadgets.Failing"))


def test_what_the_items_raise_is_raised() -> None:
    def broken() -> Iterator[Any]:
        yield from scan_items()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        reconstruct((HEADER, broken()))
    with pytest.raises(MalformedMessageError, match="str: no item of a scan"):
        reconstruct((HEADER, ["text"]))


def test_what_cannot_be_used_is_named(tmp_path: Path, scan_file: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere\.h5"):
        reconstruct(tmp_path / "nowhere.h5")
    with pytest.raises(StorageError, match="no group 'other'"):
        reconstruct(scan_file, group="other")
    with pytest.raises(ConfigurationError, match=r"did you mean default\.xml"):
        reconstruct(scan_file, "defualt.xml")
    with pytest.raises(ConfigurationError, match=r"gone\.xml"):
        reconstruct(scan_file, tmp_path / "gone.xml")
    with pytest.raises(ConfigurationError):
        reconstruct(scan_file, "<wrong/>")


def test_a_file_that_is_not_there_needs_no_stack_in_the_log(tmp_path: Path) -> None:
    with capture_logs() as records, pytest.raises(StorageError, match="no such file"):
        reconstruct(tmp_path / "no-scan.h5")
    (record,) = (record for record in records if record["event"] == "session.failed")
    assert "exc_info" not in record


@pytest.mark.parametrize("scan", [5, None, (1, 2, 3), ["scan.h5"]])
def test_what_is_no_scan_is_said_before_anything_starts(scan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match=r"expected a file's path, or \(header, items\)"):
        reconstruct(scan)
    assert "Traceback" not in capsys.readouterr().err


def with_debug_folder(folder: str) -> str:
    prop = f"<property><name>debug_folder</name><value>{folder}</value></property>"
    dll = "<dll>gadgetron_mricore</dll>"
    return chain("RemoveROOversamplingGadget").replace("<dll></dll>", dll).replace("</gadget>", f"{prop}</gadget>")


@pytest.mark.parametrize("folder", ["../../evil", "/etc/evil"])
@pytest.mark.parametrize("make", [str, str.encode], ids=["text", "bytes"])
def test_a_text_cannot_lead_out_of_the_working_directory(folder: str, make: Callable[[str], Any]) -> None:
    with pytest.raises(ConfigurationError, match="debug_folder.*expected a folder below the working directory"):
        reconstruct((HEADER, scan_items()), make(with_debug_folder(folder)))


def test_gadgets_write_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GADGETRON_WORKING_DIRECTORY", str(tmp_path / "work"))
    reconstruct((HEADER, scan_items()), "ismrmrd_dump.xml")
    assert list((tmp_path / "work").rglob("*.h5"))


@pytest.mark.parametrize("name", ["Generic_Cartesian_FFT.xml", "default.xml"])
def test_headers_tell_the_length_of_the_attributes(name: str, tmp_path: Path, scan_file: Path) -> None:
    images = reconstruct(scan_file, name)
    lengths = [image.header.attribute_string_len for image in images]
    assert all(lengths) == (name != "default.xml")
    with ImageFileWriter(tmp_path / "images.h5", "run") as writer:
        for image in images:
            writer.append(image.header, image.data, image.meta)
    stored = load_images(tmp_path / "images.h5", "run")
    assert [image.header.attribute_string_len for image in stored] == lengths
