import math

import numpy as np
import pytest

from gadgetron.toolboxes.kspace_filters import (
    FILTER_KINDS,
    apply_filters,
    asymmetric_filter,
    reference_filter,
    sampled_filter,
    symmetric_filter,
)
from tests.gadgets.support import complex_noise


@pytest.mark.parametrize("kind", FILTER_KINDS)
@pytest.mark.parametrize("n", [2, 5, 8, 95, 96])
def test_symmetric_filters_are_symmetric_around_the_center_and_keep_noise(kind, n):
    values = symmetric_filter(n, kind, 1.5, max(1, n // 8))
    mirrored = np.roll(values[::-1], 1) if n % 2 == 0 else values[::-1]
    np.testing.assert_allclose(values, mirrored, atol=1e-6)
    assert np.mean(values.astype(float) ** 2) == pytest.approx(1, rel=1e-6)
    assert values.argmax() == n // 2 or values[n // 2] == pytest.approx(values.max())


def test_gaussian_is_a_gaussian():
    values = symmetric_filter(9, "Gaussian", 2.0)
    np.testing.assert_allclose(values / values[4], np.exp(-2 * np.linspace(-1, 1, 9) ** 2), rtol=1e-6)


def test_hanning_is_a_raised_cosine():
    values = symmetric_filter(7, "Hanning")
    expected = [0.5 * (1 - math.cos(2 * math.pi * i / 8)) for i in range(1, 8)]
    np.testing.assert_allclose(values / values[3], expected, rtol=1e-6)


def test_tapered_hanning_is_flat_between_its_tapers():
    values = symmetric_filter(41, "TaperedHanning", width=5)
    np.testing.assert_allclose(values[5:36], values[20], rtol=1e-6)
    assert (np.diff(values[:6]) > 0).all()


@pytest.mark.parametrize(("start", "end"), [(0, 63), (20, 63), (0, 40), (10, 50)])
def test_asymmetric_filters_taper_only_where_sampling_ends_early(start, end):
    values = asymmetric_filter(64, start, end, width=8)
    is_full = (start, end) == (0, 63)
    assert not values[:start].any()
    assert not values[end + 1 :].any()
    assert np.mean(values[start : end + 1].astype(float) ** 2) == pytest.approx(1, rel=1e-5)
    middle = values[32]
    assert (values[start] < middle / 2) == (start > 0 or is_full)
    assert (values[end] < middle / 2) == (end < 63 or is_full)


@pytest.mark.parametrize(("start", "end"), [(20, 63), (0, 40), (24, 60), (4, 40)])
def test_density_compensation_makes_mirrored_samples_count_twice_in_all(start, end):
    values = asymmetric_filter(64, start, end, width=4, density_compensation=True)
    half = min(32 - start, end - 32)
    inside = values[32 - half + 6 : 32 + half - 5]
    np.testing.assert_allclose(inside, inside[0], rtol=1e-6)
    beyond = values[start + 5 : 32 - half - 1] if 32 - half > start else values[32 + half + 2 : end - 4]
    np.testing.assert_allclose(beyond, 2 * inside[0], rtol=1e-6)


@pytest.mark.parametrize(("n", "start", "end"), [(96, 0, 95), (96, 30, 95), (96, 0, 60), (96, 20, 70), (95, 10, 94)])
def test_reference_filters_are_symmetric_within_the_sampled_range(n, start, end):
    values = reference_filter(n, start, end)
    assert not values[:start].any()
    assert not values[end + 1 :].any()
    center = n // 2
    half = min(center, n - 1 - center)
    np.testing.assert_allclose(
        values[center - half : center + half + 1], values[center - half : center + half + 1][::-1], atol=1e-6
    )
    assert values.argmax() == center


def test_a_filter_as_long_as_the_sampled_range_keeps_noise_in_it():
    values = sampled_filter(64, 10, 50, "Gaussian", 1.0, 0.15)
    assert np.mean(values[10:51].astype(float) ** 2) == pytest.approx(1, rel=1e-5)
    assert not values[:10].any()


def test_filters_multiply_their_axes(rng):
    kspace = complex_noise(rng, 2, 3, 4, 5)
    along_y, along_x = np.arange(4, dtype=np.float32), np.arange(5, dtype=np.float32)
    expected = kspace * along_y[:, None] * along_x
    np.testing.assert_allclose(apply_filters(kspace, [None, along_y, along_x]), expected, rtol=1e-6)
