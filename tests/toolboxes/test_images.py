import numpy as np
import pytest

from gadgetron.toolboxes.images import histogram_scale, percentile_scale, to_integers


def test_the_99th_percentile_comes_near_the_value():
    image = np.linspace(0, 1000, 10_000, dtype=np.float32)
    scale = histogram_scale(image, 2048, 100)
    assert np.percentile(image, 99) * scale == pytest.approx(2048, rel=0.02)


def test_a_few_bright_pixels_do_not_matter():
    image = np.ones(10_000, np.float32)
    image[:50] = 50
    assert histogram_scale(image, 2048, 100) * 1.0 == pytest.approx(2048 / 2, rel=0.5)


@pytest.mark.parametrize(
    "image", [np.zeros(9), np.full(9, np.nan), np.array([1.0, np.inf]), np.empty(0), np.full(3, -1.0)]
)
def test_images_without_a_brightest_pixel_keep_their_scale(image):
    assert histogram_scale(image.astype(np.float32), 2048, 100) == 1.0


def test_percentile_scale_brings_the_percentile_to_the_value(rng):
    image = rng.standard_normal(1000).astype(np.float32)
    scale = percentile_scale(image, 2048, 98.5)
    assert np.percentile(np.abs(image * scale), 98.5) == pytest.approx(2048, rel=1e-5)
    assert percentile_scale(np.zeros(3), 2048, 98.5) == 1.0
    assert percentile_scale(np.empty(0), 2048, 98.5) == 1.0


def test_halves_are_rounded_away_from_zero():
    values = np.array([0.4, 0.5, 1.5, 2.5, -0.5, -1.5, -2.4], np.float32)
    np.testing.assert_array_equal(to_integers(values, np.int16, -100, 100), [0, 1, 2, 3, -1, -2, -2])


def test_integers_are_clamped_and_no_number_is_zero():
    values = np.array([-np.inf, -1e30, -3, 0, 5000, 1e30, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(to_integers(values, np.uint16, 0, 4095), [0, 0, 0, 0, 4095, 4095, 4095, 0])
    limits = np.iinfo(np.uint32)
    np.testing.assert_array_equal(to_integers(values, np.uint32, limits.min, limits.max)[[5, 6]], [limits.max] * 2)


def test_large_odd_integers_stay_what_they_are():
    assert to_integers(np.array([8388607.0], np.float32), np.int32, 0, 2**31 - 1)[0] == 8388607
