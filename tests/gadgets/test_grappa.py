"""The slice-wise GRAPPA chain, gadget by gadget, and what it does where the C++ program fails."""

from __future__ import annotations

from itertools import permutations

import ismrmrd
import numpy as np
import pytest

from gadgetron import reconstruct
from gadgetron.errors import GadgetError, MalformedMessageError, PropertyError
from gadgetron.header import parse_ismrmrd_header
from gadgetron.message import config_message, make_message
from gadgetron.nodes import Parallel
from gadgetron.testing import run_gadget
from gadgets.grappa.acquisition_fanout import AcquisitionFanout
from gadgets.grappa.channel_reorderer import ChannelReorderer
from gadgets.grappa.grappa_gadget import GrappaGadget, GrappaUnmixingGadget
from gadgets.grappa.image_accumulator import ImageAccumulator
from gadgets.grappa.slice_accumulator import SliceAccumulator
from gadgets.grappa.slices import LineGrid, SliceImage, SliceWeights
from gadgets.grappa.unmixing import Unmixing
from gadgets.grappa.weights_calculator import Update, cpuWeightsCalculator, gpuWeightsCalculator
from gadgets.mri_core.remove_ro_oversampling import RemoveROOversamplingGadget
from tests.gadgets.support import (
    Controller,
    acquisition,
    centred_fft,
    centred_ifft,
    complex_noise,
    header_xml,
    objects,
    relative_difference,
    run,
)

N_Y, N_X, CENTER = 32, 24, 16
HEADER = header_xml((N_X, N_Y, 1))
LAST = (ismrmrd.ACQ_LAST_IN_SLICE,)
CALIBRATION = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
ACCELERATED = header_xml(
    (N_X, N_Y, 1),
    parallel="<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
    "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor></parallelImaging>",
)


def line(rng, y, flags=(), n_coils=4, **fields):
    return acquisition(complex_noise(rng, n_coils, N_X), kspace_encode_step_1=y, flags=flags, **fields)


def lines(rng, ys, **fields):
    ys = list(ys)
    return [line(rng, y, LAST if y == ys[-1] else (), **fields) for y in ys]


def slices(messages, **properties):
    return [objects(message)[0] for message in run(SliceAccumulator(**properties), messages, HEADER)]


# SliceAccumulator


def test_a_slice_is_sent_at_its_last_readout_and_the_rest_at_the_end(rng):
    found = slices([*lines(rng, range(4)), *lines(rng, range(4), slice=1), line(rng, 0, slice=2)])
    assert [(s.number, s.index, len(s.acquisitions)) for s in found] == [(0, 0, 4), (1, 1, 4), (2, 2, 1)]


def test_interleaved_slices_do_not_mix(rng):
    pairs = zip(lines(rng, range(4)), lines(rng, range(4), slice=1), strict=True)
    found = slices([message for pair in pairs for message in pair])
    assert [{a.head.idx.slice for a in s.acquisitions} for s in found] == [{0}, {1}]


def test_another_repetition_begins_another_image_but_calibration_lines_have_no_say(rng):
    messages = [line(rng, y, repetition=1) for y in (0, 2)]
    messages += [line(rng, 1, CALIBRATION), *(line(rng, y, repetition=2) for y in (0, 2))]
    assert [len(s.acquisitions) for s in slices(messages)] == [3, 2]


def counters(piece):
    idx = piece.acquisitions[-1].head.idx
    return idx.contrast, idx.phase, idx.repetition, idx.set


@pytest.mark.parametrize("dimension", ["contrast", "phase", "repetition", "set"])
@pytest.mark.parametrize("flagged", [(), (N_Y - 1,), (2 * N_Y - 1,), (N_Y * 2 - 2, N_Y * 2 - 1)])
def test_what_is_interleaved_gives_an_image_each_wherever_the_flag_is(rng, dimension, flagged):
    messages = [line(rng, y, **{dimension: i}) for y in range(N_Y) for i in range(2)]
    if flagged == (N_Y - 1,):  # one after the other
        messages.sort(key=lambda message: getattr(objects(message)[0].idx, dimension))
    for index in flagged:
        objects(messages[index])[0].flags |= 1 << (ismrmrd.ACQ_LAST_IN_SLICE - 1)
    found = slices(messages)
    assert [len({a.head.idx.kspace_encode_step_1 for a in s.acquisitions}) for s in found] == [N_Y, N_Y]
    place = ["contrast", "phase", "repetition", "set"].index(dimension)
    assert [counters(s)[place] for s in found] == [0, 1]


