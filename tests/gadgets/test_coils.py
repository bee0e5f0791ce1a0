"""PCACoilGadget, CoilReductionGadget and CombineGadget."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import ConfigurationError
from gadgetron.message import make_message
from gadgets.mri_core.coil_reduction import CoilReductionGadget
from gadgets.mri_core.combine import CombineGadget
from gadgets.mri_core.pca_coil import PCACoilGadget
from tests.gadgets.support import (
    acquisition,
    complex_noise,
    header_xml,
    image,
    is_quiet_after_abort,
    objects,
    run,
)

LAST = (ismrmrd.ACQ_LAST_IN_SLICE,)
LABELS = "".join(
    f"<coilLabel><coilNumber>{i}</coilNumber><coilName>{name}</coilName></coilLabel>" for i, name in enumerate("abcd")
)
HEADER = header_xml(more=f"<acquisitionSystemInformation>{LABELS}</acquisitionSystemInformation>")
GAINS = np.array([[1], [20], [0.1], [5]], np.float32)


def lines(rng, n, slice_index=0, *, last=True):
    return [
        acquisition(
            complex_noise(rng, 4, 32) * GAINS,
            slice=slice_index,
            scan_counter=i,
            flags=LAST if last and i == n - 1 else (),
        )
        for i in range(n)
    ]


def powers(messages):
    data = np.concatenate([objects(message)[1] for message in messages], axis=1)
    return (np.abs(data) ** 2).mean(axis=1)


@pytest.mark.parametrize("n_lines", [1, 12, 40, 130])
def test_channels_become_components_sorted_by_power(n_lines, rng):
    messages = lines(rng, n_lines)
    before = powers(messages).sum()
    results = run(PCACoilGadget(), messages, HEADER)
    assert [objects(message)[0].scan_counter for message in results] == list(range(n_lines))
    after = powers(results)
    assert (np.diff(after) < 0).all()
    assert after.sum() == pytest.approx(before, rel=1e-4)


def test_lines_wait_for_the_last_of_their_slice(rng):
    gadget = PCACoilGadget()
    messages = lines(rng, 20)
    assert run(gadget, messages[:19], HEADER, close=None) == []
    assert len(run(gadget, messages[19:], close=None)) == 20
    assert len(run(gadget, lines(rng, 3, last=False), close=None)) == 3


def test_a_hundred_lines_are_enough(rng):
    gadget = PCACoilGadget()
    messages = lines(rng, 101, last=False)
    assert run(gadget, messages[:99], HEADER, close=None) == []
    assert len(run(gadget, messages[99:], close=None)) == 101


def test_a_short_slice_is_not_lost_at_the_end(rng):
    messages = [*lines(rng, 5, 1, last=False), *lines(rng, 3, 0, last=False)]
    results = run(PCACoilGadget(), messages, HEADER)
    assert [objects(message)[0].idx.slice for message in results] == [0, 0, 0, 1, 1, 1, 1, 1]


def test_slices_have_components_of_their_own(rng):
    gadget = PCACoilGadget()
    run(gadget, [*lines(rng, 20, 0), *lines(rng, 20, 1)], HEADER)
    first, second = gadget._matrices[0, 4], gadget._matrices[1, 4]
    assert not np.array_equal(first, second)


def test_named_channels_move_to_the_front_unchanged(rng):
    messages = lines(rng, 20)
    expected = [objects(message)[1][[2, 0]] for message in messages]
    gadget = PCACoilGadget(uncombined_channels_by_name="c, a, nobody")
    results = run(gadget, messages, HEADER)
    assert gadget.present_uncombined_channels == 2
    for message, channels in zip(results, expected, strict=True):
        np.testing.assert_allclose(objects(message)[1][:2], channels, rtol=1e-6)


NOT_ANALYSED = (
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
)


@pytest.mark.parametrize("flag", [*NOT_ANALYSED, None])
def test_readouts_that_are_no_image_have_no_say_in_the_components_and_do_not_count(flag, rng):
    def messages(*, with_others):
        generator = np.random.default_rng(5)
        for i, message in enumerate(lines(generator, 120, last=False)):
            yield message
            if with_others:
                loud = 1000 * complex_noise(rng, 4, 32) if flag else np.full((4, 32), np.nan, np.complex64)
                yield acquisition(loud, scan_counter=1000 + i, flags=(flag,) if flag else ())

    gadget, expected = PCACoilGadget(), PCACoilGadget()
    results = run(gadget, messages(with_others=True), HEADER)
    run(expected, messages(with_others=False), HEADER)
    np.testing.assert_array_equal(gadget._matrices[0, 4], expected._matrices[0, 4])
    assert len(results) == 240


def test_a_slice_without_readouts_to_analyse_passes_unchanged(rng):
    data = complex_noise(rng, 4, 32)
    gadget = PCACoilGadget()
    assert run(gadget, [acquisition(data.copy(), flags=(*LAST, NOT_ANALYSED[0]))], HEADER, close=None) == []
    np.testing.assert_array_equal(objects(run(gadget, [])[0])[1], data)


def test_noise_is_dropped_and_others_pass_by(rng):
    other = make_message("text")
    noise = acquisition(complex_noise(rng, 4, 32), flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))
    assert run(PCACoilGadget(), [noise, other], HEADER) == [other]


def test_the_coil_count_may_differ_between_lines(rng):
    messages = [*lines(rng, 4, last=False), acquisition(complex_noise(rng, 2, 32)), *lines(rng, 4)]
    results = run(PCACoilGadget(), messages, HEADER)
    assert [objects(message)[1].shape[0] for message in results] == [4, 4, 4, 4, 2, 4, 4, 4, 4]


def test_center_samples_beyond_the_readout_do_no_harm(rng):
    messages = [acquisition(complex_noise(rng, 4, 8), center_sample=65535) for _ in range(20)]
    assert len(run(PCACoilGadget(), messages, HEADER)) == 20


def test_an_aborted_slice_is_not_sent(rng):
    assert run(PCACoilGadget(), [], HEADER) == []
    assert is_quiet_after_abort(PCACoilGadget(), lines(rng, 5, last=False), HEADER)


@pytest.mark.parametrize(
    ("properties", "kept"),
    [
        ({"coils_out": 3}, [0, 1, 2]),
        ({"coils_out": 128}, [0, 1, 2, 3, 4]),
        ({"coil_mask": "0 1 0 1"}, [1, 3]),
        ({"coil_mask": "01011"}, [1, 3, 4]),
        ({"coil_mask": "1 1 1 1 1 1 1 1"}, [0, 1, 2, 3, 4]),
        ({"coil_mask": "0 2", "coils_out": 1}, [1]),
    ],
)
def test_channels_are_selected(properties, kept, rng):
    data = complex_noise(rng, 5, 8)
    (message,) = run(CoilReductionGadget(**properties), [acquisition(data)], HEADER)
    head, reduced = objects(message)
    np.testing.assert_array_equal(reduced, data[kept])
    assert head.active_channels == len(kept)


@pytest.mark.parametrize("mask", ["0 0 0", "x", "1 y"])
def test_a_mask_that_keeps_nothing_or_is_none_is_refused(mask):
    with pytest.raises(ConfigurationError, match="coil_mask"):
        run(CoilReductionGadget(coil_mask=mask), [], HEADER)


def test_combining_gives_one_channel(rng):
    data = complex_noise(rng, 5, 2, 4, 6)
    (message,) = run(CombineGadget(), [image(data.copy())])
    head, combined = objects(message)
    assert head.channels == 1
    assert combined.shape == (1, 2, 4, 6)
    np.testing.assert_allclose(np.abs(combined[0]), np.linalg.norm(data, axis=0), rtol=1e-5)


def test_a_single_channel_stays_what_it_is(rng):
    data = complex_noise(rng, 1, 1, 4, 6)
    (message,) = run(CombineGadget(), [image(data.copy())])
    np.testing.assert_allclose(objects(message)[1], data, rtol=1e-5)
