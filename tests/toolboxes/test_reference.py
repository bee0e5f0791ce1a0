import numpy as np
import pytest

from gadgetron.toolboxes.reference import (
    Range,
    average_lines,
    low_pass_kspace,
    noise_of_averages,
    sampled_lines,
    sampled_range,
    snr_scale,
)
from tests.gadgets.support import complex_noise


def interleaved(rng, n_n, n_e1=12, missing=()):
    """Frames with every second line, shifted from frame to frame, of one and the same k-space."""
    kspace = complex_noise(rng, 2, 1, n_e1, 8)
    data = np.zeros((1, 1, n_n, 2, 1, n_e1, 8), np.complex64)
    for n in range(n_n):
        for line in range(n % 2, n_e1, 2):
            if (n, line) not in missing:
                data[0, 0, n, :, :, line] = kspace[:, :, line]
    return kspace, data


def test_lines_are_those_that_are_not_zero(rng):
    _, data = interleaved(rng, 2)
    lines = sampled_lines(data)
    assert lines.shape == (1, 1, 2, 1, 12)
    assert lines[0, 0, 1, 0].tolist() == [False, True] * 6


@pytest.mark.parametrize("missing", [(), ((0, 4), (2, 6)), ((1, 3),)])
def test_interleaved_frames_average_to_full_kspace_even_with_lines_missing(missing, rng):
    kspace, data = interleaved(rng, 4, missing=missing)
    average = average_lines(data, sampled_lines(data), average_n=True, average_s=False)
    np.testing.assert_allclose(average[0, 0, 0], kspace, rtol=1e-5)


def test_averaging_over_both_axes(rng):
    data = complex_noise(rng, 1, 2, 3, 2, 1, 4, 5)
    average = average_lines(data, sampled_lines(data), average_n=True, average_s=True)
    np.testing.assert_allclose(average[0, 0, 0], data.mean(axis=(1, 2))[0], rtol=1e-4, atol=1e-6)


def test_nothing_to_average_gives_the_same_array(rng):
    data = complex_noise(rng, 1, 1, 1, 2, 1, 4, 5)
    assert average_lines(data, sampled_lines(data), average_n=True, average_s=True) is data


def test_sampled_range_of_lines():
    lines = np.zeros((1, 1, 2, 1, 10), bool)
    assert sampled_range(lines, -1) is None
    lines[0, 0, 0, 0, 3] = lines[0, 0, 1, 0, 7] = True
    assert sampled_range(lines, -1) == (3, 7)


@pytest.mark.parametrize("cut", [True, False])
def test_low_pass_kspace_has_the_center_where_the_image_has_it(cut):
    # calibration lines 40 to 63 of 96; the center, line 48, is their ninth
    reference = np.zeros((1, 1, 1, 1, 1, 24, 32), np.complex64)
    center = 8 if cut else 12
    reference[..., center, 16] = 1
    ranges = (Range(0, 0, 0), Range(0, center, 23), Range(0, 16, 31))
    kspace = low_pass_kspace(reference, ranges, (1, 96, 32), cut=cut)
    assert kspace.shape[-3:] == (1, 96, 32)
    assert np.argwhere(kspace[0, 0, 0, 0]).tolist() == [[0, 48, 16]]


def test_low_pass_kspace_of_an_asymmetric_echo_has_its_center_in_the_middle():
    reference = np.zeros((1, 1, 1, 1, 1, 8, 44), np.complex64)  # samples 20 to 63 of 64
    reference[..., 4, 12] = 1
    ranges = (Range(0, 0, 0), Range(0, 4, 7), Range(20, 32, 63))
    kspace = low_pass_kspace(reference, ranges, (1, 8, 64), cut=False)
    assert np.argwhere(kspace[0, 0, 0, 0]).tolist() == [[0, 4, 32]]


def test_snr_scale_counts_lines_and_samples():
    lines = np.zeros((1, 1, 1, 1, 8), bool)
    lines[..., ::2] = True
    assert snr_scale(lines, 64, 0, 63) == (2.0, pytest.approx(np.sqrt(2)))
    assert snr_scale(lines, 64, 16, 63) == (2.0, pytest.approx(np.sqrt(2 * 64 / 48)))
    assert snr_scale(np.zeros_like(lines), 64, 0, 63) == (1.0, 1.0)


def test_averaged_lines_have_less_noise():
    assert noise_of_averages(np.full((2, 3), 4, np.uint16)) == 0.5
    assert noise_of_averages(np.array([0, 1, 1], np.uint16)) == 1
    assert noise_of_averages(np.array([1, 2], np.uint16)) == pytest.approx(np.sqrt(0.75))
    assert noise_of_averages(np.zeros(2, np.uint16)) == 1


def test_a_line_is_there_if_any_channel_has_it(rng):
    data = np.zeros((1, 1, 1, 3, 1, 6, 8), np.complex64)
    data[0, 0, 0, 2, 0, 1] = 1
    data[0, 0, 0, 1, 0, 4, 3] = 1
    assert np.flatnonzero(sampled_lines(data)).tolist() == [1, 4]