def test_without_a_flag_an_image_is_sent_when_the_next_one_begins(rng):
    collect = SliceAccumulator()
    whole = [line(rng, y) for y in range(N_Y)]
    assert not run(collect, whole, HEADER, close=None)
    (message,) = run(collect, [line(rng, 0, contrast=1)], close=None)
    assert len(objects(message)[0].acquisitions) == N_Y
    partial = [line(rng, y, contrast=1) for y in range(1, N_Y // 2 + 1)]  # partial Fourier
    assert not run(collect, [*partial, line(rng, 0, contrast=2)], close=None)
    (message,) = run(collect, [line(rng, 0, repetition=1)], close=None)
    assert len(objects(message)[0].acquisitions) == N_Y // 2 + 1


AVERAGED = header_xml((N_X, N_Y, 1), limits={"kspace_encoding_step_1": (0, N_Y - 1, CENTER), "average": (0, 2, 0)})


@pytest.mark.parametrize("is_inner_loop", [False, True])
def test_averages_are_one_image(rng, is_inner_loop):
    messages = [message for average in range(3) for message in lines(rng, range(N_Y), average=average)]
    if is_inner_loop:
        messages.sort(key=lambda message: objects(message)[0].idx.kspace_encode_step_1)
    (found,) = run([SliceAccumulator(), ImageAccumulator()], messages, AVERAGED)
    expected = np.zeros((4, 1, N_Y, N_X), np.complex64)
    for message in messages:
        expected[:, 0, objects(message)[0].idx.kspace_encode_step_1] += objects(message)[1] / 3
    assert relative_difference(objects(found)[0].data, centred_ifft(expected, (2, 3))) < 1e-5


def test_a_readout_that_is_not_finite_is_left_out_but_its_flag_counts(rng):
    messages = lines(rng, range(4))
    objects(messages[-1])[1][0, 3] = np.nan
    controller = Controller()
    found = run(SliceAccumulator(), [*messages, *lines(rng, range(4))], HEADER, controller=controller)
    assert [len(objects(message)[0].acquisitions) for message in found] == [3, 4]
    assert len(controller.texts) == 1


def test_copies_of_the_last_line_make_no_image_of_their_own(rng):
    messages = [message for y in range(4) for message in (line(rng, y, LAST if y == 3 else ()) for _ in range(3))]
    assert [len(s.acquisitions) for s in slices([*messages, *lines(rng, range(4))])] == [10, 4]


@pytest.mark.parametrize(
    "flag", [ismrmrd.ACQ_IS_NOISE_MEASUREMENT, ismrmrd.ACQ_IS_DUMMYSCAN_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA]
)
def test_what_is_no_image_and_no_calibration_is_dropped(rng, flag):
    (found,) = slices([line(rng, 0, (flag,)), *lines(rng, range(2))])
    assert len(found.acquisitions) == 2


def test_another_encoding_space_is_refused(rng):
    with pytest.raises(MalformedMessageError, match="encoding_space_ref"):
        slices([line(rng, 0, encoding_space_ref=1)])


# LineGrid, ImageAccumulator


def laid_out(messages):
    (found,) = slices(messages)
    return LineGrid(parse_ismrmrd_header(HEADER)).lay_out(found.acquisitions)


def test_lines_lie_where_the_header_has_their_center(rng):
    xml = header_xml((N_X, N_Y, 1), limits={"kspace_encoding_step_1": (0, 20, 10)})
    (found,) = slices(lines(rng, range(21)))
    kspace, present = LineGrid(parse_ismrmrd_header(xml)).lay_out(found.acquisitions)
    assert present == set(range(21))
    np.testing.assert_array_equal(kspace[:, 0, 6], found.acquisitions[0].data)
    assert not kspace[:, 0, :6].any()


def test_a_line_that_came_more_than_once_is_averaged(rng):
    first, second = line(rng, 3), line(rng, 3)
    expected = (objects(first)[1] + objects(second)[1]) / 2
    kspace, _ = laid_out([first, second])
    assert relative_difference(kspace[:, 0, 3], expected) < 1e-6


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (lambda rng: line(rng, N_Y), "kspace_encode_step_1"),
        (lambda rng: line(rng, 1, kspace_encode_step_2=1), "kspace_encode_step_2"),
        (lambda rng: line(rng, 1, n_coils=3), "active_channels"),
        (lambda rng: acquisition(complex_noise(rng, 4, N_X + 1)), "number_of_samples"),
    ],
)
def test_what_does_not_fit_the_grid_names_the_field(rng, message, field):
    with pytest.raises(MalformedMessageError, match=field):
        laid_out([line(rng, 0), message(rng)])


