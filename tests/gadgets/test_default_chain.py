"""The chain of default.xml, gadget after gadget: what comes out equals plain NumPy, whatever the scan looks like."""

from __future__ import annotations

import ismrmrd
import numpy as np
import pytest

from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from gadgets.mri_core.extract import ExtractGadget
from gadgets.mri_core.image_array_split import ImageArraySplitGadget
from gadgets.mri_core.remove_ro_oversampling import RemoveROOversamplingGadget
from gadgets.mri_core.simple_recon import SimpleReconGadget
from tests.gadgets.support import (
    PARALLEL,
    acquisition,
    centred_fft,
    centred_ifft,
    complex_noise,
    header_xml,
    objects,
    reference_image,
    relative_difference,
    run,
    scan,
)


def default_chain(**buffer_properties):
    return [
        RemoveROOversamplingGadget(),
        AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition", sorting_dimension="slice"),
        BucketToBufferGadget(**({"split_slices": True} | buffer_properties)),
        SimpleReconGadget(),
        ImageArraySplitGadget(),
        ExtractGadget(),
    ]


def reconstruct(messages, header, **properties):
    """Give (header, pixels) of each image."""
    return [tuple(objects(image)) for image in run(default_chain(**properties), messages, header)]


def crop_kspace(kspace, n_out):
    start = (kspace.shape[3] - n_out) // 2
    return centred_fft(centred_ifft(kspace, (3,))[..., start : start + n_out], (3,))


@pytest.mark.parametrize(
    ("n_coils", "matrix", "recon_x"),
    [
        (1, (16, 16, 1), 16),
        (4, (32, 16, 1), 16),
        (3, (36, 17, 1), 18),
        (2, (15, 9, 1), 15),
        (2, (30, 12, 1), 10),
        (5, (24, 10, 6), 12),
        (1, (12, 7, 5), 12),
        (64, (32, 8, 1), 16),
        (2, (1, 1, 1), 1),
    ],
)
def test_images_equal_numpy(n_coils, matrix, recon_x, rng):
    kspace = complex_noise(rng, n_coils, matrix[2], matrix[1], matrix[0])
    header = header_xml(matrix, recon=(recon_x, matrix[1], matrix[2]))
    ((head, pixels),) = reconstruct(scan(kspace), header)
    expected = reference_image(crop_kspace(kspace, recon_x))
    assert pixels.shape == (1, matrix[2], matrix[1], recon_x)
    assert pixels.dtype == np.float32
    assert relative_difference(pixels[0], expected) < 1e-6
    assert tuple(head.matrix_size) == (recon_x, matrix[1], matrix[2])
    assert (head.channels, head.data_type, head.image_type) == (1, ismrmrd.DATATYPE_FLOAT, ismrmrd.IMTYPE_MAGNITUDE)


def test_slices_and_repetitions_come_in_order_with_their_geometry(rng):
    kspaces = complex_noise(rng, 3, 4, 2, 1, 8, 16)  # repetitions, slices, coils, z, y, x
    messages = []
    for repetition in range(3):
        for slice_index in (0, 2, 1, 3):
            messages += scan(
                kspaces[repetition, slice_index],
                repetition=repetition,
                slice=slice_index,
                position=(0.0, 1.0, float(slice_index)),
                acquisition_time_stamp=1000 + repetition,
                measurement_uid=7,
            )
    limits = {"kspace_encoding_step_1": (0, 7, 4), "slice": (0, 3, 0), "repetition": (0, 2, 0)}
    images = reconstruct(messages, header_xml((16, 8, 1), limits=limits))
    assert [(head.repetition, head.slice) for head, _ in images] == [(r, s) for r in range(3) for s in range(4)]
    assert [head.image_index for head, _ in images] == list(range(1, 13))
    for head, pixels in images:
        assert tuple(head.position) == (0.0, 1.0, float(head.slice))
        assert (head.acquisition_time_stamp, head.measurement_uid) == (1000 + head.repetition, 7)
        assert relative_difference(pixels[0], reference_image(kspaces[head.repetition, head.slice])) < 1e-6


def test_contrasts_make_images_of_their_own(rng):
    kspaces = complex_noise(rng, 2, 2, 1, 8, 8)
    messages = [m for pair in zip(*(scan(k, contrast=c) for c, k in enumerate(kspaces)), strict=True) for m in pair]
    images = reconstruct(messages, header_xml((8, 8, 1)))
    assert [head.contrast for head, _ in images] == [0, 1]
    for (_, pixels), kspace in zip(images, kspaces, strict=True):
        assert relative_difference(pixels[0], reference_image(kspace)) < 1e-6


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_how_readouts_are_batched_does_not_matter(batch, rng):
    kspace = complex_noise(rng, 3, 1, 24, 32)
    messages = run(default_chain(), scan(kspace), header_xml((32, 24, 1), recon=(16, 24, 1)), batch=batch)
    _, pixels = objects(messages[0])
    assert relative_difference(pixels[0], reference_image(crop_kspace(kspace, 16))) < 1e-6


