"""The simulated scan: header, flags and readouts agree with each other, and give the phantom back."""

from collections import Counter, defaultdict

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from gadgetron.cli import phantom as program
from gadgetron.dataset import ScanFile
from gadgetron.phantom import PhantomOptions, PhantomScan, echo_amplitude, write_phantom

SMALL = {"matrix": 24, "n_coils": 3, "noise_level": 0.0}


def scan_of(**options):
    return PhantomScan(PhantomOptions(**(SMALL | options)))


def flagged(header, name):
    return header.isFlagSet(getattr(ismrmrd, f"ACQ_{name}"))


def reconstruct(acquisitions, shape):
    """Centred orthonormal inverse FFT and root sum of squares over the coils, in NumPy; shape (coils, z, y, x)."""
    k_space = np.zeros(shape, np.complex128)
    for header, data, _trajectory in acquisitions:
        k_space[:, header.idx.kspace_encode_step_2, header.idx.kspace_encode_step_1] = data
    axes = (1, 2, 3)
    images = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(k_space, axes=axes), axes=axes, norm="ortho"), axes=axes)
    return np.sqrt(np.sum(np.abs(images) ** 2, axis=0))


def cropped(images, n_x):
    start = images.shape[-1] // 2 - n_x // 2
    return images[..., start : start + n_x]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"matrix": 25, "oversampling": 3},
        {"matrix": 20, "matrix_y": 36, "oversampling": 1},
        {"matrix": 16, "n_partitions": 6},
        {"matrix": 15, "matrix_y": 9, "n_partitions": 5},
        {"intensity": 1000.0},
    ],
)
def test_a_full_scan_gives_the_phantom_back(options):
    scan = scan_of(**options)
    n_z, n_y, n_x = scan.phantom.shape
    images = reconstruct(scan.acquisitions(), (3, n_z, n_y, scan.options.n_samples))
    np.testing.assert_allclose(cropped(images, n_x), scan.phantom, atol=1e-5 * scan.options.intensity)
    outside = images.sum() - cropped(images, n_x).sum()
    assert outside < 1e-3 * images.sum()


def test_slices_contrasts_and_repetitions_are_where_their_counters_say():
    scan = scan_of(n_slices=3, n_contrasts=2, n_repetitions=2)
    groups = defaultdict(list)
    for acquisition in scan.acquisitions():
        index = acquisition.header.idx
        groups[index.repetition, index.contrast, index.slice].append(acquisition)
    assert len(groups) == 12
    for (_repetition, contrast, slice_), acquisitions in groups.items():
        image = cropped(reconstruct(acquisitions, (3, 1, 24, 48)), 24)[0]
        np.testing.assert_allclose(image, scan.phantom[slice_] * echo_amplitude(contrast), atol=1e-5)
    assert len({tuple(scan.phantom[n].ravel()) for n in range(3)}) == 3
    heights = {group[0].header.position[2] for group in groups.values()}
    assert heights == {-6.0, 0.0, 6.0}


def test_the_flags_open_and_close_every_loop():
    scan = scan_of(matrix=4, n_partitions=3, n_slices=2, n_contrasts=2, n_repetitions=2)
    headers = [acquisition.header for acquisition in scan.acquisitions()]
    assert len(headers) == scan.n_acquisitions == 4 * 3 * 2 * 2 * 2
    lengths = {"ENCODE_STEP1": 4, "ENCODE_STEP2": 12, "SLICE": 12, "CONTRAST": 24, "REPETITION": 48}
    for loop, length in lengths.items():
        firsts = [n for n, header in enumerate(headers) if flagged(header, f"FIRST_IN_{loop}")]
        lasts = [n for n, header in enumerate(headers) if flagged(header, f"LAST_IN_{loop}")]
        assert firsts == list(range(0, 96, length)), loop
        assert lasts == list(range(length - 1, 96, length)), loop
    assert [n for n, header in enumerate(headers) if flagged(header, "LAST_IN_MEASUREMENT")] == [95]


def test_flags_are_right_when_lines_are_left_out():
    scan = scan_of(matrix=10, acceleration=3, n_repetitions=3)
    lines = defaultdict(list)
    for header, _data, _trajectory in scan.acquisitions():
        lines[header.idx.repetition].append(header)
    assert {r: [h.idx.kspace_encode_step_1 for h in headers] for r, headers in lines.items()} == {
        0: [0, 3, 6, 9],
        1: [1, 4, 7],
        2: [2, 5, 8],
    }
    for headers in lines.values():
        assert [flagged(h, "FIRST_IN_SLICE") for h in headers] == [True] + [False] * (len(headers) - 1)
        assert [flagged(h, "LAST_IN_SLICE") for h in headers] == [False] * (len(headers) - 1) + [True]
    assert scan.n_acquisitions == 10