@pytest.mark.parametrize(
    ("xml", "field"), [(header_xml((N_X, N_Y, 4)), "matrixSize.z"), (header_xml(n_encodings=2), "encoding")]
)
def test_headers_of_volumes_and_several_spaces_are_refused(xml, field):
    with pytest.raises(MalformedMessageError, match=field):
        LineGrid(parse_ismrmrd_header(xml))


def test_calibration_lines_stay_out_of_the_image(rng):
    messages = [line(rng, 1, CALIBRATION), *lines(rng, (0, 2)), *lines(rng, (5,), slice=1)]
    objects(messages[-1])[0].flags |= 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
    data = objects(messages[1])[1], objects(messages[2])[1]
    (image,) = [objects(m)[0] for m in run([SliceAccumulator(), ImageAccumulator()], messages, HEADER)]
    kspace = np.zeros((4, 1, N_Y, N_X), np.complex64)
    kspace[:, 0, 0], kspace[:, 0, 2] = data
    # Orthonormal: the power of the image is that of its lines.
    assert np.linalg.norm(image.data) == pytest.approx(np.linalg.norm(kspace), rel=1e-5)
    assert (image.number, image.index) == (0, 0)


# cpuWeightsCalculator


def weights_of(messages, header=ACCELERATED, **properties):
    found = run([SliceAccumulator(), cpuWeightsCalculator(**properties)], messages, header)
    return [objects(message)[0] for message in found]


def sampled(rng, repetition=0, *, is_flagged=True, **fields):
    ys = sorted({*range(repetition % 2, N_Y, 2), *range(CENTER - 8, CENTER + 8)})
    messages = lines(rng, ys, repetition=repetition, **fields)
    for message, y in zip(messages, ys, strict=True):
        if is_flagged and y % 2 != repetition % 2:
            objects(message)[0].flags |= 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
    return messages


def test_weights_are_computed_once_or_always(rng):
    messages = [*sampled(rng), *sampled(rng, 1), *sampled(rng, 2)]
    assert [w.unmixing is not None for w in weights_of(messages)] == [True, False, False]
    generator = np.random.default_rng(1)
    messages = [*sampled(generator), *sampled(generator, 1)]
    assert [w.unmixing is not None for w in weights_of(messages, update_weights=Update.ALWAYS)] == [True, True]


def test_a_slice_that_moves_gets_new_weights(rng):
    messages = [*sampled(rng), *sampled(rng, 1), *sampled(rng, 2, position=(1.0, 0.0, 0.0))]
    assert [w.unmixing is not None for w in weights_of(messages)] == [True, False, True]


def test_slices_have_weights_of_their_own(rng):
    messages = [*sampled(rng), *sampled(rng, slice=1, position=(0.0, 0.0, 9.0)), *sampled(rng, 1)]
    assert [(w.index, w.unmixing is not None) for w in weights_of(messages)] == [(0, True), (1, True), (0, False)]


def test_lines_of_several_repetitions_calibrate_together(rng):
    messages = [*lines(rng, range(0, N_Y, 2)), *lines(rng, range(1, N_Y, 2), repetition=1)]
    first, second = weights_of(messages)
    assert first.unmixing is None
    assert "calibration data has 1 samples along y" in first.reason
    assert second.unmixing is not None