def test_missing_lines_are_zero_also_when_buffers_are_reused(rng):
    header = header_xml((16, 12, 1), parallel=PARALLEL.format(mode="embedded"))
    kspace = complex_noise(rng, 2, 1, 12, 16)
    sparse = kspace.copy()
    sparse[:, :, 1::2] = 0
    messages = []
    for repetition in range(4):
        lines = scan(kspace, repetition=repetition)
        messages += lines if repetition % 2 == 0 else lines[::2]
    images = reconstruct(messages, header)
    for (_, pixels), expected in zip(images, [kspace, sparse, kspace, sparse], strict=True):
        assert relative_difference(pixels[0], reference_image(expected)) < 1e-6


def test_without_the_center_line_geometry_comes_from_the_nearest(rng):
    kspace = complex_noise(rng, 1, 1, 16, 8)
    messages = [
        acquisition(
            kspace[:, 0, y], kspace_encode_step_1=y, position=(1.0, 2.0, float(y)), read_dir=(1.0, 0.0, 0.0), slice=1
        )
        for y in (0, 3, 5, 12)
    ]
    ((head, _),) = reconstruct(messages, header_xml((8, 16, 1)))
    assert tuple(head.position) == (1.0, 2.0, 5.0)
    assert tuple(head.read_dir) == (1.0, 0.0, 0.0)
    assert head.slice == 1


def test_a_partial_scan_is_centred_and_filled_with_zeros(rng):
    full = complex_noise(rng, 2, 1, 16, 8)
    full[:, :, :5] = 0
    messages = [acquisition(full[:, 0, y], kspace_encode_step_1=y - 5) for y in range(5, 16)]
    limits = {"kspace_encoding_step_1": (0, 10, 3)}
    for parallel in ("", PARALLEL.format(mode="embedded")):
        ((_, pixels),) = reconstruct([*messages], header_xml((8, 16, 1), limits=limits, parallel=parallel))
        assert pixels.shape == (1, 1, 16, 8)
        assert relative_difference(pixels[0], reference_image(full)) < 1e-6
        messages = [acquisition(full[:, 0, y], kspace_encode_step_1=y - 5) for y in range(5, 16)]


def test_an_asymmetric_echo_is_put_where_it_belongs(rng):
    full = complex_noise(rng, 2, 1, 8, 32)
    full[..., :10] = 0
    header = header_xml((32, 8, 1), parallel=PARALLEL.format(mode="embedded"))
    messages = [acquisition(full[:, 0, y], kspace_encode_step_1=y, discard_pre=10) for y in range(8)]
    ((_, pixels),) = reconstruct(messages, header)
    assert relative_difference(pixels[0], reference_image(full)) < 1e-6


def test_feedback_dummies_and_navigators_are_not_in_the_image(rng):
    kspace = complex_noise(rng, 2, 1, 8, 8)
    junk = [
        acquisition(1e6 * complex_noise(rng, 2, 8), kspace_encode_step_1=4, flags=(flag,))
        for flag in (
            ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
            ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
            ismrmrd.ACQ_IS_PHASECORR_DATA,
            ismrmrd.ACQ_IS_NAVIGATION_DATA,
            ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
            ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
            ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
            ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
        )
    ]
    ((_, pixels),) = reconstruct([*scan(kspace), *junk], header_xml((8, 8, 1)))
    assert relative_difference(pixels[0], reference_image(kspace)) < 1e-6


def test_slices_can_be_one_buffer(rng):
    kspaces = complex_noise(rng, 3, 2, 1, 8, 8)
    messages = [m for s, kspace in enumerate(kspaces) for m in scan(kspace, slice=s)]
    gadgets = default_chain(split_slices=False)
    gadgets[1] = AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition")
    limits = {"kspace_encoding_step_1": (0, 7, 4), "slice": (0, 2, 0)}
    images = [objects(m) for m in run(gadgets, messages, header_xml((8, 8, 1), limits=limits))]
    assert [head.slice for head, _ in images] == [0, 1, 2]
    for head, pixels in images:
        assert relative_difference(pixels[0], reference_image(kspaces[head.slice])) < 1e-6


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e-42, 3e38])
def test_poisoned_samples_pass_through(poison, rng):
    kspace = complex_noise(rng, 2, 1, 8, 16)
    kspace[0, 0, 3, 5] = poison
    images = reconstruct(scan(kspace), header_xml((16, 8, 1), recon=(8, 8, 1)))
    assert len(images) == 1


def test_an_empty_stream_gives_nothing():
    assert reconstruct([], header_xml()) == []
