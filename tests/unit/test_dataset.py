"""ISMRMRD files: what ismrmrd and the C++ client write is read, what we write is theirs, and nothing is half there."""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from gadgetron.dataset import (
    Acquisition,
    ImageFileWriter,
    ScanFile,
    ScanWriter,
    Waveform,
    list_image_groups,
    load_images,
)
from gadgetron.dataset import images as images_module
from gadgetron.dataset import scan as scan_module
from gadgetron.dataset.layout import ACQUISITION_HEADER_DTYPE, IMAGE_HEADER_DTYPE, WAVEFORM_HEADER_DTYPE
from gadgetron.errors import StorageError
from gadgetron.header import parse_ismrmrd_header
from gadgetron.message import blocks
from tests.reference import reference_files

EIGHT_TYPES = [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64, np.complex64, np.complex128]


def make_acquisition(rng, n_coils=3, n_samples=8, n_dimensions=0, stamp=0):
    header = ismrmrd.AcquisitionHeader()
    header.active_channels = header.available_channels = n_coils
    header.number_of_samples = n_samples
    header.trajectory_dimensions = n_dimensions
    header.acquisition_time_stamp = stamp
    header.scan_counter = int(rng.integers(0, 2**32))
    header.user_float[3] = float(rng.normal())
    data = (rng.normal(size=(n_coils, n_samples)) + 1j * rng.normal(size=(n_coils, n_samples))).astype(np.complex64)
    trajectory = rng.normal(size=(n_samples, n_dimensions)).astype(np.float32) if n_dimensions else None
    return Acquisition(header, data, trajectory)


def make_waveform(rng, n_channels=2, n_samples=5, stamp=0):
    header = ismrmrd.WaveformHeader()
    header.channels, header.number_of_samples, header.time_stamp = n_channels, n_samples, stamp
    return Waveform(header, rng.integers(0, 2**32, (n_channels, n_samples), dtype=np.uint32))


def make_image(rng, shape=(1, 1, 4, 6), dtype=np.float32, series=0):
    header = ismrmrd.ImageHeader()
    header.channels, (header.matrix_size[2], header.matrix_size[1], header.matrix_size[0]) = shape[0], shape[1:]
    header.image_series_index = series
    header.image_index = int(rng.integers(0, 2**16))
    numbers = 100 * rng.random(shape)
    return header, (numbers * (1 + 2j) if np.issubdtype(dtype, np.complexfloating) else numbers).astype(dtype)


def write_scan(path, acquisitions, waveforms=(), header="<ismrmrdHeader/>", **options):
    with ScanWriter(path, **options) as writer:
        writer.write_header(header)
        for acquisition in acquisitions:
            writer.append(*acquisition)
        for waveform in waveforms:
            writer.append_waveform(*waveform)


def assert_same(found, expected):
    assert bytes(found.header) == bytes(expected.header)
    assert found.data.dtype == expected.data.dtype
    np.testing.assert_array_equal(found.data, expected.data)
    if isinstance(expected, Acquisition) and expected.trajectory is not None:
        np.testing.assert_array_equal(found.trajectory, expected.trajectory)
    elif isinstance(expected, Acquisition):
        assert found.trajectory is None


def as_ismrmrd(path, folder, group="dataset"):
    """Open a copy with the ismrmrd package, whose older versions want to write to what they read."""
    copy = shutil.copyfile(path, folder / "copy for ismrmrd.h5")
    return ismrmrd.Dataset(copy, group, create_if_needed=False)


