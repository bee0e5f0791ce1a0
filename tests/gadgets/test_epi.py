"""The gadgets of echo planar imaging, on simulated and on measured readouts."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from gadgetron import reconstruct
from gadgetron.errors import ConfigurationError, LimitExceeded, MalformedMessageError
from gadgetron.toolboxes.epi import TrapezoidReadout
from gadgets.epi.cut_x import CutXGadget
from gadgets.epi.epi_corr import EPICorrGadget
from gadgets.epi.epi_pack_navigator import EPIPackNavigatorGadget
from gadgets.epi.epi_recon_x import EPIReconXGadget
from gadgets.epi.fft_x import FFTXGadget
from gadgets.epi.one_encoding import OneEncodingGadget
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from gadgets.mri_core.simple_recon import SimpleReconGadget
from tests.gadgets.support import PARALLEL, acquisition, complex_noise, header_xml, is_quiet_after_abort, objects, run
from tests.reference import reference_file
from tests.toolboxes.test_coil_maps import smooth_sensitivities

CONFIG = Path(__file__).parents[2] / "config"
NAVIGATOR, REVERSE, NOISE = ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_IS_REVERSE, ismrmrd.ACQ_IS_NOISE_MEASUREMENT

N_X, N_Y, N_COILS, N_SAMPLES = 48, 40, 2, 120
GRADIENT = TrapezoidReadout(ramp_up_us=100, flat_top_us=200, ramp_down_us=100, dwell_time_us=3.0)
PER_ECHO, POLARITY_SHIFT, POLARITY_PHASE = 0.08, 0.7, 0.4
X = (np.arange(N_X) - N_X // 2) / N_X
COIL_DIFFERENCES = (0.13 + np.array([[0.3j], [-0.3j]])) * X
"""Logarithm of reversed readouts over forward ones."""
DRIFT = 0.1 + 0.3 * X
"""Phase of reversed readouts minus that of forward ones in the echo train, not in navigators [rad]."""


def epi_header(n_navigators=3, identifier="ConventionalEPI", n_encodings=1, **more):
    names = {"etl": N_Y, "rampUpTime": 100, "rampDownTime": 100, "flatTopTime": 200, "numSamples": N_SAMPLES, **more}
    if n_navigators is not None:
        names["numberOfNavigators"] = n_navigators
    parameters = "".join(
        f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
        for name, value in names.items()
        if value is not None
    )
    description = (
        f"<trajectoryDescription><identifier>{identifier}</identifier>{parameters}<userParameterDouble>"
        f"<name>dwellTime</name><value>3.0</value></userParameterDouble></trajectoryDescription>"
    )
    return header_xml(
        matrix=(2 * N_X, N_Y, 1),
        recon=(N_X, N_Y, 1),
        fov=(400.0, 200.0, 4.0),
        recon_fov=(200.0, 200.0, 4.0),
        trajectory="epi",
        parallel=description,
        n_encodings=n_encodings,
    )


def phantom():
    """Two boxes, seen by two coils, shape (coils, y, x)."""
    image = np.zeros((N_Y, N_X), np.complex128)
    image[8:34, 10:40] = 1.0
    image[14:20, 16:24] = 0.3
    x = np.arange(N_X) / N_X
    return image * np.stack([np.exp(-x), 1j * np.exp(x - 1)])[:, np.newaxis, :]


def readout(spectrum, *, echo, is_reverse, difference=0.0):
    """Sample (coils, x) as the scanner does, with everything it does wrong, to (coils, samples)."""
    positions = GRADIENT.positions(N_SAMPLES, 2 * N_X)
    if is_reverse:
        positions = -positions
    sign = 1 if is_reverse else -1
    positions = positions + sign * POLARITY_SHIFT / 2
    x = (np.arange(N_X) - N_X // 2) / (2 * N_X)
    encode = np.exp(-2j * np.pi * np.outer(x, positions))
    phase = np.exp(1j * (echo * PER_ECHO + sign * POLARITY_PHASE / 2))
    spectrum = spectrum * np.exp(sign * difference / 2)
    return (spectrum @ encode * phase).astype(np.complex64)


def shot(counter=0, n_navigators=3, with_navigators=True, coil_differences=0.0, drift=0.0, **fields):
    coil_images = phantom()
    kspace = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(coil_images, axes=1), axis=1, norm="ortho"), axes=1)
    messages = []
    for p in range(n_navigators if with_navigators else 0):
        is_reverse = p % 2 == 0
        flags = (NAVIGATOR, REVERSE) if is_reverse else (NAVIGATOR,)
        integral = coil_images.sum(axis=1)
        data = readout(integral, echo=p - n_navigators, is_reverse=is_reverse, difference=coil_differences)
        messages.append(acquisition(data, flags=flags, repetition=counter, sample_time_us=3.0, **fields))
    for y in range(N_Y):
        is_reverse = y % 2 == 1
        difference = coil_differences + 1j * drift
        data = readout(kspace[:, y], echo=y, is_reverse=is_reverse, difference=difference)
        flags = (REVERSE,) if is_reverse else ()
        messages.append(
            acquisition(
                data,
                flags=flags,
                kspace_encode_step_1=y,
                repetition=counter,
                segment=y % 2,
                sample_time_us=3.0,
                **fields,
            )
        )
    return messages


def chain(**settings):
    return [
        EPIReconXGadget(),
        EPICorrGadget(**settings),
        FFTXGadget(),
        AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition", sorting_dimension="slice"),
        BucketToBufferGadget(split_slices=True, ignore_segment=True),
        SimpleReconGadget(),
    ]


def images(messages):
    return [np.abs(objects(message)[0].data[0, 0, 0, 0, 0]) for message in messages]


def error(image):
    expected = np.sqrt((np.abs(phantom()) ** 2).sum(axis=0))
    return np.linalg.norm(image * (np.linalg.norm(expected) / np.linalg.norm(image)) - expected) / np.linalg.norm(
        expected
    )


def test_ramp_samples_ghosts_and_offsets_are_corrected():
    results = images(run(chain(), [*shot(0), *shot(1)], epi_header()))
    assert len(results) == 2
    assert results[0].shape == (N_Y, N_X)
    for image in results:
        assert error(image) < 0.08
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)


def test_without_correction_there_is_a_ghost():
    settings = {"B0CorrectionMode": "none", "OEPhaseCorrectionMode": "none"}
    (image,) = images(run(chain(**settings), shot(), epi_header()))
    assert error(image) > 0.2


def simulated_ghost(image):
    """Mean magnitude where only a ghost of the boxes can be, relative to the boxes'."""
    edges = np.concatenate([image[:7, 11:39], image[35:, 11:39]])
    return np.linalg.norm(edges) / np.linalg.norm(image[21:33, 11:39])


