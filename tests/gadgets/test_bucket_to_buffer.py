import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from tests.gadgets.support import (
    PARALLEL,
    Controller,
    acquisition,
    complex_noise,
    header_xml,
    objects,
    relative_difference,
    run,
    scan,
)

INTERLEAVED_AVERAGES = PARALLEL.format(mode="interleaved").replace(
    "</parallelImaging>", "<interleavingDimension>average</interleavingDimension></parallelImaging>"
)


def recon_data(messages, header, trigger="", **properties):
    gadgets = [AcquisitionAccumulateTriggerGadget(trigger_dimension=trigger), BucketToBufferGadget(**properties)]
    return [objects(message)[0] for message in run(gadgets, messages, header)]


def buffers(messages, header, **properties):
    return [data.bits[0].data for data in recon_data(messages, header, **properties)]


def test_lines_lie_on_the_grid_with_their_headers(rng):
    kspace = complex_noise(rng, 3, 4, 8, 16)
    (buffer,) = buffers(scan(kspace), header_xml((16, 8, 4)))
    assert buffer.data.shape == (1, 1, 1, 3, 4, 8, 16)
    np.testing.assert_array_equal(buffer.data[0, 0, 0], kspace)
    assert buffer.headers.shape == (1, 1, 1, 4, 8)
    assert buffer.headers[0, 0, 0, 2, 5].idx.kspace_encode_step_1 == 5
    assert buffer.headers[0, 0, 0, 2, 5].idx.kspace_encode_step_2 == 2
    limits = buffer.sampling.sampling_limits
    assert [(limit.min, limit.center, limit.max) for limit in limits] == [(0, 8, 15), (0, 4, 7), (0, 2, 3)]


def test_sampling_describes_the_encoding(rng):
    header = header_xml((32, 8, 1), recon=(16, 6, 1), fov=(600.0, 300.0, 6.0), recon_fov=(300.0, 250.0, 5.0))
    (buffer,) = buffers(scan(complex_noise(rng, 1, 1, 8, 16)), header)
    sampling = buffer.sampling
    assert (sampling.encoded_matrix, sampling.recon_matrix) == ((16, 8, 1), (16, 6, 1))
    assert (sampling.encoded_FOV, sampling.recon_FOV) == ((300.0, 300.0, 6.0), (300.0, 250.0, 5.0))


def test_counters_become_axes(rng):
    kspaces = complex_noise(rng, 3, 2, 1, 1, 4, 8)  # contrasts, averages
    messages = [m for c in range(3) for a in range(2) for m in scan(kspaces[c, a], contrast=c, average=a)]
    (buffer,) = buffers(messages, header_xml((8, 4, 1)), N_dimension="contrast", S_dimension="average")
    assert buffer.data.shape == (1, 2, 3, 1, 1, 4, 8)
    for c in range(3):
        for a in range(2):
            np.testing.assert_array_equal(buffer.data[0, a, c], kspaces[c, a])


@pytest.mark.parametrize("dimension", ["segment", "slice", "phase", "set", "repetition"])
def test_a_dimension_that_does_not_begin_at_zero_has_no_gap(dimension, rng):
    kspaces = complex_noise(rng, 2, 1, 1, 4, 8)
    messages = [m for i, kspace in enumerate(kspaces) for m in scan(kspace, **{dimension: 3 + i})]
    (buffer,) = buffers(messages, header_xml((8, 4, 1)), N_dimension=dimension)
    assert buffer.data.shape[2] == 2
    for i, kspace in enumerate(kspaces):
        np.testing.assert_array_equal(buffer.data[0, 0, i], kspace)


def test_buffers_come_in_the_order_of_their_counters(rng):
    keys = [(a, s, c, r) for a in (1, 0) for s in (1, 0) for c in (0, 1) for r in (1, 0)]
    messages = [
        m
        for a, s, c, r in keys
        for m in scan(complex_noise(rng, 1, 1, 2, 4), average=a, slice=s, contrast=c, repetition=r)
    ]
    found = []
    for buffer in buffers(messages, header_xml((4, 2, 1)), split_slices=True, averages="separate"):
        idx = buffer.headers[0, 0, 0, 0, 0].idx
        found.append((idx.average, idx.slice, idx.contrast, idx.repetition))
    assert found == sorted(keys)