def test_without_acceleration_in_the_header_the_spacing_counts(rng):
    with_header, without = (
        weights_of(sampled(np.random.default_rng(1), is_flagged=False), header)[0].unmixing
        for header in (ACCELERATED, HEADER)
    )
    assert relative_difference(without, with_header) > 0.1  # calibration lines that are not flagged fill the gaps
    flagged = sampled(np.random.default_rng(1))
    np.testing.assert_array_equal(weights_of(flagged, HEADER)[0].unmixing, with_header)


def test_the_name_for_graphics_cards_is_the_same(rng):
    assert issubclass(gpuWeightsCalculator, cpuWeightsCalculator)


# Unmixing


def merged(order, **properties):
    """Give (image index, mean) for messages (key, object) put in an order."""
    merge = Unmixing(**properties)
    merge.connect(sink := _Sink())  # type: ignore[arg-type]
    merge.process_config(config_message(header_xml((2, 2, 1))))
    for key, obj in order:
        merge.process(key, make_message(obj))
    merge.close(1)
    return [(m.object.image_index, complex(m.cont.object.mean())) for m in sink.messages]


class _Sink:
    def __init__(self):
        self.messages = []

    def putq(self, message):
        self.messages.append(message)
        return 0


def image(number, index=0):
    data = np.full((1, 1, 2, 2), number + 1, np.complex64)
    return ("images", SliceImage(number, index, data, ismrmrd.AcquisitionHeader(), ismrmrd.AcquisitionHeader()))


def weights(number, value, index=0):
    unmixing = None if value is None else np.full((1, 1, 1, 2, 2), value, np.complex64)
    return ("weights", SliceWeights(number, index, unmixing, "" if value is not None else "too few lines"))


def test_which_image_gets_which_weights_does_not_depend_on_who_comes_first():
    images = [image(0), image(1), image(2)]
    ready = [weights(0, 10), weights(1, None), weights(2, 1000)]
    expected = [(1, 10), (2, 20), (3, 3000)]
    for places in set(permutations([0, 0, 0, 1, 1, 1])):
        sources = [iter(images), iter(ready)]
        assert merged([next(sources[place]) for place in places]) == expected, places


def test_images_wait_for_the_first_weights_of_their_slice():
    order = [image(0), weights(0, None), image(1, 1), weights(1, 5, 1), image(2), weights(2, 7)]
    assert merged(order) == [(1, 10), (2, 7), (3, 21)]
    calibration_comes_last = [image(0), weights(0, None), weights(1, 7)]
    assert merged(calibration_comes_last, unmixing_scale=2.0) == [(1, 14)]


def test_images_without_weights_are_an_error_that_says_why():
    with pytest.raises(MalformedMessageError, match="slice 0: 2 images cannot be reconstructed: too few lines"):
        merged([image(0), weights(0, None), image(1), weights(1, None)])


def test_the_number_of_coils_may_not_change():
    with pytest.raises(MalformedMessageError, match="active_channels"):
        merged([("weights", SliceWeights(0, 0, np.ones((1, 2, 1, 2, 2), np.complex64))), image(0)])


# The whole


def grappa_chain(**properties):
    streams = {"images": [ImageAccumulator()], "weights": [cpuWeightsCalculator(**properties)]}
    return [SliceAccumulator(), Parallel(AcquisitionFanout(), streams, Unmixing(image_series=3))]


def test_geometry_series_and_numbers_are_in_the_header(rng):
    messages = [*sampled(rng, slice=1, position=(1.0, 2.0, 3.0), acquisition_time_stamp=7), *sampled(rng, slice=2)]
    found = [objects(m) for m in run_gadget(grappa_chain(), messages, ACCELERATED)]
    head = found[0][0]
    assert [tuple(h.matrix_size) for h, _ in found] == [(N_X, N_Y, 1)] * 2
    assert (head.slice, head.image_index, head.image_series_index) == (1, 1, 3)
    assert (tuple(head.position), head.acquisition_time_stamp) == ((1.0, 2.0, 3.0), 7)
    assert tuple(head.field_of_view) == (float(N_X), float(N_Y), 1.0)