def test_calibration_lines_are_all_there_and_say_what_they_are():
    scan = scan_of(matrix=32, acceleration=4, calibration_width=9, n_repetitions=2)
    kinds = defaultdict(list)
    for header, _data, _trajectory in scan.acquisitions():
        calibration = flagged(header, "IS_PARALLEL_CALIBRATION")
        both = flagged(header, "IS_PARALLEL_CALIBRATION_AND_IMAGING")
        assert not (calibration and both)
        kind = "calibration" if calibration else "both" if both else "imaging"
        kinds[header.idx.repetition, kind].append(header.idx.kspace_encode_step_1)
    for repetition in (0, 1):
        assert kinds[repetition, "both"] == [12, 16, 20]
        assert kinds[repetition, "calibration"] == [13, 14, 15, 17, 18, 19]
        assert kinds[repetition, "imaging"] == [0, 4, 8, 24, 28]


def test_the_header_describes_the_scan():
    scan = scan_of(
        matrix=20, matrix_y=30, n_partitions=4, n_slices=2, n_contrasts=3, n_repetitions=5, acceleration=2,
        calibration_width=8, field_of_view_mm=200.0,
    )  # fmt: skip
    header = xsd.CreateFromDocument(scan.header_xml)
    encoding = header.encoding[0]
    sizes = [(s.matrixSize.x, s.matrixSize.y, s.matrixSize.z) for s in (encoding.encodedSpace, encoding.reconSpace)]
    assert sizes == [(40, 30, 4), (20, 30, 4)]
    spaces = (encoding.encodedSpace.fieldOfView_mm, encoding.reconSpace.fieldOfView_mm)
    assert [(s.x, s.y, s.z) for s in spaces] == [(400, 300, 24), (200, 300, 24)]
    limits = encoding.encodingLimits
    named = {
        "kspace_encoding_step_0": (39, 20), "kspace_encoding_step_1": (29, 15), "kspace_encoding_step_2": (3, 2),
        "slice": (1, 0), "contrast": (2, 0), "repetition": (4, 0), "average": (0, 0), "phase": (0, 0), "set": (0, 0),
        "segment": (0, 0),
    }  # fmt: skip
    for name, (maximum, center) in named.items():
        limit = getattr(limits, name)
        assert (limit.minimum, limit.maximum, limit.center) == (0, maximum, center), name
    assert encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 == 2
    assert encoding.parallelImaging.calibrationMode.value == "embedded"
    assert encoding.trajectory.value == "cartesian"
    assert header.acquisitionSystemInformation.receiverChannels == 3
    assert len(header.acquisitionSystemInformation.coilLabel) == 3
    assert header.sequenceParameters.TE == [5.0, 10.0, 15.0]


def test_noise_has_the_ordered_level_in_readouts_and_noise_scan():
    options = {"matrix": 64, "n_coils": 4, "intensity": 200.0, "noise_calibration": True, "oversampling": 1}
    noisy = list(scan_of(**options, noise_level=0.05).acquisitions())
    clean = list(scan_of(**options).acquisitions())
    differences = np.stack([a.data - b.data for a, b in zip(noisy, clean, strict=True)])
    np.testing.assert_allclose([differences.real.std(), differences.imag.std()], 10.0, rtol=0.03)
    noise = [a for a in noisy if flagged(a.header, "IS_NOISE_MEASUREMENT")]
    assert noisy[: len(noise)] == noise
    assert sum(a.data.shape[1] for a in noise) >= 64 * 4
    np.testing.assert_allclose(np.concatenate([a.data for a in noise], axis=1).real.std(), 10.0, rtol=0.1)
    assert not clean[0].data.any()


def test_correlated_noise_is_correlated():
    scan = scan_of(matrix=64, n_coils=2, noise_level=1.0, noise_correlation=0.8, noise_calibration=True, intensity=1.0)
    clean = scan_of(matrix=64, n_coils=2, noise_calibration=True)
    noise = np.concatenate(
        [a.data - b.data for a, b in zip(scan.acquisitions(), clean.acquisitions(), strict=True)], axis=1
    )
    assert abs(np.corrcoef(noise)[0, 1]) == pytest.approx(0.8, abs=0.03)


def test_the_seed_decides_about_the_noise_and_nothing_else():
    scans = [list(scan_of(noise_level=0.1, seed=seed).acquisitions()) for seed in (1, 1, 2)]
    for first, second, third in zip(*scans, strict=True):
        np.testing.assert_array_equal(first.data, second.data)
        assert np.abs(first.data - third.data).max() > 0
        assert bytes(first.header) == bytes(third.header)


def test_counters_and_clocks_run():
    headers = [a.header for a in scan_of(noise_calibration=True).acquisitions()]
    assert [h.scan_counter for h in headers] == list(range(len(headers)))
    stamps = [h.acquisition_time_stamp for h in headers]
    assert stamps == sorted(set(stamps))
    assert all(h.active_channels == h.available_channels == 3 and h.channel_mask[0] == 0b111 for h in headers)
    assert all(h.sample_time_us == 5.0 for h in headers)
    assert headers[-1].center_sample == 24


