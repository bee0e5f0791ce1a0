"""Calibration data with gaps, elsewhere, or not at all: an image, or a text that says what is missing."""

import re

import numpy as np
import pytest

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.limits import LIMITS
from gadgetron.message import make_message
from gadgetron.recon_types import CalibrationResult, ReconBit, ReconData
from gadgetron.toolboxes import phantom
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from gadgets.mri_core.generic_recon_cartesian_fft import GenericReconCartesianFFTGadget
from gadgets.mri_core.generic_recon_cartesian_grappa import GenericReconCartesianGrappaGadget
from gadgets.mri_core.generic_recon_cartesian_reference_prep import GenericReconCartesianReferencePrepGadget
from gadgets.mri_core.generic_recon_cartesian_spirit import GenericReconCartesianSpiritGadget
from gadgets.mri_core.generic_recon_eigen_channel import GenericReconEigenChannelGadget
from gadgets.mri_core.waiting_calibration import CalibrationLines, LineHistory, WaitingLine
from tests.gadgets.support import (
    PARALLEL,
    Controller,
    centred_fft,
    complex_noise,
    header_xml,
    relative_difference,
    run,
)
from tests.gadgets.test_generic_cartesian import BOTH, CALIBRATION, N, arrays, embedded, lines


def grappa(**more):
    return GenericReconCartesianGrappaGadget(downstream_coil_compression=False, **more)