AS_IN_CPLUSPLUS = {"coil_differences": False, "refine_from_readouts": False}


@pytest.mark.parametrize(
    ("distortion", "before"),
    [
        ({"coil_differences": COIL_DIFFERENCES}, 0.02),
        ({"drift": DRIFT}, 0.05),
        ({"coil_differences": COIL_DIFFERENCES, "drift": DRIFT}, 0.05),
    ],
    ids=["coils", "echo train", "both"],
)
def test_the_ghost_that_one_correction_for_all_coils_leaves_goes_too(distortion, before):
    (ghosted,) = images(run(chain(**AS_IN_CPLUSPLUS), shot(**distortion), epi_header()))
    (corrected,) = images(run(chain(), shot(**distortion), epi_header()))
    assert simulated_ghost(ghosted) > before
    assert simulated_ghost(corrected) < 0.01


def test_a_constant_model_stays_constant():
    settings = {"OEPhaseCorrectionMode": "mean"}
    messages = [shot(coil_differences=COIL_DIFFERENCES, drift=DRIFT) for _ in range(2)]
    (image,) = images(run(chain(**settings), messages[0], epi_header()))
    (expected,) = images(run(chain(**settings, **AS_IN_CPLUSPLUS), messages[1], epi_header()))
    np.testing.assert_array_equal(image, expected)


