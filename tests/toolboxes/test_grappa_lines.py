"""GRAPPA of single slices: the region that calibrates, acquired samples that stay, images without aliasing."""

from __future__ import annotations

import numpy as np
import pytest

from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.grappa import CalibrationError, calibrate, source_offsets
from gadgetron.toolboxes.grappa_lines import (
    GrappaSettings,
    apply_unmixing,
    calibration_region,
    keep_acquired,
    line_spacing,
    slice_unmixing,
)
from gadgetron.toolboxes.phantom import coil_sensitivities, shepp_logan
from tests.gadgets.support import complex_noise, relative_difference


@pytest.mark.parametrize(("lines", "spacing"), [([0, 2, 4, 6], 2), ([9, 5, 1], 4), ([0, 3, 6, 7, 9, 12], 3), ([4], 1)])
def test_the_spacing_is_the_one_that_occurs_most(lines, spacing):
    assert line_spacing(lines) == spacing


def test_the_region_ends_at_gaps():
    assert calibration_region([0, 2, 3, 4, 5, 7], 4) == (2, 5)
    assert calibration_region([4], 4) == (4, 4)
    assert calibration_region(range(8), 0) == (0, 7)
    with pytest.raises(CalibrationError, match=r"center of k-space \(6\) is missing"):
        calibration_region([0, 2, 3, 4, 5, 7], 6)


@pytest.mark.parametrize("acceleration", [2, 3])
def test_the_kernel_leaves_acquired_samples_alone(rng, acceleration):
    data = complex_noise(rng, 3, 1, 30, 24)
    kernel = keep_acquired(calibrate(data, data, (1, acceleration)), acceleration, 4)
    own = kernel.weights[:, :, 0, :4]
    itself = list(source_offsets(4, acceleration)).index(0)
    assert np.count_nonzero(own) == 3
    np.testing.assert_array_equal(own[[0, 1, 2], [0, 1, 2], itself, 2], 1)


def undersampled(n_coils, acceleration, n_calibration=24, n=64):
    image = shepp_logan(n, n).reshape(1, n, n) * coil_sensitivities(n_coils, 1, n, n)
    kspace = fft(image.astype(np.complex64), (2, 3))
    lines = set(range(0, n, acceleration)) | set(range(n // 2 - n_calibration // 2, n // 2 + n_calibration // 2))
    known, imaging = np.zeros_like(kspace), np.zeros_like(kspace)
    known[:, :, sorted(lines)] = kspace[:, :, sorted(lines)]
    imaging[:, :, ::acceleration] = kspace[:, :, ::acceleration]
    return kspace, known, imaging, lines


@pytest.mark.parametrize("acceleration", [1, 2, 3])
def test_images_are_those_of_the_fully_sampled_slice(acceleration):
    kspace, known, imaging, lines = undersampled(8, acceleration)
    region = calibration_region(lines, 32)
    settings = GrappaSettings(reads_past_lines=False)
    found = apply_unmixing(ifft(imaging, (2, 3)), *slice_unmixing(known, region, acceleration, settings))
    expected = apply_unmixing(ifft(kspace, (2, 3)), *slice_unmixing(known, (0, 63), 1, settings))
    assert relative_difference(np.abs(found), np.abs(expected)) < 0.05 * acceleration - 0.05 + 1e-6
    aliased = np.sqrt((np.abs(ifft(imaging, (2, 3))) ** 2).sum(axis=0))
    if acceleration > 1:
        assert relative_difference(aliased, np.abs(expected)) > 0.3


@pytest.mark.parametrize(("n", "acceleration"), [(65, 2), (63, 2), (64, 3), (62, 4)])
def test_other_matrices_than_multiples_of_the_acceleration_do_as_well(n, acceleration):
    kspace, known, imaging, lines = undersampled(8, acceleration, n=n)
    region = calibration_region(lines, n // 2)
    settings = GrappaSettings(reads_past_lines=False)
    unmixing, correction = slice_unmixing(known, region, acceleration, settings, uncombined=[1])
    expected = apply_unmixing(ifft(kspace, (2, 3)), *slice_unmixing(known, (0, n - 1), 1, settings, uncombined=[1]))
    aliased = ifft(imaging, (2, 3))
    found, uncorrected = apply_unmixing(aliased, unmixing, correction), apply_unmixing(aliased, unmixing)
    for image in (0, 1):
        remaining = relative_difference(np.abs(found[image]), np.abs(expected[image]))
        assert remaining < 0.04 * acceleration - 0.03
        assert remaining < relative_difference(np.abs(uncorrected[image]), np.abs(expected[image]))


def test_the_sample_behind_each_line_counts_if_wanted():
    _, known, _, lines = undersampled(4, 2)
    region = calibration_region(lines, 32)
    one, other = (slice_unmixing(known, region, 2, GrappaSettings(reads_past_lines=past))[0] for past in (False, True))
    assert 0 < relative_difference(one, other) < 0.05
    known[..., 0] = 0  # nothing is read that is not there, at the last line neither
    slice_unmixing(known, (40, 63), 2, GrappaSettings())


def test_too_few_lines_are_said():
    _, known, _, _ = undersampled(4, 2)
    with pytest.raises(CalibrationError, match="calibration data has 5 samples along y, the kernel needs"):
        slice_unmixing(known, (30, 34), 2, GrappaSettings())