def test_coordinates_are_stored_when_asked_for():
    for header, data, trajectory in scan_of(matrix=8, n_partitions=2, store_coordinates=True).acquisitions():
        assert trajectory.shape == (data.shape[1], 3) == (16, header.trajectory_dimensions)
        np.testing.assert_array_equal(trajectory[8], [0, header.idx.kspace_encode_step_1 / 8 - 0.5,
                                                      header.idx.kspace_encode_step_2 / 2 - 0.5])  # fmt: skip
    assert all(a.trajectory is None for a in scan_of().acquisitions())


@pytest.mark.parametrize("golden_angle", [False, True])
def test_radial_readouts_are_the_fourier_transform_of_the_coil_images(golden_angle):
    scan = scan_of(trajectory="radial", n_spokes=11, golden_angle=golden_angle, n_repetitions=2)
    images = scan.sensitivities[:, 0] * scan.phantom[0]
    y, x = np.mgrid[-12:12, -12:12]
    angles = set()
    for header, data, trajectory in scan.acquisitions():
        assert data.shape == (3, 48)
        assert trajectory.shape == (48, header.trajectory_dimensions)
        for sample in (0, 17, 24, 47):
            k_x, k_y = trajectory[sample]
            wave = np.exp(-2j * np.pi * (k_x * x + k_y * y)) / 24
            np.testing.assert_allclose(data[:, sample], (images * wave).sum(axis=(1, 2)), atol=1e-4)
        angles.add(round(float(np.arctan2(*trajectory[-1, ::-1])), 4))
    assert len(angles) == (22 if golden_angle else 11)
    encoding = xsd.CreateFromDocument(scan.header_xml).encoding[0]
    assert encoding.trajectory.value == "radial"
    assert encoding.encodedSpace.matrixSize == encoding.reconSpace.matrixSize


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"matrix": 0}, "matrix is 0 — from 1 to 65535"),
        ({"matrix": 40000}, "n_samples is 80000"),
        ({"n_coils": -1}, "n_coils is -1"),
        ({"acceleration": 300}, "acceleration is 300 — from 1 to 256"),
        ({"calibration_width": 257}, "calibration_width is 257"),
        ({"noise_correlation": 1.0}, "below 1"),
        ({"noise_level": -1.0}, "positive"),
        ({"noise_level": float("nan")}, "positive"),
        ({"trajectory": "radial", "n_partitions": 2}, "one partition"),
        ({"trajectory": "radial", "calibration_width": 2}, "no calibration"),
        ({"n_spokes": 10}, "radial"),
    ],
)
def test_options_that_make_no_scan_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PhantomOptions(**options)


def test_the_file_holds_the_scan_the_object_and_the_coils(tmp_path):
    options = PhantomOptions(**SMALL, noise_calibration=True)
    scan = write_phantom(tmp_path / "scan.h5", options)
    with ScanFile(tmp_path / "scan.h5") as file:
        assert file.header_xml == scan.header_xml
        for found, expected in zip(file.acquisitions(), PhantomScan(options).acquisitions(), strict=True):
            assert bytes(found.header) == bytes(expected.header)
            np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(file.read_array("phantom")[0], scan.phantom)
        np.testing.assert_array_equal(file.read_array("csm")[0], scan.sensitivities)


def test_the_program_writes_what_its_options_say(tmp_path, capsys):
    path = tmp_path / "scan.h5"
    arguments = "-m 16 -c 4 -O 3 -r 2 -s 2 -a 2 -w 4 -n 0.1 -C -k --contrasts 2 -d monday".split()  # noqa: SIM905 - legible
    assert program.main([*arguments, "-o", str(path)]) == 0
    assert "readouts of 48 samples, 4 coils" in capsys.readouterr().out
    with ScanFile(path, "monday") as scan:
        headers = [acquisition.header for acquisition in scan.acquisitions()]
        for header, _data, trajectory in scan.acquisitions():
            assert (trajectory is None) == flagged(header, "IS_NOISE_MEASUREMENT")
    counts = Counter((h.idx.repetition, h.idx.slice, h.idx.contrast) for h in headers[6:])
    assert len(counts) == 8
    assert set(counts.values()) == {10}


def test_the_program_keeps_existing_files_unless_forced(tmp_path, capsys):
    path = tmp_path / "scan.h5"
    path.write_text("precious", encoding="ascii")
    assert program.main(["-m", "8", "-q", "-o", str(path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert path.read_text(encoding="ascii") == "precious"
    assert program.main(["-m", "8", "-q", "-o", str(path), "--force"]) == 0
    assert capsys.readouterr().out == ""
    with ScanFile(path) as scan:
        assert scan.n_acquisitions == 8


def test_the_program_refuses_impossible_options(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        program.main(["-m", "8", "-a", "9", "-o", str(tmp_path / "scan.h5")])
    assert caught.value.code == 2
    assert "acceleration is 9" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
