"""The pre-flight check: a scan that is as it should be, and what is said when it is not."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.cli import validate
from gadgetron.dataset import ImageFileWriter, ScanWriter
from tests.cli.test_info_validate import plain_environment  # noqa: F401 - a fixture for every test here
from tests.gadgets.support import PARALLEL, acquisition, centred_fft, complex_noise, header_xml, image, objects
from tests.gadgets.test_epi import epi_header
from tests.gadgets.test_epi import shot as epi_shot
from tests.reference import SCANS, reference_file

N_X, N_Y = 32, 24
NOISE = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
BOTH = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,)
GENERIC = "Generic_Cartesian_Grappa.xml"


def kspace():
    y, x = np.mgrid[-1:1:24j, -1:1:32j]
    disc = ((x / 0.7) ** 2 + (y / 0.8) ** 2 < 1) * np.ones((3, 1, 1))
    return centred_fft(disc, (1, 2)).astype(np.complex64)


def lines(steps=range(N_Y), calibration=(), **fields):
    data = kspace()
    return [
        acquisition(
            data[:, y].copy(),
            kspace_encode_step_1=y,
            flags=BOTH if y in calibration else (),
            sample_time_us=5.0,
            **fields,
        )
        for y in steps
    ]


def extra_flags(messages, acceleration=2):
    """Make calibration lines that are not on the lattice be for calibration alone."""
    for message in messages:
        head = objects(message)[0]
        if head.flags and head.idx.kspace_encode_step_1 % acceleration:
            head.flags = 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
    return messages


def noise(n_channels=3, n=2):
    rng = np.random.default_rng(1)
    return [acquisition(complex_noise(rng, n_channels, 64), flags=NOISE, sample_time_us=5.0) for _ in range(n)]


def silence(n=2):
    return [acquisition(np.zeros((3, 64), np.complex64), flags=NOISE, sample_time_us=5.0) for _ in range(n)]


def one_coil(steps, calibration):
    data = kspace()[:1]
    flags = [BOTH if y in calibration else () for y in steps]
    return [
        acquisition(data[:, y].copy(), kspace_encode_step_1=y, flags=flag) for y, flag in zip(steps, flags, strict=True)
    ]


def header(**more):
    limits = {
        "kspace_encoding_step_1": (0, N_Y - 1, N_Y // 2),
        "kspace_encoding_step_2": (0, 0, 0),
        "slice": (0, 0, 0),
        **more.pop("limits", {}),
    }
    return header_xml(matrix=(N_X, N_Y, 1), limits=limits, **more)


@pytest.fixture
def judge(tmp_path, capsys):
    """Give exit status and text for a scan and a configuration."""

    def run(xml, messages, configuration="default.xml", *options):
        path = tmp_path / "scan.h5"
        with ScanWriter(path, overwrite=True) as writer:
            writer.write_header(xml)
            for message in messages:
                writer.append(*objects(message))
        status = validate.main([configuration, "--data", str(path), *options])
        return status, capsys.readouterr().out

    return run


@pytest.mark.parametrize("configuration", ["default.xml", GENERIC])
def test_a_scan_as_it_should_be_is_valid(configuration, judge):
    status, text = judge(header(), [*noise(), *lines()], configuration)
    assert status == 0
    assert "valid" in text
    assert len(text.splitlines()) == 1


def test_an_accelerated_scan_as_it_should_be_is_valid(judge):
    steps = sorted({*range(0, N_Y, 2), *range(5, 19)})
    xml = header(parallel=PARALLEL.format(mode="embedded"))
    assert judge(xml, [*noise(), *extra_flags(lines(steps, range(5, 19)))], GENERIC)[1].count("\n") == 1


ACCELERATED = header(parallel=PARALLEL.format(mode="embedded"))
WITHOUT_MODE = header(parallel=PARALLEL.format(mode="").replace("<calibrationMode></calibrationMode>", ""))
DEPENDENT = header(
    more="<measurementInformation><measurementID>1_2</measurementID><measurementDependency><dependencyType>Noise"
    "</dependencyType><measurementID>7</measurementID></measurementDependency></measurementInformation>"
)
LABELS = header(
    more="<acquisitionSystemInformation><receiverChannels>8</receiverChannels><coilLabel><coilNumber>0</coilNumber>"
    "<coilName>a</coilName></coilLabel></acquisitionSystemInformation>"
)
EVERY_SECOND = range(0, N_Y, 2)

CASES = {
    "no noise": (header(), lambda: lines(), GENERIC, "warning: no noise scan"),
    "noise elsewhere": (DEPENDENT, lambda: lines(), GENERIC, "notice: the header depends on the noise measurement 1_7"),
    "noise late": (header(), lambda: [*lines(), *noise()], GENERIC, "come after the first imaging readout"),
    "noise of others": (header(), lambda: [*noise(4), *lines()], GENERIC, "noise readouts have 4 channels"),
    "SNR without noise": (
        header(),
        lambda: lines(),
        "Generic_Cartesian_Grappa_SNR.xml",
        "SNR maps and noise maps mean",
    ),
    "aliased": (ACCELERATED, lambda: lines(EVERY_SECOND), "default.xml", "images will be aliased"),
    "no calibration": (
        ACCELERATED,
        lambda: lines(EVERY_SECOND),
        GENERIC,
        "no readout is flagged as parallel calibration",
    ),
    "no calibration flags": (
        ACCELERATED,
        lambda: [line for r in range(2) for line in lines(range(r, N_Y, 2), repetition=r)],
        GENERIC,
        "warning: encoding 0 is accelerated 2 times, and no readout is flagged as parallel calibration",
    ),
    "interleaved in vain": (
        header(parallel=PARALLEL.format(mode="interleaved")),
        lambda: [line for r in range(2) for line in lines(EVERY_SECOND, repetition=r)],
        GENERIC,
        "error: encoding 0 is accelerated 2 times, and no two lines lie side by side in any repetition",
    ),
    "no mode": (WITHOUT_MODE, lambda: lines(EVERY_SECOND, range(24)), GENERIC, "calibrationMode is missing"),
    "every second calibration line": (
        ACCELERATED,
        lambda: lines(EVERY_SECOND, range(4, 20)),
        GENERIC,
        "error: encoding 0, slice 0: calibration lines 5, 7, 9, 11, 13, 15, 17 of 4 to 18 are missing",
    ),
    "a calibration line": (
        ACCELERATED,
        lambda: lines(sorted({*EVERY_SECOND, *range(5, 19)} - {11}), range(5, 19)),
        GENERIC,
        "warning: encoding 0, slice 0: calibration lines 11 of 5 to 18 are missing: what can be is found from",
    ),
    "a calibration line, slice by slice": (
        ACCELERATED,
        lambda: lines(sorted({*EVERY_SECOND, *range(5, 19)} - {11}), range(5, 19)),
        "grappa_float_cpu.xml",
        "calibration lines 11 of 5 to 18 are missing: lines behind a gap, seen from the center of k-space, do not",
    ),
    "an extra calibration line, slice by slice": (
        ACCELERATED,
        lambda: extra_flags(lines(sorted({*EVERY_SECOND, *range(5, 20)} - {11}), range(5, 20))),
        "grappa_float_cpu.xml",
        "calibration lines 11 of 5 to 19 are missing: what can be is found from",
    ),
    "another acceleration": (
        ACCELERATED,
        lambda: extra_flags(lines(sorted({*range(0, N_Y, 3), *range(9, 14)}), range(9, 14)), 3),
        GENERIC,
        "warning: encoding 0: one of 3 lines was measured, and the header says acceleration 2: 3 is assumed",
    ),
    "another acceleration, slice by slice": (
        ACCELERATED,
        lambda: extra_flags(lines(sorted({*range(0, N_Y, 3), *range(9, 14)}), range(9, 14)), 3),
        "grappa_float_cpu.xml",
        "warning: encoding 0: one of 3 lines was measured, and the header says acceleration 2: 3 is assumed",
    ),
    "acceleration not in the header": (
        header(),
        lambda: extra_flags(lines(sorted({*EVERY_SECOND, *range(9, 14)}), range(9, 14))),
        GENERIC,
        "warning: encoding 0: one of 2 lines was measured, and the header says no acceleration: 2 is assumed",
    ),
    "calibration flags lost": (
        ACCELERATED,
        lambda: lines(sorted({*EVERY_SECOND, *range(5, 19)})),
        GENERIC,
        "warning: encoding 0: imaging lines 4 to 18 lie side by side, others are 2 apart: if they are for calibration",
    ),
    "some calibration lines": (
        ACCELERATED,
        lambda: lines(sorted({*EVERY_SECOND, *range(5, 19)} - {9, 13}), range(5, 19)),
        GENERIC,
        "5 lie side by side, which is hardly enough",
    ),
    "calibration once": (
        ACCELERATED,
        lambda: [*lines(range(24), range(24)), *lines(EVERY_SECOND, repetition=1)],
        GENERIC,
        "notice: encoding 0: calibration lines in repetition 0 only: the last one serves those that have none, 1",
    ),
    "one coil": (ACCELERATED, lambda: one_coil(EVERY_SECOND, range(24)), GENERIC, "and there is one coil: parallel"),
    "silent noise": (header(), lambda: [*silence(), *lines()], GENERIC, "all samples of the noise readouts are zero"),
    "volume": (header_xml(matrix=(N_X, N_Y, 4)), lambda: lines(), "grappa_cpu.xml", "error: matrixSize.z (4): this"),
    "volume in a parallel node": (
        header_xml(matrix=(N_X, N_Y, 4)),
        lambda: lines(),
        "grappa_float_cpu.xml",
        "error: matrixSize.z (4): this chain reconstructs slices, no volumes — Generic_Cartesian_Grappa.xml would",
    ),
    "encodings": (header(n_encodings=2), lambda: lines(), "grappa_cpu.xml", "error: 2 encodings: this chain takes one"),
    "slices in turn": (
        header(limits={"slice": (0, 2, 0)}),
        lambda: [line for y in range(N_Y) for s in range(3) for line in lines([y], slice=s)],
        "Generic_Cartesian_Grappa_RealTimeCine.xml",
        "warning: 3 images come in pieces, up to 24: trigger_dimension slice ends them",
    ),
    "repetitions in turn": (
        header(limits={"repetition": (0, 1, 0)}),
        lambda: [line for y in range(N_Y) for r in range(2) for line in lines([y], repetition=r)],
        "default.xml",
        "warning: 2 images come in pieces, up to 24: trigger_dimension repetition ends them",
    ),
    "few lines": (ACCELERATED, lambda: lines(calibration=range(10, 14)), GENERIC, "4 calibration lines are few"),
    "undeclared acceleration": (header(), lambda: lines(EVERY_SECOND), "default.xml", "every 2. line was measured"),
    "lines missing": (
        header(),
        lambda: lines(range(20)),
        "default.xml",
        "20 lines of the first image are there, 24 are",
    ),
    "center missing": (
        header(),
        lambda: lines([y for y in range(N_Y) if y != 12]),
        "default.xml",
        "the line at k-space center (12) is not there",
    ),
    "center elsewhere": (
        header(limits={"kspace_encoding_step_1": (0, 23, 4)}),
        lambda: lines(),
        "default.xml",
        "the strongest line is 12, and the center of kspace_encoding_step_1 is 4",
    ),
    "center not believed": (
        header(limits={"kspace_encoding_step_1": (0, 23, 4)}),
        lambda: lines(),
        "default.xml",
        "with center 4 in the middle, lines do not fit the matrix of 24: the center is taken for 12",
    ),
    "center believed by no other": (
        header(limits={"kspace_encoding_step_1": (0, 23, 4)}),
        lambda: lines(),
        "grappa_float_cpu.xml",
        "error: encoding 0, kspace_encoding_step_1: with center 4 in the middle, lines do not fit the matrix of 24",
    ),
    "center beyond": (
        header(limits={"kspace_encoding_step_1": (0, 23, 23)}),
        lambda: lines(range(20)),
        "default.xml",
        "k-space center (23) is beyond the lines",
    ),
    "center not in limits": (
        header(limits={"kspace_encoding_step_1": (0, 23, 40)}),
        lambda: lines(),
        "default.xml",
        "center 40 is not in the limits",
    ),
    "echo elsewhere": (header(), lambda: lines(center_sample=4), "default.xml", "the echo is at sample 16 of 32"),
    "echo nowhere": (
        header(),
        lambda: lines(center_sample=60),
        "default.xml",
        "center_sample of 24 readouts is beyond",
    ),
    "beyond the limits": (
        header(limits={"kspace_encoding_step_1": (0, 20, 12)}),
        lambda: lines(),
        "default.xml",
        "error: encoding 0, kspace_encoding_step_1: lines 0 to 23",
    ),
    "beyond the matrix": (
        header_xml(matrix=(32, 20, 1), limits={}),
        lambda: lines(),
        "default.xml",
        "error: encoding 0",
    ),
    "slices": (header(limits={"slice": (0, 2, 0)}), lambda: lines(), "default.xml", "notice: slice: 1 of 3 are there"),
    "slice beyond": (header(), lambda: lines(slice=4), "default.xml", "warning: slice: up to 4, and the limit is 0"),
    "coils": (LABELS, lambda: lines(), "default.xml", "1 coilLabel(s) for 3 channels"),
    "receivers": (LABELS, lambda: lines(), "default.xml", "receiverChannels (8) is not"),
    "encoding": (header(), lambda: lines(encoding_space_ref=2), "default.xml", "error: encoding_space_ref (2) of 24"),
    "radial": (header(trajectory="radial"), lambda: lines(), "default.xml", "error: encoding 0 is radial"),
    "radial, generic": (header(trajectory="radial"), lambda: lines(), GENERIC, "error: encoding 0 is radial"),
    "radial, slice by slice": (
        header(trajectory="radial"),
        lambda: lines(),
        "grappa_float_cpu.xml",
        "the images will be nonsense",
    ),
    "other trajectory": (header(trajectory="other"), lambda: lines(), "default.xml", "warning: encoding 0 is other"),
    "echo planar": (header(trajectory="epi"), lambda: lines(), "default.xml", "expect ghosts"),
    "not echo planar": (header(), lambda: lines(), "epi.xml", "error: encoding 0 has no trajectoryDescription"),
    "nothing": (header(), list, "default.xml", "error: the scan has no readouts"),
    "noise only": (header(), lambda: noise(), "default.xml", "no readout is imaging data"),
    "discarded": (header(), lambda: lines(discard_pre=40), "default.xml", "leave nothing of a readout"),
    "other channels": (
        header(),
        lambda: [*lines(range(12)), acquisition(np.ones((2, N_X), np.complex64), kspace_encode_step_1=12)],
        "default.xml",
        "error: active_channels changes between readouts: 2, 3",
    ),
    "other lengths": (
        header(),
        lambda: [*lines(range(12)), acquisition(np.ones((3, 20), np.complex64), kspace_encode_step_1=12)],
        "default.xml",
        "number_of_samples of encoding 0 changes",
    ),
    "silence": (
        header(),
        lambda: [acquisition(np.zeros((3, N_X), np.complex64), kspace_encode_step_1=y) for y in range(N_Y)],
        "default.xml",
        "all samples are zero",
    ),
    "not a number": (
        header(),
        lambda: [*lines(range(23)), acquisition(np.full((3, N_X), np.nan, np.complex64), kspace_encode_step_1=23)],
        "default.xml",
        "1 of 24 readouts have samples that are not finite",
    ),
    "noise that is not a number": (
        header(),
        lambda: [*broken_noise(), *lines()],
        GENERIC,
        "warning: 1 of 2 noise readouts have samples that are not finite",
    ),
    "oversampled": (
        header(fov=(64.0, 24.0, 1.0), recon=(16, N_Y, 1), recon_fov=(32.0, 24.0, 1.0)),
        lambda: lines(),
        "seed_example.xml",
        "oversampled 2 times along x",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_would_go_wrong_is_said(case, judge):
    xml, messages, configuration, said = CASES[case]
    status, text = judge(xml, messages(), configuration)
    assert said in text
    assert status == (1 if "error: " in text else 0)


def broken_noise():
    messages = noise()
    objects(messages[1])[1][0, 5] = np.nan
    return messages


@pytest.fixture
def judge_images(tmp_path, capsys):
    """Give exit status and text for images and a configuration."""

    def run(data, configuration):
        path = tmp_path / f"{data.dtype}_{configuration}.h5"
        with ImageFileWriter(path, "run") as writer:
            writer.append(image(data).object, data)
        status = validate.main([configuration, "--data", str(path), "--in-group", "run"])
        return status, capsys.readouterr().out

    return run


def test_images_that_a_gadget_does_not_take_are_told(judge_images):
    real = np.ones((1, 1, 4, 6), np.float32)
    status, text = judge_images(real, "stream_complex_to_float.xml")
    assert status == 0
    assert "warning: images are float32: ComplexToFloatGadget takes others" in text
    for data, configuration in (
        (real.astype(np.complex64), "stream_complex_to_float.xml"),
        (real, "stream_float_to_short.xml"),
        (real, "Generic_Cartesian_Image_Chain_FFT.xml"),
    ):
        assert "images are" not in judge_images(data, configuration)[1]


GOOD_ORDERS = {
    "slice by slice": (
        lambda: [line for r in range(2) for s in range(3) for line in lines(slice=s, repetition=r)],
        "Generic_Cartesian_Grappa_RealTimeCine.xml",
    ),
    "slices in turn": (
        lambda: [line for y in range(N_Y) for s in range(3) for line in lines([y], slice=s)],
        "Generic_Cartesian_Grappa.xml",
    ),
}


@pytest.mark.parametrize("order", GOOD_ORDERS)
def test_images_that_come_in_one_piece_are_not_complained_about(order, judge):
    messages, configuration = GOOD_ORDERS[order]
    xml = header(limits={"slice": (0, 2, 0), "repetition": (0, 1, 0)})
    assert "pieces" not in judge(xml, messages(), configuration)[1]


def with_reversed(messages, flags):
    """Have every readout with one of these flags run backwards no longer."""
    for message in messages:
        if message.object.flags & flags:
            message.object.flags &= ~(1 << (ismrmrd.ACQ_IS_REVERSE - 1))
    return messages


EPI_CASES = {
    "no navigators": (epi_header(), lambda: epi_shot(with_navigators=False), "no navigators"),
    "two navigators": (epi_header(), lambda: epi_shot(n_navigators=2), "2 navigators come together, and"),
    "few navigators": (epi_header(n_navigators=2), lambda: epi_shot(n_navigators=2), "2 navigators in a shot: 3 are"),
    "one direction": (epi_header(), lambda: with_reversed(epi_shot(), 2**64 - 1), "no readout is flagged as reversed"),
    "navigators alike": (epi_header(), lambda: with_reversed(epi_shot(), 1 << 23), "navigators do not alternate"),
    "no ramps": (epi_header(rampUpTime=None), lambda: epi_shot(), "trajectoryDescription has no rampUpTime"),
    "spiral": (epi_header(identifier="Spiral"), lambda: epi_shot(), "error: encoding 0 has the trajectory 'Spiral'"),
}


@pytest.mark.parametrize("case", EPI_CASES)
def test_what_would_go_wrong_with_echo_planar_readouts_is_said(case, judge):
    xml, messages, said = EPI_CASES[case]
    assert said in judge(xml, messages(), "epi.xml")[1]


def test_strict_counts_warnings_and_quiet_hides_them(judge):
    assert judge(header(), lines(), GENERIC, "--strict")[0] == 1
    assert judge(header(), lines(), GENERIC, "--quiet") == (0, "")


def test_memory_between_triggers_is_bounded(judge, monkeypatch):
    from dataclasses import replace

    from gadgetron.limits import LIMITS
    from gadgetron.preflight import readouts

    monkeypatch.setattr(readouts, "LIMITS", replace(LIMITS, max_session_bytes=10_000))
    status, text = judge(header(), lines(), "default.xml")
    assert status == 1
    assert "between two triggers (repetition)" in text


def test_a_scan_that_cannot_be_read_is_told(tmp_path, capsys):
    assert validate.main(["default.xml", "--data", str(tmp_path / "no.h5")]) == 2
    assert "no.h5" in capsys.readouterr().err
    path = tmp_path / "scan.h5"
    with ScanWriter(path) as writer:
        writer.write_header("<other/>")
        writer.append(*objects(lines()[0]))
    assert validate.main(["default.xml", "--data", str(path)]) == 1
    assert "ismrmrdHeader" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "configuration", "n_lines"),
    [
        ("siemens_cimax_brain_flash_16ch_full", "default.xml", 1),
        ("siemens_skyra_gre_phantom_2rep_2ch", "default.xml", 1),
        ("bruker_flash_phantom_3slice_1ch", "default.xml", 1),
        ("siemens_cimax_brain_flash_16ch_R2_acs24", GENERIC, 2),  # there is no noise scan
        ("siemens_skyra_epi_phantom_navigators_2ch", "epi.xml", 2),
    ],
)
def test_measured_scans_are_not_complained_about(scan, configuration, n_lines, capsys):
    path = reference_file(SCANS.name, f"{scan}.h5")
    assert validate.main([configuration, "--data", str(path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == n_lines