@pytest.mark.parametrize("configuration", ["grappa_float_cpu.xml", "grappa_cpu.xml", "grappa_float.xml"])
@pytest.mark.parametrize("counter", ["contrast", "phase", "set", "average"])
def test_images_have_the_counters_of_their_readouts(rng, counter, configuration):
    messages = [m for place in (0, 1) for m in lines(rng, range(N_Y), **{counter: place}, slice=2, repetition=place)]
    images = reconstruct((HEADER, messages), configuration)
    assert [getattr(image.header, counter) for image in images] == [0, 1]
    assert [(image.header.slice, image.header.repetition) for image in images] == [(2, 0), (2, 0)]


def test_fully_sampled_data_is_combined(rng):
    (message,) = run_gadget(grappa_chain(), lines(rng, range(N_Y)), HEADER)
    assert np.abs(objects(message)[1]).max() > 0


def test_phase_oversampling_is_cropped_and_interpolation_done(rng):
    xml = header_xml((N_X, N_Y, 1), (N_X, N_Y, 1), fov=(N_X, 2.0 * N_Y, 1.0), recon_fov=(N_X, N_Y, 1.0))
    (message,) = run_gadget(grappa_chain(), lines(rng, range(N_Y)), xml)
    assert objects(message)[1].shape == (1, 1, N_Y, N_X)