def test_segments_share_a_buffer_if_they_are_ignored(rng):
    kspace = complex_noise(rng, 1, 1, 8, 4)
    messages = scan(kspace)
    for index, message in enumerate(messages):
        objects(message)[0].idx.segment = index % 3
    (buffer,) = buffers(messages, header_xml((4, 8, 1)), ignore_segment=True)
    np.testing.assert_array_equal(buffer.data[0, 0, 0], kspace)


def test_without_ignoring_each_segment_has_a_buffer(rng):
    messages = scan(complex_noise(rng, 1, 1, 8, 4))
    for index, message in enumerate(messages):
        objects(message)[0].idx.segment = index % 3
    assert len(buffers(messages, header_xml((4, 8, 1)))) == 3


def test_slices_are_locations_unless_they_are_split(rng):
    kspaces = complex_noise(rng, 3, 1, 1, 2, 4)
    limits = {"kspace_encoding_step_1": (0, 1, 1), "slice": (0, 7, 0)}

    def messages():
        return [m for i, kspace in enumerate(kspaces) for m in scan(kspace, slice=2 + i)]

    (buffer,) = buffers(messages(), header_xml((4, 2, 1), limits=limits))
    assert buffer.data.shape[0] == 3
    np.testing.assert_array_equal(buffer.data[:, 0, 0], kspaces)
    assert len(buffers(messages(), header_xml((4, 2, 1), limits=limits), split_slices=True)) == 3


def test_missing_lines_are_zero_and_have_no_header(rng):
    kspace = complex_noise(rng, 2, 1, 8, 4)
    (buffer,) = buffers(scan(kspace)[::2], header_xml((4, 8, 1)))
    assert not buffer.data[..., 1::2, :].any()
    assert all(header is None for header in buffer.headers[0, 0, 0, 0, 1::2])


def test_a_buffer_that_is_used_again_has_no_old_lines(rng):
    header = header_xml((64, 8, 1))
    gadget = BucketToBufferGadget()
    collect = AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition")
    messages = scan(complex_noise(rng, 2, 1, 8, 64)) + scan(complex_noise(rng, 2, 1, 8, 64), repetition=1)[:3]
    collected = run(collect, messages, header)
    full = run(gadget, collected[:1], header, close=None)
    address = objects(full[0])[0].bits[0].data.data.ctypes.data
    full.clear()
    collected[0].release()
    (partial,) = run(gadget, collected[1:], header)
    buffer = objects(partial)[0].bits[0].data
    assert buffer.data.ctypes.data == address
    assert not buffer.data[..., 3:, :].any()


def test_equal_lines_are_averaged_and_the_last_header_stays(rng):
    lines = complex_noise(rng, 3, 2, 4)
    messages = [acquisition(line, kspace_encode_step_1=1, scan_counter=i) for i, line in enumerate(lines)]
    messages.append(acquisition(complex_noise(rng, 2, 4)))
    (buffer,) = buffers(messages, header_xml((4, 2, 1)))
    assert relative_difference(buffer.data[0, 0, 0, :, 0, 1], lines.mean(axis=0)) < 1e-6
    assert buffer.headers[0, 0, 0, 0, 1].scan_counter == 2
    assert buffer.averages[0, 0, 0, 0].tolist() == [1, 3]


def test_the_last_of_two_equal_lines_stays_if_that_is_wanted(rng):
    first, second = complex_noise(rng, 1, 4), complex_noise(rng, 1, 4)
    messages = [acquisition(first, kspace_encode_step_1=1), acquisition(second, kspace_encode_step_1=1)]
    (buffer,) = buffers(messages, header_xml((4, 2, 1)), repeated_lines="replace")
    np.testing.assert_array_equal(buffer.data[0, 0, 0, :, 0, 1], second)
    assert buffer.averages is None