def folder_content(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# Layouts


@pytest.mark.parametrize(
    ("dtype", "structure"),
    [
        (ACQUISITION_HEADER_DTYPE, ismrmrd.AcquisitionHeader),
        (IMAGE_HEADER_DTYPE, ismrmrd.ImageHeader),
        (WAVEFORM_HEADER_DTYPE, ismrmrd.WaveformHeader),
    ],
)
def test_header_layouts_are_those_of_the_structures(dtype, structure):
    assert dtype.itemsize == ctypes.sizeof(structure)
    names = {name for name, *_ in structure._fields_} if hasattr(structure, "_fields_") else set(dtype.names)
    for name in names & set(dtype.names):
        assert dtype.fields[name][1] == getattr(structure, name).offset, name


# Scans


@pytest.mark.parametrize("path", reference_files("golden/inputs") + reference_files("data"))
def test_scans_are_read_as_ismrmrd_reads_them(path, tmp_path):
    with ScanFile(path) as scan:
        found, xml = list(scan.items()), scan.header_xml
    dataset = as_ismrmrd(path, tmp_path)
    assert xml == dataset.read_xml_header()
    assert len(found) == dataset.number_of_acquisitions() > 50
    for index in range(0, len(found), 17):
        theirs = dataset.read_acquisition(index)
        expected = Acquisition(theirs.getHead(), theirs.data, theirs.traj if theirs.traj.size else None)
        assert_same(found[index], expected)
    dataset.close()


@pytest.mark.parametrize("path", reference_files("data"))
def test_scans_survive_being_written(path, tmp_path):
    with ScanFile(path) as scan, ScanWriter(tmp_path / "copy.h5") as copy:
        copy.write_header(scan.header_xml)
        for acquisition in scan.acquisitions():
            copy.append(*acquisition)
    with ScanFile(path) as scan, ScanFile(tmp_path / "copy.h5") as copy:
        assert copy.header_xml == scan.header_xml
        assert copy.n_acquisitions == scan.n_acquisitions
        for found, expected in zip(copy.acquisitions(), scan.acquisitions(), strict=True):
            assert_same(found, expected)


def test_ismrmrd_reads_what_we_write(tmp_path, rng):
    acquisitions = [make_acquisition(rng, n_dimensions=d) for d in (0, 2, 3)]
    waveform = make_waveform(rng)
    write_scan(tmp_path / "scan.h5", acquisitions, [waveform], header="<ismrmrdHeader>é</ismrmrdHeader>")
    dataset = as_ismrmrd(tmp_path / "scan.h5", tmp_path)
    assert dataset.read_xml_header().decode() == "<ismrmrdHeader>é</ismrmrdHeader>"
    for index, expected in enumerate(acquisitions):
        theirs = dataset.read_acquisition(index)
        found = Acquisition(theirs.getHead(), theirs.data, theirs.traj if theirs.traj.size else None)
        assert_same(found, expected)
    theirs = dataset.read_waveform(0)
    assert_same(Waveform(theirs.getHead(), theirs.data), waveform)
    dataset.close()


def test_readouts_of_every_size_survive(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(scan_module, "BYTES_AT_ONCE", 2000)  # a run ends in the middle, and within a large readout
    monkeypatch.setattr(scan_module, "HEADERS_AT_ONCE", 7)
    acquisitions = [
        make_acquisition(rng, n_coils=1 + index % 5, n_samples=(index * 37) % 200, n_dimensions=index % 3)
        for index in range(60)
    ]
    write_scan(tmp_path / "scan.h5", acquisitions)
    with ScanFile(tmp_path / "scan.h5") as scan:
        for found, expected in zip(scan.acquisitions(), acquisitions, strict=True):
            assert_same(found, expected)
            assert found.data.flags.writeable


def test_a_batch_larger_than_the_writers_survives(tmp_path, rng):
    acquisitions = [make_acquisition(rng, n_samples=4) for _ in range(600)]
    write_scan(tmp_path / "scan.h5", acquisitions)
    with ScanFile(tmp_path / "scan.h5") as scan:
        assert scan.n_acquisitions == 600
        for found, expected in zip(scan.acquisitions(), acquisitions, strict=True):
            assert_same(found, expected)


def test_waveforms_come_first_while_their_stamp_is_smaller(tmp_path, rng):
    acquisitions = [make_acquisition(rng, stamp=stamp) for stamp in (10, 20, 20, 30)]
    waveforms = [make_waveform(rng, stamp=stamp) for stamp in (5, 20, 29, 31, 40)]
    write_scan(tmp_path / "scan.h5", acquisitions, waveforms)
    with ScanFile(tmp_path / "scan.h5") as scan:
        order = [
            ("w", item.header.time_stamp) if isinstance(item, Waveform) else ("a", item.header.acquisition_time_stamp)
            for item in scan.items()
        ]
        assert scan.n_waveforms == 5
    assert order == [
        ("w", 5), ("a", 10), ("a", 20), ("a", 20), ("w", 20), ("w", 29), ("a", 30), ("w", 31), ("w", 40)
    ]  # fmt: skip


def test_messages_hold_header_data_and_trajectory_if_there_is_one(tmp_path, rng):
    write_scan(
        tmp_path / "scan.h5",
        [make_acquisition(rng, n_dimensions=2, stamp=2), make_acquisition(rng, stamp=3)],
        [make_waveform(rng, stamp=1)],
    )
    with ScanFile(tmp_path / "scan.h5") as scan:
        kinds = [[type(block.object).__name__ for block in blocks(message)] for message in scan.messages()]
    assert kinds == [
        ["WaveformHeader", "ndarray"],
        ["AcquisitionHeader", "ndarray", "ndarray"],
        ["AcquisitionHeader", "ndarray"],
    ]


def test_headers_of_another_layout_are_understood(tmp_path, rng):
    expected = make_acquisition(rng)
    fields = [(name, ACQUISITION_HEADER_DTYPE[name]) for name in reversed(ACQUISITION_HEADER_DTYPE.names)]
    floats = h5py.vlen_dtype(np.dtype("<f4"))
    record = np.empty(1, [("data", floats), ("head", np.dtype(fields, align=True))])
    packed = np.frombuffer(bytes(expected.header), ACQUISITION_HEADER_DTYPE)
    for name, _ in fields:
        record["head"][name] = packed[name]
    record["data"][0] = expected.data.view(np.float32).ravel()
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("dataset/data", data=record)
    with ScanFile(tmp_path / "scan.h5") as scan:
        assert_same(next(scan.acquisitions()), expected)


def test_arrays_beside_the_scan_survive(tmp_path, rng):
    array = (rng.normal(size=(2, 3)) * (1 + 1j)).astype(np.complex64)
    with ScanWriter(tmp_path / "scan.h5") as writer:
        writer.write_array("csm", array)
    with ScanFile(tmp_path / "scan.h5") as scan:
        np.testing.assert_array_equal(scan.read_array("csm"), array[np.newaxis])
    dataset = as_ismrmrd(tmp_path / "scan.h5", tmp_path)
    np.testing.assert_array_equal(dataset.read_array("csm", 0), array)
    dataset.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (b"", "not an HDF5 file"),
        (b"GIF89a" + bytes(1000), "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(1000), "opening it for reading"),
    ],
)
def test_files_that_are_no_scans_are_refused_in_words(tmp_path, content, words):
    path = tmp_path / "scan.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=words) as caught:
        ScanFile(path)
    assert "scan.h5" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_folder_is_no_scan(tmp_path):
    with pytest.raises(StorageError, match="a folder, not a file — opening it for reading$"):
        ScanFile(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_never_replaced_nor_waited_for(tmp_path, kind):
    path = tmp_path / "out.h5"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    before = path.stat()
    for open_it in (ScanFile, ImageFileWriter, lambda path: ScanWriter(path, overwrite=True)):
        with pytest.raises(StorageError, match=r"out\.h5: a .*, not a file"):
            open_it(path)
    assert path.stat() == before
    assert folder_content(tmp_path) == {"out.h5"}


@pytest.mark.parametrize("name", ["", "..", "/"])
def test_a_name_without_a_file_is_refused_in_words(name):
    with pytest.raises(StorageError, match="a folder, not a file"):
        ScanWriter(name, overwrite=True)


def test_a_missing_group_is_named_with_those_there_are(tmp_path, rng):
    write_scan(tmp_path / "scan.h5", [make_acquisition(rng)], group="monday")
    with pytest.raises(StorageError, match="no group 'dataset'.*'monday'"):
        ScanFile(tmp_path / "scan.h5")
    with ScanFile(tmp_path / "scan.h5", "/monday/") as scan:
        assert scan.n_acquisitions == 1


def test_a_scan_without_header_says_so(tmp_path):
    with ScanWriter(tmp_path / "scan.h5"):
        pass
    with ScanFile(tmp_path / "scan.h5") as scan, pytest.raises(StorageError, match="no ISMRMRD header"):
        scan.header_xml  # noqa: B018 - the property raises


def test_a_truncated_scan_fails_in_words(tmp_path, rng):
    path = tmp_path / "scan.h5"
    write_scan(path, [make_acquisition(rng, n_samples=500) for _ in range(50)])
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StorageError, match=r"scan\.h5"), ScanFile(path) as scan:
        list(scan.items())


def test_a_readout_that_contradicts_its_header_is_named(tmp_path, rng):
    path = tmp_path / "scan.h5"
    write_scan(path, [make_acquisition(rng) for _ in range(3)])
    with h5py.File(path, "r+") as file:
        record = file["dataset/data"][1]
        record["head"]["number_of_samples"] = 1000
        file["dataset/data"][1] = record
    with ScanFile(path) as scan, pytest.raises(StorageError, match="48 numbers stored.*6000.*readout 1"):
        list(scan.acquisitions())


def test_an_existing_scan_is_overwritten_only_when_asked(tmp_path, rng):
    path = tmp_path / "scan.h5"
    write_scan(path, [make_acquisition(rng)])
    before = path.read_bytes()
    with pytest.raises(StorageError, match="exists already"):
        ScanWriter(path)
    assert path.read_bytes() == before
    write_scan(path, [make_acquisition(rng)] * 2, overwrite=True)
    with ScanFile(path) as scan:
        assert scan.n_acquisitions == 2
    assert folder_content(tmp_path) == {"scan.h5"}


def test_an_unfinished_scan_leaves_nothing(tmp_path, rng):
    with pytest.raises(ZeroDivisionError), ScanWriter(tmp_path / "scan.h5") as writer:
        writer.append(*make_acquisition(rng))
        raise ZeroDivisionError
    assert folder_content(tmp_path) == set()


def test_arrays_that_contradict_the_header_are_not_written(tmp_path, rng):
    acquisition = make_acquisition(rng)
    with ScanWriter(tmp_path / "scan.h5") as writer:
        with pytest.raises(StorageError, match=r"shape \(3, 7\).*\(3, 8\)"):
            writer.append(acquisition.header, acquisition.data[:, :7])
        with pytest.raises(StorageError, match="trajectory of shape"):
            writer.append(*acquisition[:2], np.zeros((8, 2), np.float32))


# Images


def describe(group):
    """Everything about the datasets of a run that a reader could notice, values aside."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            kind = item.id.get_type()
            string = (kind.is_variable_str(), kind.get_cset()) if isinstance(kind, h5py.h5t.TypeStringID) else None
            found[name] = (item.shape, item.maxshape, item.chunks, item.dtype.descr, item.dtype.itemsize, string)

    group.visititems(visit)
    return found


@pytest.mark.parametrize(
    "path", reference_files("golden/images", "*_Complex__*.h5") + reference_files("golden/images", "default_*.h5")
)
def test_images_are_written_as_the_cpp_client_writes_them(path, tmp_path):
    with ImageFileWriter(tmp_path / "out.h5", "out") as writer:
        images = load_images(path)
        for image in images:
            writer.append(image.header, image.data, image.attributes)
    assert images
    with h5py.File(path) as theirs, h5py.File(tmp_path / "out.h5") as ours:
        assert describe(ours["out"]) == describe(theirs["out"])
        for name in describe(theirs["out"]):
            assert ours["out"][name][:].tobytes() == theirs["out"][name][:].tobytes() or "attributes" in name
            if "attributes" in name:
                assert list(ours["out"][name][:]) == list(theirs["out"][name][:])


@pytest.mark.parametrize("dtype", EIGHT_TYPES)
def test_images_of_every_type_survive(tmp_path, rng, dtype):
    header, data = make_image(rng, (2, 3, 4, 5), dtype)
    with ImageFileWriter(tmp_path / "out.h5") as writer:
        writer.append(header, data)
    (image,) = load_images(tmp_path / "out.h5")
    assert bytes(image.header) == bytes(header)
    assert image.data.dtype == dtype
    np.testing.assert_array_equal(image.data, data)


def test_ismrmrd_reads_our_images(tmp_path, rng):
    header, data = make_image(rng, (2, 1, 4, 5), np.complex64)
    header.data_type = ismrmrd.DATATYPE_CXFLOAT
    with ImageFileWriter(tmp_path / "out.h5", "run") as writer:
        writer.append(header, data, ismrmrd.Meta({"a": "1"}))
    dataset = as_ismrmrd(tmp_path / "out.h5", tmp_path, "run")
    theirs = dataset.read_image("image_0", 0)
    dataset.close()
    np.testing.assert_array_equal(theirs.data, data)
    assert theirs.meta["a"] == "1"


def test_sizes_and_types_mixed_in_one_series_stay_apart(tmp_path, rng):
    kinds = [((1, 1, 4, 6), np.float32), ((1, 1, 6, 4), np.float32), ((1, 1, 4, 6), np.complex64)]
    sent = [make_image(rng, *kinds[index], series=7) for index in (0, 1, 0, 2, 1, 0)]
    with ImageFileWriter(tmp_path / "out.h5") as writer:
        for header, data in sent:
            writer.append(header, data)
    found = load_images(tmp_path / "out.h5")
    assert [image.series for image in found] == ["image_7"] * 3 + ["image_7_1"] * 2 + ["image_7_2"]
    for image, index in zip(found, (0, 2, 5, 1, 4, 3), strict=True):
        assert bytes(image.header) == bytes(sent[index][0])
        np.testing.assert_array_equal(image.data, sent[index][1])


@pytest.mark.parametrize("attributes", [None, "", "<ismrmrdMeta/>", b"<ismrmrdMeta/>\0", "<meta>é\n</meta>"])
def test_attributes_survive(tmp_path, rng, attributes):
    with ImageFileWriter(tmp_path / "out.h5") as writer:
        writer.append(*make_image(rng), attributes)
    (image,) = load_images(tmp_path / "out.h5")
    text = attributes.decode() if isinstance(attributes, bytes) else attributes or ""
    assert image.attributes == text.rstrip("\0")
    assert image.header.attribute_string_len == len(image.attributes.encode())


def test_attributes_without_a_value_are_empty(tmp_path, rng):
    path = tmp_path / "images.h5"
    meta = ismrmrd.Meta({"empty": "", "some": ["a", ""], "one": "b"})
    with ImageFileWriter(path, "run") as writer:
        writer.append(*make_image(rng), meta)
    assert load_images(path)[0].meta == meta


def test_runs_never_mix(tmp_path, rng, monkeypatch):
    class SameSecond(images_module.datetime):
        def strftime(self, _format):
            return "2024-01-01 00:00:00"

    monkeypatch.setattr(images_module, "datetime", SameSecond)
    path = tmp_path / "out.h5"
    sent, groups = [], []
    for _ in range(3):
        with ImageFileWriter(path) as writer:
            sent.append(make_image(rng))
            writer.append(*sent[-1])
        groups.append(writer.group)
    assert groups == ["2024-01-01 00:00:00", "2024-01-01 00:00:00 (2)", "2024-01-01 00:00:00 (3)"]
    assert list_image_groups(path) == sorted(groups)
    for group, (header, data) in zip(groups, sent, strict=True):
        (image,) = load_images(path, group)
        assert bytes(image.header) == bytes(header)
        np.testing.assert_array_equal(image.data, data)
    with pytest.raises(StorageError, match="several runs — name one of"):
        load_images(path)
    assert folder_content(tmp_path) == {"out.h5"}


def test_a_group_that_exists_is_refused_before_anything_runs(tmp_path, rng):
    path = tmp_path / "out.h5"
    with ImageFileWriter(path, "out") as writer:
        writer.append(*make_image(rng))
    before = path.read_bytes()
    with pytest.raises(StorageError, match="group 'out' exists already"):
        ImageFileWriter(path, "out")
    assert path.read_bytes() == before
    assert folder_content(tmp_path) == {"out.h5"}


def test_two_writers_at_once_lose_nothing(tmp_path, rng):
    path = tmp_path / "out.h5"
    images = [make_image(rng) for _ in range(8)]
    writers = [ImageFileWriter(path, "same") for _ in images]

    def run(writer, image):
        writer.append(*image)
        writer.close()

    threads = [threading.Thread(target=run, args=pair) for pair in zip(writers, images, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(list_image_groups(path))) == 8
    for writer, (_header, data) in zip(writers, images, strict=True):
        (image,) = load_images(path, writer.group)
        np.testing.assert_array_equal(image.data, data)


def test_a_file_that_is_no_hdf5_is_never_replaced(tmp_path):
    path = tmp_path / "out.h5"
    path.write_text("a letter", encoding="ascii")
    with pytest.raises(StorageError, match="not an HDF5 file"):
        ImageFileWriter(path)
    assert path.read_text(encoding="ascii") == "a letter"


def test_no_image_no_file(tmp_path):
    with ImageFileWriter(tmp_path / "out.h5"):
        pass
    assert folder_content(tmp_path) == set()
    with pytest.raises(StorageError, match="no such file"):
        load_images(tmp_path / "out.h5")


def test_a_failed_run_leaves_the_file_as_it_was(tmp_path, rng):
    path = tmp_path / "out.h5"
    with ImageFileWriter(path, "good") as writer:
        writer.append(*make_image(rng))
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), ImageFileWriter(path, "bad") as writer:
        writer.append(*make_image(rng))
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert folder_content(tmp_path) == {"out.h5"}


def test_what_did_arrive_can_be_kept(tmp_path, rng):
    writer = ImageFileWriter(tmp_path / "out.h5")
    writer.append(*make_image(rng))
    writer.close()
    writer.close()
    writer.abort()
    assert len(load_images(tmp_path / "out.h5")) == 1


@pytest.mark.parametrize("step", ["copyfile", "fsync", "replace"])
def test_a_full_disk_at_the_end_leaves_the_file_as_it_was(tmp_path, rng, monkeypatch, step):
    path = tmp_path / "out.h5"
    with ImageFileWriter(path, "good") as writer:
        writer.append(*make_image(rng))
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = ImageFileWriter(path, "late")
    writer.append(*make_image(rng))
    monkeypatch.setattr({"copyfile": images_module.shutil, "fsync": os, "replace": Path}[step], step, full)
    with pytest.raises(StorageError, match=r"out\.h5: No space left on device"):
        writer.close()
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert folder_content(tmp_path) == {"out.h5"}


FULL_DISK = """
import resource, signal, sys
import numpy as np, ismrmrd
from gadgetron.dataset import ImageFileWriter, ScanWriter
from gadgetron.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
readout = ismrmrd.AcquisitionHeader()
readout.number_of_samples = readout.active_channels = 32
try:
    if sys.argv[3] == "images":
        with ImageFileWriter(sys.argv[1]) as writer:
            for _ in range(20):
                writer.append(ismrmrd.ImageHeader(), np.ones((1, 1, 64, 64), np.float32))
    else:
        with ScanWriter(sys.argv[1]) as writer:
            for _ in range(600):
                writer.append(readout, np.ones((32, 32), np.complex64))
except StorageError as error:
    sys.exit("said: " + str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [0, 1000, 20_000, 100_000, 300_000])
@pytest.mark.parametrize("kind", ["images", "scan"])
def test_a_file_that_may_not_grow_is_a_storage_error_and_leaves_nothing(tmp_path, limit_bytes, kind):
    command = [sys.executable, "-W", "ignore", "-c", FULL_DISK, str(tmp_path / "out.h5"), str(limit_bytes), kind]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=root)
    assert done.returncode == 1, done
    assert "said: out.h5: File too large" in done.stderr
    assert folder_content(tmp_path) == set()