@pytest.mark.parametrize("n_recon", [N_X // 2, N_X, 2 * N_X])
@pytest.mark.parametrize("oversampling", [1, 2])
def test_images_have_the_matrix_of_the_header_however_many_samples_were_measured(rng, n_recon, oversampling):
    fov, recon_fov = (float(N_X * oversampling), float(N_Y), 1.0), (float(N_X), float(N_Y), 1.0)
    xml = header_xml((N_X * oversampling, N_Y, 1), (n_recon, N_Y, 1), fov=fov, recon_fov=recon_fov)
    y, x = np.mgrid[-1 : 1 : N_Y * 1j, -oversampling : oversampling : N_X * oversampling * 1j]
    disc = ((x / 0.6) ** 2 + (y / 0.8) ** 2 < 1) * np.ones((4, 1, 1))
    kspace = centred_fft(disc, (1, 2)).astype(np.complex64)
    messages = [acquisition(kspace[:, line].copy(), kspace_encode_step_1=line) for line in range(N_Y)]
    expected = round(0.6 * n_recon)
    for chain in ([RemoveROOversamplingGadget(), *grappa_chain()], grappa_chain()):
        fresh = [acquisition(objects(m)[1].copy(), kspace_encode_step_1=i) for i, m in enumerate(messages)]
        (message,) = run_gadget(chain, fresh, xml)
        head, data = objects(message)
        assert (tuple(head.matrix_size), data.shape) == ((n_recon, N_Y, 1), (1, 1, N_Y, n_recon))
        width = int((np.abs(data[0, 0, N_Y // 2]) > 0.5 * np.abs(data).max()).sum())
        assert abs(width - expected) <= max(2, n_recon // 10)


def test_samples_that_no_matrix_explains_are_refused(rng):
    message = acquisition(complex_noise(rng, 4, N_X + 3))
    with pytest.raises(MalformedMessageError, match=rf"number_of_samples \({N_X + 3}\): {N_X} expected"):
        laid_out([message])


def test_a_scan_without_calibration_lines_is_told_what_is_missing(rng):
    xml = ACCELERATED
    with pytest.raises(Exception, match="calibration data has 1 samples along y") as raised:
        reconstruct((xml, lines(rng, range(0, N_Y, 2))), "grappa_float_cpu.xml")
    assert "cannot be reconstructed" in str(raised.value)


# The older form, and coils that are not combined


def pixels(messages):
    return [objects(message)[1] for message in messages]


def test_the_older_form_gives_the_same_images():
    def scan_():
        generator = np.random.default_rng(1)
        return [*sampled(generator, slice=1), *sampled(generator, 1, slice=1), *sampled(generator, slice=2)]

    new = run_gadget(grappa_chain(), scan_(), ACCELERATED)
    old = run_gadget([GrappaGadget(image_series=3), GrappaUnmixingGadget()], scan_(), ACCELERATED)
    assert len(new) == 3
    for one, other in zip(new, old, strict=True):
        assert bytes(objects(one)[0]) == bytes(objects(other)[0])
        np.testing.assert_array_equal(objects(one)[1], objects(other)[1])


def test_the_older_form_complains_about_missing_calibration_lines_too(rng):
    with pytest.raises(GadgetError, match="calibration data has 1 samples along y"):
        run_gadget([GrappaGadget(), GrappaUnmixingGadget()], lines(rng, range(0, N_Y, 2)), ACCELERATED)


@pytest.mark.parametrize("acceleration", [1, 2])
def test_uncombined_coils_are_further_channels(acceleration):
    xml = ACCELERATED if acceleration == 2 else HEADER
    labels = (
        "<acquisitionSystemInformation><coilLabel><coilNumber>2</coilNumber><coilName>device</coilName></coilLabel>"
        "</acquisitionSystemInformation>"
    )
    named = xml.replace("<experimentalConditions>", f"{labels}<experimentalConditions>")

    def scan_():
        generator = np.random.default_rng(1)
        return sampled(generator) if acceleration == 2 else lines(generator, range(N_Y))

    old = pixels(run_gadget([GrappaGadget(uncombined_channels="2"), GrappaUnmixingGadget()], scan_(), xml))
    by_name = [ChannelReorderer(uncombined_channels_by_name="device, nobody"), *grappa_chain()]
    quoted = [ChannelReorderer(uncombined_channels="'device'"), *grappa_chain()]
    for chain in (by_name, quoted):
        np.testing.assert_array_equal(pixels(run_gadget(chain, scan_(), named)), old)
    assert old[0].shape == (2, 1, N_Y, N_X)
    if acceleration == 1:
        (coils,) = run([SliceAccumulator(), ImageAccumulator()], scan_(), HEADER)
        assert relative_difference(old[0][1], objects(coils)[0].data[2]) < 1e-6
    first_two = [GrappaGadget(device_channels=2), GrappaUnmixingGadget()]
    assert pixels(run_gadget(first_two, scan_(), xml))[0].shape == (3, 1, N_Y, N_X)


def test_only_some_coils_are_combined_but_all_of_them_are_sources():
    def combined(n_targets):
        chain = [GrappaGadget(target_coils=n_targets), GrappaUnmixingGadget()]
        return pixels(run_gadget(chain, sampled(np.random.default_rng(1)), ACCELERATED))[0]

    assert 0.01 < relative_difference(combined(2), combined(0)) < 1.5
    np.testing.assert_array_equal(combined(4), combined(0))


def test_what_is_no_channel_is_refused(rng):
    with pytest.raises(PropertyError, match="'x' is neither a number"):
        run(ChannelReorderer(uncombined_channels="1, x"), [], HEADER)
    with pytest.raises(MalformedMessageError, match="all of them are uncombined"):
        run(GrappaGadget(device_channels=4), lines(rng, range(N_Y)), HEADER)


def test_the_configuration_of_the_older_form_loads(rng):
    names = [("gadgetron_grappa", "GrappaGadget"), ("gadgetron_grappa", "GrappaUnmixingGadget")]
    gadgets = "".join(
        f"<gadget><name>{name}</name><dll>{dll}</dll><classname>{name}</classname></gadget>"
        for dll, name in [*names, ("gadgetron_mricore", "ExtractGadget"), ("gadgetron_mricore", "ImageFinishGadget")]
    )
    xml = (
        '<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron"><reader><slot>1008</slot>'
        "<dll>gadgetron_mricore</dll><classname>GadgetIsmrmrdAcquisitionMessageReader</classname></reader><writer>"
        "<slot>1022</slot><dll>gadgetron_mricore</dll><classname>MRIImageWriter</classname></writer>"
        f"{gadgets}</gadgetronStreamConfiguration>"
    )
    (found,) = reconstruct((ACCELERATED, sampled(rng)), xml.encode())
    assert found.data.shape == (1, 1, N_Y, N_X)