def test_samples_are_averaged_over_the_readouts_that_have_them(rng):
    full, part = complex_noise(rng, 1, 8), complex_noise(rng, 1, 8)
    messages = [acquisition(full, center_sample=4), acquisition(part, center_sample=4, discard_post=2)]
    (buffer,) = buffers(messages, header_xml((8, 1, 1), parallel=PARALLEL.format(mode="embedded")))
    expected = np.concatenate([(full + part)[:, :6] / 2, full[:, 6:]], axis=1)
    assert relative_difference(buffer.data[0, 0, 0, :, 0, 0], expected) < 1e-6


@pytest.mark.parametrize("dimensions", [{}, {"N_dimension": "contrast", "S_dimension": "average"}])
@pytest.mark.parametrize("is_inner_loop", [False, True])
def test_averages_are_averaged_each_line_over_those_that_have_it(dimensions, is_inner_loop, rng):
    kspaces = complex_noise(rng, 3, 2, 1, 8, 4)
    averages = [scan(kspace, average=i) for i, kspace in enumerate(kspaces)]
    averages[2] = averages[2][:2]  # the last average ends early
    messages = [message for average in averages for message in average]
    if is_inner_loop:
        messages.sort(key=lambda message: objects(message)[0].idx.kspace_encode_step_1)
    (buffer,) = buffers(messages, header_xml((4, 8, 1)), averages="average" if dimensions else "auto", **dimensions)
    expected = np.concatenate([kspaces[:, :, :, :2].mean(axis=0), kspaces[:2, :, :, 2:].mean(axis=0)], axis=2)
    assert relative_difference(buffer.data[0, 0, 0], expected) < 1e-6
    assert {header.idx.average for header in buffer.headers.flat} == {0}
    assert buffer.averages.ravel().tolist() == [3] * 2 + [2] * 6


@pytest.mark.parametrize(
    ("properties", "header", "shapes"),
    [
        ({"averages": "separate"}, {}, [(1, 1), (1, 1)]),
        ({"averages": "separate", "S_dimension": "average"}, {}, [(2, 1)]),
        ({"S_dimension": "average"}, {}, [(2, 1)]),
        ({"averages": "average", "N_dimension": "average"}, {}, [(1, 1)]),
        ({}, {"parallel": INTERLEAVED_AVERAGES}, [(1, 1), (1, 1)]),
        ({"averages": "average", "N_dimension": "average"}, {"parallel": INTERLEAVED_AVERAGES}, [(1, 2)]),
        ({}, {"trajectory": "radial"}, [(1, 1), (1, 1)]),
    ],
)
def test_averages_are_kept_apart_where_that_is_wanted(properties, header, shapes, rng):
    messages = [m for i in range(2) for m in scan(complex_noise(rng, 1, 1, 4, 4), average=i)]
    found = buffers(messages, header_xml((4, 4, 1), **header), **properties)
    assert [buffer.data.shape[1:3] for buffer in found] == shapes


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
def test_a_readout_that_is_not_finite_is_left_out_and_told(bad, rng, capsys):
    kspace = complex_noise(rng, 2, 1, 8, 4)
    messages = scan(kspace)
    both = 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING - 1)
    for index in (3, 5):
        head, data = objects(messages[index])
        data[1, 2] = bad
        head.scan_counter = 40 + index
        head.flags |= both
    controller = Controller()
    gadgets = [AcquisitionAccumulateTriggerGadget(), BucketToBufferGadget()]
    (message,) = run(gadgets, messages, header_xml((4, 8, 1)), controller=controller)
    (bit,) = objects(message)[0].bits
    kspace[:, :, [3, 5]] = 0
    np.testing.assert_array_equal(bit.data.data[0, 0, 0], kspace)
    assert bit.reference is None
    assert len(controller.texts) == 1
    assert "scan_counter 43" in controller.texts[0]
    assert "n_readouts=2 scan_counter=43" in capsys.readouterr().out.splitlines()[-1]


def test_huge_samples_are_finite(rng):
    kspace = 1e30 * complex_noise(rng, 1, 1, 2, 4)
    (buffer,) = buffers(scan(kspace), header_xml((4, 2, 1)))
    np.testing.assert_array_equal(buffer.data[0, 0, 0], kspace)


