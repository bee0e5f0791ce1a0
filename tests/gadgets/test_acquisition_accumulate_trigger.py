import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import MalformedMessageError, PropertyError
from gadgetron.message import make_message
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from tests.gadgets.support import (
    PARALLEL,
    Controller,
    acquisition,
    complex_noise,
    header_xml,
    is_quiet_after_abort,
    objects,
    run,
)


def lines(rng, *counters, n_coils=1, n_samples=4):
    return [acquisition(complex_noise(rng, n_coils, n_samples), scan_counter=i, **c) for i, c in enumerate(counters)]


def buckets(messages, **properties):
    return [objects(m)[0] for m in run(AcquisitionAccumulateTriggerGadget(**properties), messages)]


def test_without_a_trigger_everything_comes_at_the_end(rng):
    (bucket,) = buckets(lines(rng, {}, {"slice": 3}, {"repetition": 9}))
    assert [a.fields.scan_counter for a in bucket.data] == [0, 1, 2]
    assert not bucket.reference


def test_nothing_is_sent_before_the_trigger(rng):
    gadget = AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition")
    assert run(gadget, lines(rng, {}, {"slice": 3}), close=None) == []
    assert len(run(gadget, lines(rng, {"repetition": 1}), close=None)) == 1


@pytest.mark.parametrize("dimension", ["repetition", "slice", "kspace_encode_step_1", "segment"])
def test_a_change_of_the_counter_sends_what_came_before_it(dimension, rng):
    result = buckets(lines(rng, *({dimension: value} for value in (0, 0, 1, 0, 0))), trigger_dimension=dimension)
    assert [[a.fields.scan_counter for a in bucket.data] for bucket in result] == [[0, 1], [2], [3, 4]]


def test_user_counters_trigger_too(rng):
    messages = lines(rng, {}, {}, {})
    objects(messages[2])[0].idx.user[5] = 1
    assert [len(b.data) for b in buckets(messages, trigger_dimension="user_5")] == [2, 1]


def test_buckets_are_sent_in_the_order_of_the_sorting_index(rng):
    counters = [{"slice": s, "repetition": r} for r in (0, 1) for s in (2, 0, 1, 2)]
    result = buckets(lines(rng, *counters), trigger_dimension="repetition", sorting_dimension="slice")
    assert [b.data[0].fields.idx[3] for b in result] == [0, 1, 2, 0, 1, 2]
    assert [len(b.data) for b in result] == [1, 1, 2, 1, 1, 2]


def test_counting_triggers_have_a_first_and_a_later_number(rng):
    result = buckets(
        lines(rng, *({} for _ in range(10))),
        trigger_dimension="n_acquisitions",
        n_acquisitions_before_trigger=4,
        n_acquisitions_before_ongoing_trigger=3,
    )
    assert [len(b.data) for b in result] == [4, 3, 3]


def test_calibration_is_reference_and_may_be_data(rng):
    only, both = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    (bucket,) = buckets(lines(rng, {"flags": (only,)}, {"flags": (both,)}, {}))
    assert [a.fields.scan_counter for a in bucket.reference] == [0, 1]
    assert [a.fields.scan_counter for a in bucket.data] == [1, 2]


@pytest.mark.parametrize(
    "flag",
    [
        ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ],
)
def test_what_is_no_imaging_data_is_dropped_and_does_not_trigger(flag, rng):
    messages = lines(rng, {}, {"flags": (flag,), "repetition": 5}, {})
    (bucket,) = buckets(messages, trigger_dimension="repetition")
    assert [a.fields.scan_counter for a in bucket.data] == [0, 2]
    assert buckets(lines(rng, {"flags": (flag,)})) == []


def waveform(value):
    head = ismrmrd.WaveformHeader()
    head.channels, head.number_of_samples = 1, 3
    return make_message(head, np.full((1, 3), value, np.uint32))


def test_waveforms_go_with_the_first_bucket_of_a_trigger(rng):
    a, b, c = lines(rng, {"slice": 0}, {"slice": 1}, {"slice": 0, "repetition": 1})
    messages = [waveform(1), a, b, waveform(2), c, waveform(3)]
    result = buckets(messages, trigger_dimension="repetition", sorting_dimension="slice")
    assert [[w.data[0, 0] for w in bucket.waveforms] for bucket in result] == [[1, 2], [], [3]]


def test_waveforms_without_readouts_give_no_bucket():
    assert buckets([waveform(1)]) == []


def test_readouts_that_are_views_of_a_receive_block_are_copied(rng):
    block = np.zeros(3 << 20, np.uint8)
    view = block[342 : 342 + 4 * 8 * 8].view(np.complex64).reshape(4, 8)
    (bucket,) = buckets([acquisition(view)])
    assert not np.shares_memory(bucket.data[0].data, block)


def test_statistics_count_by_encoding_space(rng):
    messages = lines(rng, {"slice": 2}, {"slice": 5}, {"slice": 9, "encoding_space_ref": 1})
    (bucket,) = buckets(messages)
    assert bucket.data_stats[0].slice == (2, 5)
    assert bucket.data_stats[0].span("slice") == 4
    assert bucket.data_stats[1].slice == (9,)
    with pytest.raises(AttributeError):
        bucket.data_stats[0].slices  # noqa: B018


def test_a_promised_trajectory_that_is_missing_names_the_field(rng):
    message = acquisition(complex_noise(rng, 1, 8))
    objects(message)[0].trajectory_dimensions = 2
    with pytest.raises(MalformedMessageError, match="trajectory_dimensions \\(2\\)"):
        buckets([message])