@pytest.mark.parametrize(
    "data", [np.zeros((4, 4), np.float32), np.zeros((1, 1, 4, 4), np.int8), np.zeros((1, 1, 1, 1), object)]
)
def test_what_is_no_image_is_refused(tmp_path, data):
    with ImageFileWriter(tmp_path / "out.h5") as writer, pytest.raises(StorageError, match="is expected"):
        writer.append(ismrmrd.ImageHeader(), data)


def test_images_without_a_scan_are_its_items(tmp_path, rng):
    path = tmp_path / "images.h5"
    images = [make_image(rng, series=series) for series in (1, 0, 1)]
    for number, (header, _) in enumerate(images):
        header.repetition, header.field_of_view[0], header.field_of_view[1] = number, 200.0, 300.0
    with ImageFileWriter(path, "run") as writer:
        for (header, data), attributes in zip(images, ("", None, ismrmrd.Meta({"a": "b"})), strict=True):
            writer.append(header, data, attributes)
    with ScanFile(path) as scan:
        assert (scan.group, scan.n_images, scan.n_items, scan.n_acquisitions) == ("run", 3, 3, 0)
        found = list(scan.items())
        encoding = parse_ismrmrd_header(scan.header_xml).encoding[0]
    assert [image.header.repetition for image in found] == [1, 0, 2]  # series after series
    assert [image.meta for image in found] == [None, None, {"a": "b"}]
    np.testing.assert_array_equal(found[1].data, images[0][1])
    size = encoding.reconSpace.matrixSize
    assert (size.x, size.y, size.z) == (6, 4, 1)
    assert encoding.encodingLimits.repetition.maximum == 2
    assert encoding.encodedSpace.fieldOfView_mm.y == 300.0


def test_a_header_beside_images_is_theirs(tmp_path, rng):
    path = tmp_path / "images.h5"
    with ImageFileWriter(path, "dataset") as writer:
        writer.append(*make_image(rng))
    with h5py.File(path, "r+") as file:
        file["dataset/xml"] = [b"<header/>"]
    with ScanFile(path) as scan:
        assert scan.header_xml == b"<header/>"
        assert scan.n_images == 1


def test_images_beside_readouts_are_not_sent(tmp_path, rng):
    path, other = tmp_path / "both.h5", tmp_path / "images.h5"
    write_scan(path, [make_acquisition(rng)])
    with ImageFileWriter(other, "run") as images:
        images.append(*make_image(rng))
    with h5py.File(path, "r+") as file, h5py.File(other) as source:
        source.copy("run/image_0", file["dataset"])
    with ScanFile(path) as scan:
        assert (scan.n_images, scan.n_items) == (0, 1)
        assert [type(item) for item in scan.items()] == [Acquisition]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StorageError, match="no such file or folder"):
        ImageFileWriter(tmp_path / "missing" / "out.h5")
    with pytest.raises(StorageError, match="no such file or folder"):
        ScanWriter(tmp_path / "missing" / "scan.h5")