def test_spokes_that_come_again_are_not_averaged(rng):
    first, second = complex_noise(rng, 1, 4), complex_noise(rng, 1, 4)
    (buffer,) = buffers([acquisition(first), acquisition(second)], header_xml((4, 1, 1), trajectory="radial"))
    np.testing.assert_array_equal(buffer.data[0, 0, 0, :, 0, 0], second)


@pytest.mark.parametrize("mode", ["separate", "external", "embedded", "interleaved"])
def test_reference_lines_have_a_buffer_of_their_own(mode, rng):
    data = complex_noise(rng, 2, 16, 8)
    messages = [acquisition(np.array(data[:, y]), kspace_encode_step_1=y) for y in range(0, 16, 2)]
    messages += [
        acquisition(np.array(data[:, y]), kspace_encode_step_1=y, flags=(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,))
        for y in range(6, 11)
    ]
    (result,) = recon_data(messages, header_xml((8, 16, 1), parallel=PARALLEL.format(mode=mode)))
    imaging, reference = result.bits[0].data, result.bits[0].reference
    assert imaging.data.shape[-2] == 16
    if mode in ("separate", "external"):
        np.testing.assert_array_equal(reference.data[0, 0, 0, :, 0], data[:, 6:11])
    else:
        np.testing.assert_array_equal(reference.data[0, 0, 0, :, 0, 6:11], data[:, 6:11])
        assert reference.data.shape[-2] == 16


def test_encoding_spaces_have_bits_of_their_own(rng):
    messages = scan(complex_noise(rng, 1, 1, 4, 8)) + scan(complex_noise(rng, 2, 1, 4, 8), encoding_space_ref=1)
    (result,) = recon_data(messages, header_xml((8, 4, 1), n_encodings=2))
    assert [bit.data.data.shape[3] for bit in result.bits] == [1, 2]


def test_trajectories_are_buffered_beside_the_data(rng):
    trajectory = rng.standard_normal((4, 8, 2)).astype(np.float32)
    messages = [
        acquisition(complex_noise(rng, 1, 8), kspace_encode_step_1=i, trajectory=trajectory[i]) for i in range(4)
    ]
    (buffer,) = buffers(
        messages, header_xml((8, 8, 1), trajectory="radial", limits={"kspace_encoding_step_1": (0, 3, 0)})
    )
    assert buffer.data.shape == (1, 1, 1, 1, 1, 4, 8)
    np.testing.assert_array_equal(buffer.trajectory[0, 0, 0, 0], trajectory)


def test_lines_inside_the_limits_but_outside_the_matrix_are_left_out(rng):
    limits = {"kspace_encoding_step_1": (0, 9, 5)}
    messages = [acquisition(complex_noise(rng, 1, 4), kspace_encode_step_1=y) for y in range(10)]
    header = header_xml((4, 8, 1), limits=limits, parallel=PARALLEL.format(mode="embedded"))
    (buffer,) = buffers(messages, header)
    assert sum(line is not None for line in buffer.headers.flat) == 8


@pytest.mark.parametrize("center", [0, 3, 7, 12])
@pytest.mark.parametrize("mode", ["", "embedded", "interleaved"])
def test_a_center_that_would_move_lines_out_of_the_matrix_is_not_believed(center, mode, rng):
    kspace = complex_noise(rng, 2, 1, 8, 6)
    parallel = PARALLEL.format(mode=mode) if mode else ""
    header = header_xml((6, 8, 1), limits={"kspace_encoding_step_1": (0, 7, center)}, parallel=parallel)
    flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,)
    messages = [
        acquisition(kspace[:, 0, y].copy(), kspace_encode_step_1=y, repetition=r, flags=flags if 2 <= y < 6 else ())
        for r, steps in enumerate((range(8), range(3, 6)))  # the second has room with centers 3 and 7
        for y in steps
    ]
    controller = Controller()
    trigger = AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition")
    results = run([trigger, BucketToBufferGadget()], messages, header, controller=controller)
    first, second = (objects(message)[0].bits[0] for message in results)
    np.testing.assert_array_equal(first.data.data[0, 0, 0], kspace)
    np.testing.assert_array_equal(second.data.data[0, 0, 0, :, 0, 3:6], kspace[:, 0, 3:6])
    np.testing.assert_array_equal(first.reference.data[0, 0, 0, :, 0, 2:6], kspace[:, 0, 2:6])
    assert [bit.sampling.sampling_limits[1].center for bit in (first.data, first.reference)] == [4, 4]
    (text,) = controller.texts
    assert f"the header's center, {center}, in the middle, lines 0 to 7 do not fit the encoded matrix of 8" in text


