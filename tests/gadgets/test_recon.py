"""SimpleReconGadget, FFTGadget, ImageArraySplitGadget and AccumulatorGadget."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import GadgetError, LimitExceeded, MalformedMessageError
from gadgetron.message import make_message
from gadgetron.recon_types import ImageArray, ReconBit, ReconData
from gadgets.mri_core.accumulator import AccumulatorGadget
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from gadgets.mri_core.fft import FFTGadget
from gadgets.mri_core.image_array_split import ImageArraySplitGadget
from gadgets.mri_core.simple_recon import SimpleReconGadget
from tests.gadgets.support import (
    acquisition,
    centred_ifft,
    complex_noise,
    header_xml,
    image,
    is_quiet_after_abort,
    objects,
    reference_image,
    relative_difference,
    run,
    scan,
)


def buffered(messages, header, **properties):
    return run([AcquisitionAccumulateTriggerGadget(), BucketToBufferGadget(**properties)], messages, header)


@pytest.mark.parametrize("trajectory", ["radial", "goldenangle", "spiral"])
def test_simple_recon_refuses_what_does_not_lie_on_a_grid(rng, trajectory):
    header = header_xml((16, 8, 1), trajectory=trajectory)
    with pytest.raises(
        (MalformedMessageError, GadgetError), match=rf"trajectory \({trajectory}\): cartesian or epi expected"
    ):
        run(SimpleReconGadget(), buffered(scan(complex_noise(rng, 1, 1, 8, 16)), header), header)


def test_simple_recon_makes_an_image_for_each_n_s_and_location(rng):
    kspaces = complex_noise(rng, 2, 3, 2, 1, 8, 16)  # slices, contrasts
    messages = [m for s in range(2) for c in range(3) for m in scan(kspaces[s, c], slice=s, contrast=c)]
    limits = {"kspace_encoding_step_1": (0, 7, 4), "slice": (0, 1, 0)}
    (message,) = run(
        SimpleReconGadget(), buffered(messages, header_xml((16, 8, 1), limits=limits), N_dimension="contrast")
    )
    array = objects(message)[0]
    assert array.data.shape == (2, 1, 3, 1, 1, 8, 16)
    assert array.data.dtype == np.complex64
    assert not array.data.imag.any()
    for s in range(2):
        for c in range(3):
            assert relative_difference(array.data[s, 0, c, 0].real, reference_image(kspaces[s, c])) < 1e-6
            head = array.headers[s, 0, c]
            assert (head.slice, head.contrast, head.channels) == (s, c, 1)
    assert [head.image_index for head in array.headers.flat] == [1, 2, 3, 4, 5, 6]


def test_recon_data_without_imaging_data_gives_nothing():
    assert run(SimpleReconGadget(), [make_message(ReconData([ReconBit()]))]) == []
    assert run(FFTGadget(), [make_message(ReconData([ReconBit()]))]) == []


def test_fft_gadget_keeps_all_channels(rng):
    kspace = complex_noise(rng, 3, 2, 8, 16)
    messages = scan(kspace, slice=1, position=(1.0, 2.0, 3.0))
    (message,) = run(FFTGadget(), buffered(messages, header_xml((16, 8, 2)), split_slices=True))
    head, data = objects(message)
    assert relative_difference(data, centred_ifft(kspace, (1, 2, 3))) < 1e-6
    assert (head.channels, tuple(head.matrix_size), tuple(head.position)) == (3, (16, 8, 2), (1.0, 2.0, 3.0))
    assert (head.slice, head.image_index, head.data_type) == (1, 1, ismrmrd.DATATYPE_CXFLOAT)


def test_fft_gadget_transforms_images_that_hold_kspace(rng):
    kspace = complex_noise(rng, 2, 3, 5, 7)
    (message,) = run(FFTGadget(), [image(kspace.copy(), image_index=9)])
    assert relative_difference(objects(message)[1], centred_ifft(kspace, (1, 2, 3))) < 1e-6
    assert objects(message)[0].image_index == 9


def test_fft_gadget_passes_float_images_and_refuses_odd_shapes(rng):
    message = image(np.zeros((1, 1, 2, 2), np.float32))
    assert run(FFTGadget(), [message]) == [message]
    with pytest.raises(GadgetError, match="channels, z, y, x"):
        run(FFTGadget(), [make_message(ismrmrd.ImageHeader(), complex_noise(rng, 4, 4))])


def test_splitting_goes_location_by_location():
    headers = np.full((2, 2, 3), None, object)
    for index in range(12):
        headers.flat[index] = ismrmrd.ImageHeader()
        headers.flat[index].image_index = index
    meta = np.full((2, 2, 3), None, object)
    meta[1, 1, 2] = ismrmrd.Meta({"a": "b"})
    data = np.arange(12 * 8, dtype=np.complex64).reshape(2, 2, 3, 1, 2, 2, 2)
    other = image(np.zeros((1, 1, 1, 1), np.complex64))
    results = run(ImageArraySplitGadget(), [make_message(ImageArray(data, headers, meta)), other])
    assert results.pop() is other
    assert [objects(message)[0].image_index for message in results] == list(range(12))
    assert [len(objects(message)) for message in results] == [2] * 11 + [3]
    np.testing.assert_array_equal(objects(results[5])[1], data[0, 1, 2])
    assert objects(results[11])[2]["a"] == "b"


def test_accumulator_sends_a_slice_at_its_last_line(rng):
    kspaces = complex_noise(rng, 2, 3, 1, 8, 16)
    messages = [m for s in (0, 1) for m in scan(kspaces[s], slice=s, position=(0.0, 0.0, float(s)))]
    gadget = AccumulatorGadget(image_series=4, MyTestProperty="Blah Blah", threads="5")
    assert run(gadget, messages[:7], header_xml((16, 8, 1)), close=None) == []
    results = run(gadget, messages[7:])
    assert [objects(message)[0].slice for message in results] == [0, 1]
    for index, message in enumerate(results):
        head, data = objects(message)
        np.testing.assert_array_equal(data, kspaces[index])
        assert (head.image_index, head.image_series_index, head.channels) == (index + 1, 4, 3)
        assert tuple(head.position) == (0.0, 0.0, float(index))


def test_accumulator_takes_readouts_with_or_without_oversampling(rng):
    header = header_xml((32, 4, 1), recon=(16, 4, 1))
    for n_samples in (16, 32):
        (message,) = run(AccumulatorGadget(), scan(complex_noise(rng, 1, 1, 4, n_samples)), header)
        head, data = objects(message)
        assert data.shape == (1, 1, 4, n_samples)
        assert (head.matrix_size[0], head.field_of_view[0]) == (n_samples, n_samples)


def test_accumulator_sends_what_is_left_and_begins_anew(rng):
    kspace = complex_noise(rng, 1, 1, 8, 8)
    messages = [*scan(kspace), *scan(kspace)[:3]]
    first, second = run(AccumulatorGadget(), messages, header_xml((8, 8, 1)))
    np.testing.assert_array_equal(objects(first)[1], kspace)
    assert not objects(second)[1][:, :, 3:].any()


@pytest.mark.parametrize("is_inner_loop", [False, True])
def test_accumulator_averages_averages(is_inner_loop, rng):
    kspaces = complex_noise(rng, 3, 2, 1, 8, 8)
    messages = [message for i, kspace in enumerate(kspaces) for message in scan(kspace, average=i)]
    if is_inner_loop:
        messages.sort(key=lambda message: objects(message)[0].idx.kspace_encode_step_1)
    limits = {"kspace_encoding_step_1": (0, 7, 4), "average": (0, 2, 0)}
    (message,) = run(AccumulatorGadget(), messages, header_xml((8, 8, 1), limits=limits))
    assert relative_difference(objects(message)[1], kspaces.mean(axis=0)) < 1e-6


def test_accumulator_keeps_repetitions_apart_if_averages_are_missing(rng):
    kspaces = complex_noise(rng, 2, 1, 1, 8, 8)
    messages = [message for i, kspace in enumerate(kspaces) for message in scan(kspace, repetition=i)]
    limits = {"kspace_encoding_step_1": (0, 7, 4), "average": (0, 1, 0)}
    results = run(AccumulatorGadget(), messages, header_xml((8, 8, 1), limits=limits))
    np.testing.assert_array_equal([objects(message)[1] for message in results], kspaces)


def test_accumulator_keeps_the_last_echo_of_a_line_and_leaves_out_what_is_not_finite(rng):
    kspaces = complex_noise(rng, 2, 1, 1, 4, 8)
    messages = [m for pair in zip(*(scan(k, contrast=i) for i, k in enumerate(kspaces)), strict=True) for m in pair]
    objects(messages[2])[1][0, 0] = objects(messages[5])[1][0, 0] = np.nan
    del messages[-2]  # its flag ends the slice
    (message,) = run(AccumulatorGadget(), messages, header_xml((8, 4, 1)))
    expected = kspaces[1].copy()
    expected[:, :, 2] = kspaces[0][:, :, 2]
    np.testing.assert_array_equal(objects(message)[1], expected)


def test_accumulator_drops_what_is_no_imaging_data(rng):
    noise = acquisition(complex_noise(rng, 1, 8), flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))
    assert run(AccumulatorGadget(), [noise], header_xml((8, 8, 1))) == []


@pytest.mark.parametrize(
    ("field", "fields", "shape"),
    [
        ("kspace_encode_step_1", {"kspace_encode_step_1": 65535}, (2, 8)),
        ("kspace_encode_step_2", {"kspace_encode_step_2": 1}, (2, 8)),
        ("slice", {"slice": 65535}, (2, 8)),
        ("active_channels", {}, (3, 8)),
        ("number_of_samples", {}, (2, 9)),
        ("number_of_samples", {"center_sample": 60000}, (2, 7)),
    ],
)
def test_accumulator_refuses_lines_that_contradict_the_header(field, fields, shape, rng):
    limits = {"kspace_encoding_step_1": (0, 7, 4), "slice": (0, 3, 0)}
    messages = [acquisition(complex_noise(rng, 2, 8)), acquisition(complex_noise(rng, *shape), **fields)]
    with pytest.raises(MalformedMessageError, match=field):
        run(AccumulatorGadget(), messages, header_xml((8, 8, 1), limits=limits))


def test_accumulator_refuses_what_it_cannot_do(rng):
    with pytest.raises(MalformedMessageError, match="encoding"):
        run(AccumulatorGadget(), [], header_xml(n_encodings=2))
    with pytest.raises(LimitExceeded):
        run(AccumulatorGadget(), [acquisition(complex_noise(rng, 1, 8))], header_xml((65535, 65535, 65535)))
    with pytest.raises(MalformedMessageError, match="header"):
        run(AccumulatorGadget(), [acquisition(complex_noise(rng, 1, 8))])


def test_an_empty_stream_and_an_abort_give_nothing(rng):
    for gadget in (SimpleReconGadget(), FFTGadget(), ImageArraySplitGadget(), AccumulatorGadget()):
        assert run(gadget, [], header_xml()) == []
    assert is_quiet_after_abort(AccumulatorGadget(), [acquisition(complex_noise(rng, 1, 8))], header_xml((8, 8, 1)))
