"""default.xml and its kin against what the C++ Gadgetron computes, and against plain NumPy: phantoms and real scans."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from gadgetron import reconstruct
from gadgetron.header import parse_ismrmrd_header
from tests.gadgets.support import centred_fft, centred_ifft, reference_image, relative_difference
from tests.reference import GOLDEN_IMAGES, reference_file

CASES = [
    pytest.param(*file.stem.split("__"), id=file.stem)
    for configuration in ("default", "default_optimized", "default_short", "parallel_bypass_example")
    for file in sorted(GOLDEN_IMAGES.glob(f"{configuration}__*.h5"))
] or [pytest.param(None, None, id="absent", marks=pytest.mark.skip(reason="no ../shared/golden/images"))]

IMAGING_EXCLUDED = sum(
    1 << (flag - 1)
    for flag in (
        ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
        ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
    )
)


def scan_file(name: str) -> Path:
    folder = "golden/inputs" if name.startswith("sl") else "data"
    return reference_file(*folder.split("/"), f"{name}.h5")


def golden_series(configuration: str, scan: str):
    with h5py.File(reference_file("golden", "images", f"{configuration}__{scan}.h5")) as file:
        group = file["out/image_0"]
        return group["data"][...], group["header"][...], list(group["attributes"][...])


def differing_fields(header: ismrmrd.ImageHeader, golden: np.void) -> list[str]:
    """Name the header fields that differ."""
    names = []
    for name in golden.dtype.names:
        ours = getattr(header, name)
        ours = ours[:] if hasattr(ours, "__len__") else ours
        if not np.array_equal(np.asarray(ours), golden[name]):
            names.append(name)
    return names


@pytest.mark.slow
@pytest.mark.parametrize(("configuration", "scan"), CASES)
def test_images_and_headers_are_those_of_the_cpp_gadgetron(configuration, scan):
    images = reconstruct(scan_file(scan), f"{configuration}.xml")
    golden, headers, attributes = golden_series(configuration, scan)
    data = np.array([image.data for image in images])
    assert data.shape == golden.shape
    assert data.dtype == golden.dtype
    if data.dtype == np.uint16:
        distance = np.abs(data.astype(int) - golden.astype(int))
        assert distance.max() <= 1
        assert (distance == 0).mean() >= 0.9
    else:
        assert relative_difference(data, golden) < 1e-5
    # In C++ the counters of an image come from the center line even if that was calibration only, and is zero.
    mended = {"repetition"} if "accel2" in scan else set()
    for image, header in zip(images, headers, strict=True):
        assert set(differing_fields(image.header, header)) <= mended
    assert not any(attributes)
    assert not any(image.meta for image in images)


def read_scan(path: Path):
    """Read a copy: the ismrmrd package opens what it reads for writing, and others could not read it meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copyfile(path, Path(folder, "scan.h5"))
        with ismrmrd.Dataset(copy, "dataset", create_if_needed=False) as dataset:
            header = parse_ismrmrd_header(dataset.read_xml_header())
            acquisitions = [dataset.read_acquisition(index) for index in range(dataset.number_of_acquisitions())]
    return header, acquisitions


def numpy_images(path: Path) -> dict[tuple[int, int], np.ndarray]:
    """Reconstruct by (repetition, slice): crop the readout's field of view, transform, root sum of squares."""
    header, acquisitions = read_scan(path)
    encoding = header.encoding[0]
    matrix, limit = encoding.encodedSpace.matrixSize, encoding.encodingLimits.kspace_encoding_step_1
    limit_2 = encoding.encodingLimits.kspace_encoding_step_2
    ratio = encoding.encodedSpace.fieldOfView_mm.x / encoding.reconSpace.fieldOfView_mm.x
    kspaces: dict[tuple[int, int], np.ndarray] = {}
    for acquisition in acquisitions:
        if acquisition.flags & IMAGING_EXCLUDED:
            continue
        n_x = int(acquisition.number_of_samples / ratio)
        start = (acquisition.number_of_samples - n_x) // 2
        line = centred_fft(centred_ifft(acquisition.data, (1,))[:, start : start + n_x], (1,))
        key = (acquisition.idx.repetition, acquisition.idx.slice)
        kspace = kspaces.setdefault(key, np.zeros((len(line), matrix.z, matrix.y, n_x), complex))
        y = acquisition.idx.kspace_encode_step_1 - limit.center + matrix.y // 2
        z = acquisition.idx.kspace_encode_step_2 - limit_2.center + matrix.z // 2 if matrix.z > 1 else 0
        kspace[:, z, y] = line
    return {key: reference_image(kspace) for key, kspace in sorted(kspaces.items())}


@pytest.mark.slow
@pytest.mark.parametrize(
    "scan",
    [
        "sl80_os3_noise",
        "sl96_accel2_noise",
        "sl96_full",
        "sl96_noise",
        "bruker_flash_phantom_3slice_1ch",
        "lowfield_rare3d_partial_noise_1ch",
        "siemens_cimax_brain_flash_16ch_R2_acs24",
        "siemens_cimax_brain_flash_16ch_full",
        "siemens_skyra_gre_phantom_2rep_2ch",
        "siemens_trio_phantom_flash_4ch_full",
    ],
)
def test_default_equals_plain_numpy(scan):
    path = scan_file(scan)
    images = reconstruct(path, "default.xml")
    expected = numpy_images(path)
    assert [(image.header.repetition, image.header.slice) for image in images] == list(expected)
    for image, pixels in zip(images, expected.values(), strict=True):
        assert relative_difference(image.data[0], pixels) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("scan", ["siemens_cimax_brain_flash_16ch_full", "bruker_flash_phantom_3slice_1ch"])
def test_the_seeds_chain_gives_the_magnitude_of_each_coil(scan):
    path = scan_file(scan)
    images = reconstruct(path, "seed_example.xml")
    combined = [np.sqrt((image.data.astype(float) ** 2).sum(axis=0)) for image in images]
    expected = numpy_images(path)
    by_slice = {image.header.slice: pixels for image, pixels in zip(images, combined, strict=True)}
    assert len(by_slice) == len(expected)
    for (_, slice_index), pixels in expected.items():
        assert relative_difference(by_slice[slice_index], pixels) < 1e-6
    assert {image.data.shape[0] for image in images} == {read_scan(path)[1][0].active_channels}