def sent_before_the_end(messages, header, **settings):
    """Give how many readouts have been sent when all of them have come, but not the end."""
    return len(run([EPIReconXGadget(), EPICorrGadget(**settings)], messages, header, close=None))


def test_readouts_wait_for_the_last_of_their_shot_only():
    assert sent_before_the_end([*shot(0), *shot(1)], epi_header()) == 2 * N_Y
    assert sent_before_the_end([*shot(0), *shot(1)[:-5]], epi_header()) == N_Y
    assert sent_before_the_end([*shot(0), *shot(1)[:-5]], epi_header(), refine_from_readouts=False) == 2 * N_Y - 5


def test_a_shot_ends_with_the_slice_or_with_the_next_navigators_whatever_the_header_says():
    header = epi_header(etl=1000)
    messages = shot()
    messages[-1].object.flags |= 1 << (ismrmrd.ACQ_LAST_IN_SLICE - 1)
    assert sent_before_the_end(messages, header) == N_Y
    assert sent_before_the_end([*shot(0), *shot(1)], header) == N_Y
    results = run([EPIReconXGadget(), EPICorrGadget()], [*shot(0), *shot(1)], header)
    assert [objects(message)[0].idx.kspace_encode_step_1 for message in results] == 2 * list(range(N_Y))


def test_a_train_in_any_order_is_corrected_with_navigators_alone():
    messages = shot(drift=DRIFT)
    for number, message in enumerate(messages[3:]):
        message.object.idx.kspace_encode_step_1 = number**2 % N_Y
    results = [objects(message)[1] for message in run([EPIReconXGadget(), EPICorrGadget()], messages, epi_header())]
    expected = run([EPIReconXGadget(), EPICorrGadget(refine_from_readouts=False)], shot(drift=DRIFT), epi_header())
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, objects(other)[1])


@pytest.mark.parametrize("settings", [{}, {"refine_from_readouts": False}], ids=["refined", "navigators only"])
@pytest.mark.parametrize(
    "flag", [ismrmrd.ACQ_IS_DUMMYSCAN_DATA, ismrmrd.ACQ_IS_NAVIGATION_DATA, ismrmrd.ACQ_IS_RTFEEDBACK_DATA]
)
def test_what_is_no_part_of_the_image_is_no_echo_either(flag, settings, rng):
    messages = []
    for number, message in enumerate(shot()):
        messages.append(message)
        if number % 5 == 4:
            data = 10 * complex_noise(rng, *objects(message)[1].shape)
            messages.append(acquisition(data, flags=(flag,), kspace_encode_step_1=number, sample_time_us=3.0))
    (expected,) = images(run(chain(**settings), shot(), epi_header()))
    (image,) = images(run(chain(**settings), messages, epi_header()))
    np.testing.assert_array_equal(image, expected)
    headers = [objects(message)[0] for message in run([EPIReconXGadget(), EPICorrGadget()], messages, epi_header())]
    assert [bool(header.flags & 1 << flag - 1) for header in headers] == [
        bool(objects(message)[0].flags & 1 << flag - 1) for message in messages[3:]
    ]


def test_the_number_of_navigators_need_not_be_in_the_header():
    results = images(run(chain(), [*shot(0), *shot(1)], epi_header(n_navigators=None)))
    assert [error(image) < 0.08 for image in results] == [True, True]


def test_readouts_wait_for_navigators_that_come_later():
    messages = shot()
    late = [*messages[3:10], *messages[:3], *messages[10:]]
    (image,) = images(run(chain(), late, epi_header()))
    assert error(image) < 0.08


def test_an_image_comes_also_without_navigators(capsys):
    results = images(run(chain(), [*shot(0, with_navigators=False), *shot(1, with_navigators=False)], epi_header()))
    assert len(results) == 2
    assert "".join(capsys.readouterr()).count("navigators.missing") == 1