def test_a_trajectory_of_another_length_names_it(rng):
    message = acquisition(complex_noise(rng, 1, 8), trajectory=np.zeros((7, 2), np.float32))
    with pytest.raises(MalformedMessageError, match="trajectory"):
        buckets([message])


def test_data_that_contradicts_its_header_is_refused(rng):
    message = acquisition(complex_noise(rng, 2, 8))
    objects(message)[0].active_channels = 3
    with pytest.raises(MalformedMessageError, match="active_channels"):
        buckets([message])


def test_an_unknown_dimension_is_a_property_error():
    with pytest.raises(PropertyError, match="trigger_dimension"):
        AcquisitionAccumulateTriggerGadget(trigger_dimension="slyce")


def test_other_messages_pass_by(rng):
    other = make_message("text")
    assert run(AcquisitionAccumulateTriggerGadget(), [other]) == [other]


def test_an_empty_stream_and_an_abort_give_nothing(rng):
    assert buckets([]) == []
    assert is_quiet_after_abort(AcquisitionAccumulateTriggerGadget(), lines(rng, {}, {}))


def repetitions(n, lines=range(8), **fields):
    data = np.ones((2, 4), np.complex64)
    return [acquisition(data, kspace_encode_step_1=y, repetition=r, **fields) for r in range(n) for y in lines]


def buckets_of(messages, **header):
    gadget = AcquisitionAccumulateTriggerGadget(send_complete_repetitions=True)
    text = header_xml(matrix=(4, 8, 1), **header)
    return [len(objects(message)[0].data) for message in run(gadget, messages, text, batch=1)]


def test_complete_repetitions_are_sent_one_by_one():
    assert buckets_of(repetitions(3)) == [8, 8, 8]


def test_without_the_property_everything_is_one_bucket():
    messages = run(AcquisitionAccumulateTriggerGadget(), repetitions(3), header_xml(matrix=(4, 8, 1)))
    assert [len(objects(message)[0].data) for message in messages] == [24]


def test_a_repetition_with_a_line_missing_waits_for_the_end():
    assert buckets_of(repetitions(3, lines=range(7))) == [21]


def test_interleaved_repetitions_wait_for_the_end():
    messages = [*repetitions(2, lines=range(4)), *repetitions(2, lines=range(4, 8))]
    assert buckets_of(messages) == [16]


def test_a_repetition_is_complete_when_all_its_slices_are():
    limits = {"kspace_encoding_step_1": (0, 7, 4), "slice": (0, 1, 0)}
    one_slice_after_another = [m for s in range(2) for m in repetitions(2, slice=s)]
    assert buckets_of(one_slice_after_another, limits=limits) == [32]
    data = np.ones((2, 4), np.complex64)
    places = [(r, s, y) for r in range(2) for s in range(2) for y in range(8)]
    messages = [acquisition(data, kspace_encode_step_1=y, repetition=r, slice=s) for r, s, y in places]
    assert buckets_of(messages, limits=limits) == [16, 16]


def test_an_undersampled_repetition_is_complete_with_every_second_line():
    parallel = PARALLEL.format(mode="interleaved")
    assert buckets_of(repetitions(2, lines=range(0, 8, 2)), parallel=parallel) == [4, 4]


def test_a_header_without_limits_leaves_everything_to_the_end():
    assert buckets_of(repetitions(2), limits={}) == [16]


def test_lines_of_a_repetition_that_was_complete_make_no_second_image():
    messages = [*repetitions(2), *repetitions(1, lines=[3])]
    assert buckets_of(messages) == [8, 8]


def texts(rng, counters, **properties):
    """Give what the client is told while readouts of these counters are collected."""
    controller = Controller()
    run(AcquisitionAccumulateTriggerGadget(**properties), lines(rng, *counters), controller=controller)
    return controller.texts


@pytest.mark.parametrize("dimension", ["slice", "repetition", "phase"])
@pytest.mark.parametrize("values", [(0, 1, 0, 1, 0, 1), (0, 1, 0), (2, 1, 0, 2)])
def test_an_image_that_comes_in_pieces_is_told_once(dimension, values, rng):
    (text,) = texts(rng, ({dimension: value} for value in values), trigger_dimension=dimension)
    assert f"{dimension} has returned to {values[0]}" in text
    assert "trigger_dimension" in text
    assert "Generic_Cartesian_Grappa.xml" in text


@pytest.mark.parametrize(
    ("dimension", "counters"),
    [
        ("slice", [{"slice": s, "repetition": r} for r in range(3) for s in (0, 0, 1, 1)]),
        ("repetition", [{"slice": s, "repetition": r} for r in range(3) for s in (0, 1, 0, 1)]),
        ("slice", [{"slice": s} for s in (2, 2, 0, 0, 1, 1)]),
        ("segment", [{"segment": s} for s in (0, 1, 0, 1)]),
        ("", [{"slice": s} for s in (0, 1, 0, 1)]),
        ("n_acquisitions", [{} for _ in range(100)]),
    ],
)
def test_what_is_complete_when_it_is_sent_is_not_complained_about(dimension, counters, rng):
    assert texts(rng, counters, trigger_dimension=dimension) == []


def test_calibration_that_came_before_its_image_is_no_piece_of_it(rng):
    messages = lines(rng, *({"slice": s} for s in (0, 1, 0, 1)))
    for message in messages[:2]:
        message.object.flags |= 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
    controller = Controller()
    run(AcquisitionAccumulateTriggerGadget(trigger_dimension="slice"), messages, controller=controller)
    assert controller.texts == []


def test_few_images_are_remembered(rng):
    gadget = AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition")
    run(gadget, lines(rng, *({"repetition": r} for r in range(5000))), controller=Controller())
    assert len(gadget._images) <= 4096