RECONS = [
    pytest.param(grappa, id="grappa"),
    pytest.param(lambda **more: GenericReconCartesianSpiritGadget(**more), marks=pytest.mark.slow, id="spirit"),
]
LIMITS_OF_LOOPS = {
    "kspace_encoding_step_1": (0, N - 1, N // 2),
    "slice": (0, 3, 0),
    "repetition": (0, 7, 0),
}


def coil_kspace(n_coils=4):
    """Give the magnitude of an object, and what coils around it measure of it, with some noise."""
    magnitude = phantom.shepp_logan(N, N).reshape(N, N)
    coils = phantom.coil_sensitivities(n_coils, 1, N, N) * magnitude
    coils = coils + 5e-4 * complex_noise(np.random.default_rng(0), *coils.shape)
    return magnitude, centred_fft(coils, (1, 2, 3)).astype(np.complex64)


def header(mode="embedded", parallel=PARALLEL):
    return header_xml(matrix=(N, N, 1), limits=LIMITS_OF_LOOPS, parallel=parallel.format(mode=mode))


def chain(recon=grappa, trigger="", prepare_ref_always=True):
    return [
        AcquisitionAccumulateTriggerGadget(trigger_dimension=trigger),
        BucketToBufferGadget(split_slices=True),
        GenericReconCartesianReferencePrepGadget(prepare_ref_always=prepare_ref_always),
        GenericReconEigenChannelGadget(),
        recon(),
    ]


def without(messages, *steps):
    return [message for message in messages if message.object.idx.kspace_encode_step_1 not in steps]


def difference(array, magnitude):
    found = np.abs(array.data[0, 0, 0, 0, 0])
    return relative_difference(found * (np.vdot(found, magnitude) / np.vdot(found, found)), magnitude)


@pytest.mark.parametrize("recon", RECONS)
@pytest.mark.parametrize("lost", [(23,), (25,), (19, 27)])
def test_a_lost_calibration_line_is_found_from_its_neighbours(recon, lost):
    magnitude, kspace = coil_kspace()
    (all_there,) = arrays(run(chain(recon), embedded(kspace), header()))
    (array,) = arrays(run(chain(recon), without(embedded(kspace), *lost), header()))
    assert difference(array, magnitude) < difference(all_there, magnitude) + 0.01


@pytest.mark.parametrize("recon", RECONS)
def test_calibration_lines_that_are_imaging_lines_need_no_flag(recon):
    magnitude, kspace = coil_kspace()
    messages = embedded(kspace)
    for message in messages:
        if message.object.idx.kspace_encode_step_1 % 2 == 0:
            message.object.flags = 0
    (array,) = arrays(run(chain(recon), messages, header()))
    assert difference(array, magnitude) < 0.06


@pytest.mark.parametrize("recon", RECONS)
def test_calibration_lines_with_gaps_throughout_are_refused_by_name(recon):
    _, kspace = coil_kspace()
    scan = without(embedded(kspace), *range(1, N, 2))
    with pytest.raises(MalformedMessageError, match=r"lines 15, 17, 19, 21, 23, 25, 27, 29, 31 of 14 to 32 .* are mis"):
        run(chain(recon), scan, header())


def test_undersampled_lines_are_no_calibration_data():
    _, kspace = coil_kspace()
    with pytest.raises(MalformedMessageError, match=r"lines 1, 3, 5, .* of 0 to 46 .* are missing"):
        run(chain(), lines(kspace, range(0, N, 2)), header())


@pytest.mark.parametrize("recon", RECONS)
@pytest.mark.parametrize("trigger", ["", "repetition"])
def test_calibration_of_the_first_repetition_serves_those_that_have_none(recon, trigger):
    magnitude, kspace = coil_kspace()
    scan = embedded(kspace, repetition=0)
    for repetition in range(1, 4):
        scan += lines(kspace, range(0, N, 2), repetition=repetition)
    results = arrays(run(chain(recon, trigger), scan, header()))
    assert [array.headers[0, 0, 0].repetition for array in results] == [0, 1, 2, 3]
    assert max(difference(array, magnitude) for array in results) < 0.06


def test_each_slice_is_served_by_its_own_calibration():
    magnitude, kspace = coil_kspace()
    rotated = np.roll(kspace, 3, axis=0)
    scan = embedded(kspace, slice=0) + embedded(rotated, slice=1)
    for repetition in (1, 2):
        scan += lines(kspace, range(0, N, 2), slice=0, repetition=repetition)
        scan += lines(rotated, range(0, N, 2), slice=1, repetition=repetition)
    results = arrays(run(chain(), scan, header()))
    assert len(results) == 6
    assert max(difference(array, magnitude) for array in results) < 0.06


def test_calibration_that_is_no_use_is_replaced_by_the_last_one_and_the_client_told():
    magnitude, kspace = coil_kspace()
    scan = embedded(kspace, repetition=0) + lines(kspace, range(0, N, 2), repetition=1)
    scan += lines(kspace, [23, 24, 25], repetition=1, flags=CALIBRATION)
    controller = Controller()
    gadgets = chain(lambda: grappa(send_out_gfactor=True))
    results = arrays(run(gadgets, scan, header(), controller=controller))
    roles = [array.meta[0, 0, 0]["GADGETRON_DataRole"] for array in results]
    assert roles == ["Gfactor", "Image", "Image"]  # the g-factor is sent where it was computed
    assert max(difference(array, magnitude) for array in results[1:]) < 0.06
    (text,) = controller.texts
    assert re.match(
        r"WARNING gadget GenericReconCartesianGrappaGadget: calibration data has 3 samples along y.*is used", text
    )


def test_calibration_that_comes_before_its_imaging_data_waits_for_it():
    magnitude, kspace = coil_kspace()
    scan = [message for s in range(3) for message in lines(kspace, range(14, 34), slice=s, flags=CALIBRATION)]
    scan += [message for s in range(3) for message in lines(kspace, range(0, N, 2), slice=s)]
    results = arrays(run(chain(trigger="slice"), scan, header("separate")))
    assert [array.headers[0, 0, 0].slice for array in results] == [0, 1, 2]
    assert max(difference(array, magnitude) for array in results) < 0.06


def interleaved(kspace, n_repetitions=4, r=2, slices=1, **fields):
    return [
        message
        for repetition in range(n_repetitions)
        for s in range(slices)
        for message in lines(kspace, range(repetition % r, N, r), repetition=repetition, slice=s, flags=BOTH, **fields)
    ]


@pytest.mark.parametrize("recon", RECONS)
@pytest.mark.parametrize(("trigger", "slices", "prepare_ref_always"), [("", 1, True), ("repetition", 2, False)])
def test_interleaved_repetitions_calibrate_each_other(recon, trigger, slices, prepare_ref_always):
    magnitude, kspace = coil_kspace()
    scan = interleaved(kspace, 3, slices=slices)
    gadgets = chain(recon, trigger, prepare_ref_always)
    results = arrays(run(gadgets, scan, header("interleaved")))
    found = sorted((array.headers[0, 0, 0].slice, array.headers[0, 0, 0].repetition) for array in results)
    assert found == [(s, r) for s in range(slices) for r in range(3)]
    assert max(difference(array, magnitude) for array in results) < 0.06


def test_interleaved_images_wait_for_no_more_than_they_need():
    _, kspace = coil_kspace()
    prepare = GenericReconCartesianReferencePrepGadget()
    gadgets = [*chain(trigger="repetition")[:2], prepare]
    assert len(arrays(run(gadgets, interleaved(kspace, 1), header("interleaved"), close=None))) == 0
    gadgets = [*chain(trigger="repetition")[:2], GenericReconCartesianReferencePrepGadget()]
    # the third repetition lies in the trigger still
    (first, second) = arrays(run(gadgets, interleaved(kspace, 3), header("interleaved"), close=None))
    assert first.bits[0].reference.data.shape[-2:] == (N, N)
    assert second.bits[0].reference is None
    assert first.bits[0].calibration is second.bits[0].calibration


def test_each_interleaved_image_is_calibrated_by_the_lines_around_it():
    _, kspace = coil_kspace()
    scan = interleaved(kspace, 2) + interleaved(3 * kspace, 4)[-len(interleaved(kspace, 2)) :]
    results = arrays(run(chain()[:3], scan, header("interleaved")))
    reference = results[-1].bits[0].reference.data
    np.testing.assert_allclose(reference[0, 0, 0], 3 * kspace, rtol=1e-5)


def test_the_same_lines_again_and_again_are_refused_by_name():
    _, kspace = coil_kspace()
    scan = [message for r in range(3) for message in lines(kspace, range(0, N, 2), repetition=r, flags=BOTH)]
    with pytest.raises(
        MalformedMessageError, match=r"1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, … \(23 in all\) of 0 to 46"
    ):
        run(chain(), scan, header("interleaved"))


def test_what_waits_at_the_end_is_refused_by_name():
    _, kspace = coil_kspace()
    with pytest.raises(MalformedMessageError, match=r"lines 1, 3, 5, .* of 0 to 46"):
        run(chain(), interleaved(kspace, 1), header("interleaved"))


def test_images_that_are_meant_to_alias_are_not_held_back_for_ever():
    _, kspace = coil_kspace()
    results = arrays(run(chain(GenericReconCartesianFFTGadget), lines(kspace, range(0, N, 2)), header()))
    assert len(results) == 1


def test_an_aborted_session_sends_nothing_that_waits():
    _, kspace = coil_kspace()
    assert run(chain()[:3], interleaved(kspace, 1), header("interleaved"), close=0) == []


NOT_IN_HEADER = ["", PARALLEL.replace("1>2<", "1>1<")]


@pytest.mark.parametrize("recon", RECONS)
@pytest.mark.parametrize("parallel", NOT_IN_HEADER)
def test_lines_tell_the_acceleration_where_the_header_does_not(recon, parallel):
    magnitude, kspace = coil_kspace()
    controller = Controller()
    scan = embedded(kspace, repetition=0) + lines(kspace, range(0, N, 2), repetition=1)
    text = header(parallel=parallel)
    results = arrays(run(chain(recon), scan, text, controller=controller))
    assert max(difference(array, magnitude) for array in results) < 0.06
    (text,) = controller.texts
    assert text.endswith("one of 2 lines was measured, and the header says no acceleration: 2 is assumed")
    in_header = arrays(run(chain(recon), scan, header()))
    np.testing.assert_allclose(results[0].data, in_header[0].data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("recon", RECONS)
@pytest.mark.parametrize("said", [3, 4])
def test_the_lines_count_where_the_header_says_another_acceleration(recon, said):
    _, kspace = coil_kspace()
    controller = Controller()
    wrong = header(parallel=PARALLEL.replace("1>2<", f"1>{said}<"))
    (array,) = arrays(run(chain(recon), embedded(kspace), wrong, controller=controller))
    (text,) = controller.texts
    assert text.endswith(f"one of 2 lines was measured, and the header says acceleration {said}: 2 is assumed")
    (right,) = arrays(run(chain(recon), embedded(kspace), header()))
    np.testing.assert_allclose(array.data, right.data, rtol=1e-4, atol=1e-4)


def test_calibration_lines_without_flags_are_announced():
    _, kspace = coil_kspace()
    controller = Controller()
    scan = embedded(kspace)
    for message in scan:
        message.object.flags = 0
    run(chain(), scan, header(), controller=controller)
    (text,) = controller.texts
    assert "imaging lines 14 to 34 lie side by side, others are 2 apart: if they are for calibration" in text


def test_aliased_images_are_announced():
    _, kspace = coil_kspace()
    controller = Controller()
    run(chain(), lines(kspace, range(0, N, 2)) * 2, header(parallel=""), controller=controller)
    (text,) = controller.texts
    assert text.endswith("the header says no acceleration; without calibration lines images are aliased")


@pytest.mark.parametrize("missing", [(), (7,), tuple(range(12))])
def test_full_scans_are_not_taken_for_accelerated(missing):
    _, kspace = coil_kspace()
    controller = Controller()
    run(chain(), without(lines(kspace, range(N)), *missing), header(parallel=""), controller=controller)
    assert controller.texts == []


def test_a_result_that_could_not_be_computed_is_replaced_by_the_previous_one():
    first = CalibrationResult()
    second, third = CalibrationResult(first), CalibrationResult()
    first.set("first")
    second.set(None)
    third.set(None)
    assert second.wait(lambda: False) == "first"
    assert third.wait(lambda: False) is None
    fourth = CalibrationResult(second)
    fourth.set("fourth")
    assert fourth.wait(lambda: False) == "fourth"


def test_any_number_of_results_in_a_row_may_be_missing():
    results = [CalibrationResult()]
    results[0].set("coefficients")
    for _ in range(5000):
        results.append(CalibrationResult(results[-1]))
        results[-1].set(None)
    assert results[-1].wait(lambda: True) == "coefficients"
    assert results[-1]._previous is None


def test_kept_lines_do_not_change_with_the_data_they_were_in(rng):
    data = complex_noise(rng, 1, 1, 1, 2, 1, 4, 8)
    lines = np.ones((1, 1, 1, 1, 4), bool)
    headers = np.full((1, 1, 1, 1, 4), None, object)
    history = LineHistory()
    kept = history.add(CalibrationLines(data, lines, headers)).data
    before = kept.copy()
    data *= 2
    np.testing.assert_array_equal(kept, before)


def test_what_waits_is_bounded(monkeypatch):
    from dataclasses import replace

    from gadgets.mri_core import waiting_calibration

    _, kspace = coil_kspace(2)
    (data,) = arrays(run(chain()[:2], lines(kspace, range(N)), header()))
    line = WaitingLine()
    line.add(make_message(data))
    line.hold("key", data.bits[0], None)
    monkeypatch.setattr(waiting_calibration, "LIMITS", replace(LIMITS, max_session_bytes=data.nbytes + 1))
    with pytest.raises(LimitExceeded, match="waits for calibration"):
        line.add(make_message(ReconData([ReconBit(data.bits[0].data)])))