def test_a_lost_navigator_costs_its_shot_only(capsys):
    results = images(run(chain(), [*shot(0), *shot(1)[1:], *shot(2)], epi_header()))
    assert [error(image) < 0.08 for image in results] == [True, True, True]  # the second with the first one's
    assert "navigators.missing" in "".join(capsys.readouterr())


@pytest.mark.parametrize("settings", [{}, {"refine_from_readouts": False}], ids=["refined", "navigators only"])
@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("is_counted", [True, False], ids=["number in the header", "not"])
def test_a_navigator_that_is_not_finite_costs_its_shot_only(is_counted, broken, settings, capsys):
    shots = [shot(number) for number in range(3)]
    objects(shots[1][broken])[1][0, 7] = np.nan
    header = epi_header(3 if is_counted else None)
    results = images(run(chain(**settings), [message for each in shots for message in each], header))
    assert [error(image) < 0.08 for image in results] == [True, True, True]  # the second with the first one's
    assert "navigators.not_usable" in "".join(capsys.readouterr())


def test_one_shot_whose_navigator_is_not_finite_gives_an_image_with_a_ghost(capsys):
    messages = shot()
    objects(messages[0])[1][1, 3] = np.inf
    (image,) = images(run(chain(), messages, epi_header()))
    assert np.isfinite(image).all()
    assert "navigators.not_usable" in "".join(capsys.readouterr())


def test_a_later_shot_without_navigators_begins_anew_and_is_told(capsys):
    shots = [*shot(0), *shot(1, with_navigators=False), *shot(2)]
    results = images(run(chain(), shots, epi_header()))
    assert [error(image) < 0.08 for image in results] == [True, True, True]
    assert "".join(capsys.readouterr()).count("navigators.missing") == 1


def test_contrasts_may_share_navigators(capsys):
    messages = shot()
    for message in messages[23:]:
        message.object.idx.contrast = 1
    run(chain(), messages, epi_header())
    assert "navigators.missing" not in "".join(capsys.readouterr())


def test_navigators_of_one_polarity_correct_nothing(capsys):
    messages = shot()
    for message in messages[:3]:
        message.object.flags = 1 << (NAVIGATOR - 1)
    run(chain(), messages, epi_header())
    assert "navigators.not_usable" in "".join(capsys.readouterr())


