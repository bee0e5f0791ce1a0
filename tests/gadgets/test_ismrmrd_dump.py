import ismrmrd
import numpy as np
import pytest

from gadgetron.gadget import CLOSE_ABORTED
from gadgetron.message import make_message
from gadgets.mri_core.ismrmrd_dump import IsmrmrdDumpGadget
from tests.gadgets.support import Controller, acquisition, complex_noise, header_xml, run


def header(measurement_id="42_abc-1"):
    return header_xml(
        more=f"<measurementInformation><measurementID>{measurement_id}</measurementID></measurementInformation>"
    )


def waveform():
    head = ismrmrd.WaveformHeader()
    head.channels, head.number_of_samples = 2, 3
    return make_message(head, np.arange(6, dtype=np.uint32).reshape(2, 3))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_scan_is_saved_and_passed_on(tmp_path, rng):
    data, trajectory = complex_noise(rng, 2, 8), rng.standard_normal((8, 2)).astype(np.float32)
    messages = [acquisition(data, scan_counter=5), acquisition(data, trajectory=trajectory), waveform()]
    results = run(IsmrmrdDumpGadget(), messages, header(), controller=Controller(tmp_path))
    assert results == messages
    assert files(tmp_path) == ["gadgetron_data/ISMRMRD_DUMP_42_abc-1.h5"]
    with ismrmrd.Dataset(str(tmp_path / files(tmp_path)[0]), "dataset", create_if_needed=False) as dataset:
        assert dataset.read_xml_header() == header().encode()
        assert dataset.number_of_acquisitions() == 2
        assert dataset.read_acquisition(0).scan_counter == 5
        np.testing.assert_array_equal(dataset.read_acquisition(1).data, data)
        np.testing.assert_array_equal(dataset.read_acquisition(1).traj, trajectory)
        assert dataset.number_of_waveforms() == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/abs/path",
        "..\\..\\x",
        "a/b",
        "%2e%2e/x",
        "a b;rm -rf ~",
        ".",
        "..",
        "",
        "é" * 500,
        "x" * 500,
    ],
)
def test_no_name_leads_out_of_the_folder(name, tmp_path):
    controller = Controller(tmp_path / "work")
    run(IsmrmrdDumpGadget(file_prefix=name, folder=name), [], header(name), controller=controller)
    (path,) = files(tmp_path)
    assert path.startswith("work/")
    assert path.count("/") == 2
    assert set(path.removeprefix("work/")) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/.")
    assert ".." not in path


def test_a_file_that_exists_is_kept(tmp_path):
    for _ in range(3):
        run(IsmrmrdDumpGadget(), [], header("same"), controller=Controller(tmp_path))
    assert files(tmp_path) == [f"gadgetron_data/ISMRMRD_DUMP_same{suffix}.h5" for suffix in ("", "_2", "_3")]


def test_without_an_id_the_time_is_in_the_name(tmp_path):
    run(IsmrmrdDumpGadget(file_prefix="raw"), [], header_xml(), controller=Controller(tmp_path))
    (path,) = files(tmp_path)
    assert path.startswith("gadgetron_data/raw_20")


def test_only_the_header_if_so_wanted(tmp_path, rng):
    messages = [acquisition(complex_noise(rng, 2, 8)), waveform()]
    gadget = IsmrmrdDumpGadget(save_xml_header_only=True, pass_waveform_downstream=False)
    assert run(gadget, messages, header(), controller=Controller(tmp_path)) == messages[:1]
    with ismrmrd.Dataset(str(tmp_path / files(tmp_path)[0]), "dataset", create_if_needed=False) as dataset:
        assert dataset.read_xml_header() == header().encode()


def test_an_aborted_scan_leaves_no_file(tmp_path, rng):
    messages = [acquisition(complex_noise(rng, 2, 8))]
    run(IsmrmrdDumpGadget(), messages, header(), controller=Controller(tmp_path), close=CLOSE_ABORTED)
    assert files(tmp_path) == []


def test_without_a_header_nothing_is_saved(tmp_path, rng):
    messages = [acquisition(complex_noise(rng, 2, 8))]
    assert run(IsmrmrdDumpGadget(), messages, controller=Controller(tmp_path)) == messages
    assert files(tmp_path) == []