def test_a_center_that_suits_partial_lines_is_believed(rng):
    header = header_xml((4, 8, 1), limits={"kspace_encoding_step_1": (0, 7, 2)})
    controller = Controller()
    messages = [acquisition(complex_noise(rng, 1, 4), kspace_encode_step_1=y) for y in range(6)]
    (message,) = run(
        [AcquisitionAccumulateTriggerGadget(), BucketToBufferGadget()], messages, header, controller=controller
    )
    data = objects(message)[0].bits[0].data
    assert [line is not None for line in data.headers.flat] == [False] * 2 + [True] * 6
    assert controller.texts == []


CONTRADICTIONS = {
    "kspace_encode_step_1": {"kspace_encode_step_1": 65535},
    "kspace_encode_step_2": {"kspace_encode_step_2": 1},
    "encoding_space_ref": {"encoding_space_ref": 1},
    "number_of_samples": {"center_sample": 1, "n_samples": 7},
    "discard_pre": {"discard_pre": 5, "discard_post": 5},
}


@pytest.mark.parametrize("field", CONTRADICTIONS)
def test_a_line_that_contradicts_the_header_names_the_field(field, rng):
    arguments = dict(CONTRADICTIONS[field])
    line = acquisition(complex_noise(rng, 1, arguments.pop("n_samples", 8)), **arguments)
    messages = [*scan(complex_noise(rng, 1, 1, 4, 8)), line]
    with pytest.raises(MalformedMessageError, match=field):
        buffers(messages, header_xml((8, 4, 1)))


@pytest.mark.parametrize("field", [name for name in CONTRADICTIONS if name != "number_of_samples"])
def test_a_first_line_that_contradicts_the_header_names_the_field(field, rng):
    arguments = dict(CONTRADICTIONS[field])
    n_samples = arguments.pop("n_samples", 8)
    with pytest.raises(MalformedMessageError, match=field):
        buffers([acquisition(complex_noise(rng, 1, n_samples), **arguments)], header_xml((8, 4, 1)))


def test_a_change_of_the_coil_count_names_the_field(rng):
    messages = [*scan(complex_noise(rng, 4, 1, 4, 8)), acquisition(complex_noise(rng, 3, 8), scan_counter=77)]
    with pytest.raises(MalformedMessageError, match="active_channels \\(3\\): 4 expected.*scan_counter 77"):
        buffers(messages, header_xml((8, 4, 1)))


def test_a_trajectory_that_comes_and_goes_names_the_field(rng):
    messages = [
        acquisition(complex_noise(rng, 1, 8)),
        acquisition(complex_noise(rng, 1, 8), trajectory=np.zeros((8, 2), np.float32)),
    ]
    with pytest.raises(MalformedMessageError, match="trajectory_dimensions"):
        buffers(messages, header_xml((8, 4, 1)))


def test_a_huge_matrix_is_refused_before_anything_is_allocated(rng):
    with pytest.raises(LimitExceeded, match="k-space buffer"):
        buffers([acquisition(complex_noise(rng, 1, 8))], header_xml((65535, 65535, 65535)))


def test_readouts_before_a_header_are_an_error(rng):
    with pytest.raises(MalformedMessageError, match="header"):
        buffers([acquisition(complex_noise(rng, 1, 8))], None)


def test_an_empty_stream_gives_nothing():
    assert recon_data([], header_xml()) == []