def test_order_flags_and_headers():
    messages = shot()
    noise = acquisition(complex_noise(np.random.default_rng(1), 2, 256), flags=(NOISE,))
    for number, message in enumerate(messages):
        message.object.scan_counter = number
    results = run([EPIReconXGadget(), EPICorrGadget()], [noise, *messages], epi_header())
    assert results.pop(0) is noise
    heads = [objects(message)[0] for message in results]
    assert [head.scan_counter for head in heads] == list(range(3, 3 + N_Y))
    assert all(not head.flags for head in heads)
    assert {(head.number_of_samples, head.center_sample) for head in heads} == {(N_X, N_X // 2)}


def test_parameters_may_be_smoothed_over_repetitions():
    messages = [message for repetition in range(4) for message in shot(repetition)]
    results = images(run(chain(navigatorParameterFilterLength=3), messages, epi_header()))
    assert [error(image) < 0.08 for image in results] == [True] * 4


def test_even_calibration_of_the_second_encoding_is_cropped_and_passes():
    wide = np.pad(phantom()[:, 20], ((0, 0), (N_X // 2, N_X // 2)))
    line = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(wide, axes=1), axis=1), axes=1)
    message = acquisition(line.astype(np.complex64), encoding_space_ref=1)
    (result,) = run([EPIReconXGadget(), EPICorrGadget()], [message], epi_header(n_encodings=2))
    image = np.abs(objects(result)[1])
    expected = np.abs(phantom()[:, 20])
    assert np.linalg.norm(image / np.linalg.norm(image) - expected / np.linalg.norm(expected)) < 0.15
    (result,) = run(OneEncodingGadget(), [result])
    assert objects(result)[0].encoding_space_ref == 0


@pytest.mark.parametrize(("correction", "is_applied"), [("auto", False), ("always", True), ("never", False)])
def test_the_off_center_correction_is_tried_on_the_first_navigator(correction, is_applied):
    """Our scanner demodulates as it should, so there is nothing to correct."""
    messages = shot(position=(0.0, 60.0, 0.0), read_dir=(0.0, 1.0, 0.0))
    plain = run(EPIReconXGadget(), shot(), epi_header())
    results = run(EPIReconXGadget(off_center_correction=correction), messages, epi_header())
    difference = np.abs(objects(results[0])[1] - objects(plain[0])[1]).max()
    assert (difference > 1e-3) == is_applied


def test_the_model_grid_is_there_for_comparison():
    wide = run(EPIReconXGadget(grid="gadgetron"), shot(), epi_header())
    profile = np.abs(objects(wide[0])[1][0])
    assert profile.shape == (N_X,)
    assert profile[: N_X // 4].max() < 0.2 * profile.max()  # the whole encoded field of view: nothing at its sides


@pytest.mark.parametrize("header", [header_xml(), header_xml(trajectory="epi")])
def test_a_header_without_the_gradient_is_refused_by_name(header):
    with pytest.raises(MalformedMessageError, match="trajectoryDescription is missing"):
        run(EPIReconXGadget(), [], header)
    with pytest.raises(MalformedMessageError, match="'Spiral'"):
        run(EPIReconXGadget(), [], epi_header(identifier="Spiral"))


def test_impossible_readouts_are_refused(rng):
    with pytest.raises(MalformedMessageError, match="no readout"):
        run(EPIReconXGadget(), shot(), epi_header(rampUpTime=-5))
    with pytest.raises(MalformedMessageError, match="number_of_samples"):
        run(EPIReconXGadget(), [acquisition(complex_noise(rng, 2, 0))], epi_header())
    with pytest.raises(LimitExceeded, match="gridding matrix"):
        run(EPIReconXGadget(), [acquisition(complex_noise(rng, 1, 60000))], epi_header())
    with pytest.raises(ConfigurationError, match="referenceNavigatorNumber"):
        run(EPICorrGadget(referenceNavigatorNumber=3), [], epi_header())


def test_readouts_are_cut_around_their_center(rng):
    data = complex_noise(rng, 2, 200)
    (result,) = run(CutXGadget(), [acquisition(data.copy(), center_sample=110)], header_xml(matrix=(64, 16, 1)))
    head, cut = objects(result)
    np.testing.assert_array_equal(cut, data[:, 78:142])
    assert (head.number_of_samples, head.center_sample) == (64, 32)
    (result,) = run(CutXGadget(), [acquisition(data.copy(), center_sample=10)], header_xml(matrix=(64, 16, 1)))
    np.testing.assert_array_equal(objects(result)[1], data[:, :64])
    assert objects(result)[0].center_sample == 10


def test_packed_navigators_can_be_unpacked(rng):
    navigators = [1e-3 * complex_noise(rng, 2, 8) for _ in range(3)]
    lines = [1e-3 * complex_noise(rng, 2, 8) for _ in range(5)]
    messages = [acquisition(data.copy(), flags=(NAVIGATOR,)) for data in navigators]
    messages += [acquisition(data.copy()) for data in lines]
    results = [objects(message)[1] for message in run(EPIPackNavigatorGadget(), messages, epi_header())]
    assert len(results) == 5
    for packed, navigator, line in zip(results, navigators, lines, strict=False):
        np.testing.assert_allclose(np.round(packed) * 1e-6, navigator, atol=1e-6)
        np.testing.assert_allclose((packed - np.round(packed)) * 1e-2, line, atol=1e-5)
    np.testing.assert_array_equal(results[4], lines[4])


@pytest.mark.parametrize("make", [EPIReconXGadget, EPICorrGadget, FFTXGadget, CutXGadget, EPIPackNavigatorGadget])
def test_an_empty_stream_and_an_abort_give_nothing(make):
    assert run(make(), [], epi_header()) == []
    assert is_quiet_after_abort(make(), shot()[3:], epi_header())


SEPARATE = PARALLEL.format(mode="separate")


def accelerated_scan(n_coils=8):
    """Every second line of an echo planar shot, and all lines in the middle as plain readouts of a second encoding."""
    magnitude = np.linalg.norm(phantom(), axis=0)
    coil_images = smooth_sensitivities(n_coils, (1, N_Y, N_X))[:, 0] * magnitude
    kspace = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(coil_images, axes=1), axis=1, norm="ortho"), axes=1)
    messages = []
    for y in range(8, 32):
        wide = np.pad(kspace[:, y], ((0, 0), (N_X // 2, N_X // 2)))
        line = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(wide, axes=1), axis=1), axes=1).astype(np.complex64)
        flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
        messages.append(acquisition(line, flags=flags, kspace_encode_step_1=y, encoding_space_ref=1))
    for p in range(3):
        data = readout(coil_images.sum(axis=1), echo=p - 3, is_reverse=p % 2 == 0)
        messages.append(acquisition(data, flags=(NAVIGATOR, REVERSE) if p % 2 == 0 else (NAVIGATOR,)))
    for echo, y in enumerate(range(0, N_Y, 2)):
        data = readout(kspace[:, y], echo=echo, is_reverse=echo % 2 == 1)
        messages.append(acquisition(data, flags=(REVERSE,) if echo % 2 else (), kspace_encode_step_1=y))
    return magnitude, messages


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Generic_Cartesian_Grappa_EPI.xml", "Generic_Cartesian_Grappa_EPI_AVE.xml"])
def test_accelerated_shots_with_plain_calibration_lines_give_an_image(name):
    magnitude, messages = accelerated_scan()
    xml = epi_header(n_encodings=2).replace("</trajectoryDescription>", f"</trajectoryDescription>{SEPARATE}")
    (image,) = reconstruct((xml, messages), name)
    found = image.data[0, 0].astype(float)
    assert found.shape == (N_Y, N_X)
    assert found.max() == 2048
    found *= np.vdot(found, magnitude) / np.vdot(found, found)
    assert np.linalg.norm(found - magnitude) < 0.15 * np.linalg.norm(magnitude)


def ghost_level(image):
    """Mean magnitude where only a ghost could be, and where nothing could be, relative to the object's."""
    image = image.astype(float)
    half = image.shape[0] // 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    radius = np.hypot(y - half + 1, x - half)
    inside, outside = radius < 35, radius > 42
    is_ghost = outside & (np.roll(radius, half, axis=0) < 35)
    is_empty = outside & (np.roll(radius, half, axis=0) > 42)
    return image[is_ghost].mean() / image[inside].mean(), image[is_empty].mean() / image[inside].mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["epi.xml", "Generic_Cartesian_Grappa_EPI.xml", "Generic_Cartesian_Grappa_EPI_AVE.xml"]
)
def test_measured_readouts_give_an_image_without_ghost(name):
    scan = reference_file("data", "siemens_skyra_epi_phantom_navigators_2ch.h5")
    configuration = (CONFIG / name).read_text()
    (image,) = reconstruct(scan, configuration.encode())
    assert image.data.shape == (1, 1, 80, 80)
    assert list(image.header.field_of_view) == [200.0, 200.0, 4.0]
    ghost, floor = ghost_level(image.data[0, 0])

    def with_settings(**settings):
        properties = "".join(
            f"<property><name>{name}</name><value>{value}</value></property>" for name, value in settings.items()
        )
        changed = f"<classname>EPICorrGadget</classname>{properties}"
        (other,) = reconstruct(scan, configuration.replace("<classname>EPICorrGadget</classname>", changed).encode())
        return ghost_level(other.data[0, 0])[0]

    assert floor < 0.06  # noise
    assert ghost < 1.2 * floor
    assert with_settings(coil_differences="false", refine_from_readouts="false") > 2 * floor
    assert with_settings(B0CorrectionMode="none", OEPhaseCorrectionMode="none") > 0.3
