"""Interpolation with splines against polynomials and scipy's own answers."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from gadgetron.toolboxes.splines import resample, time_weights


@pytest.mark.parametrize("order", [1, 3, 5])
def test_smooth_images_are_resampled_with_their_corners_in_place(order):
    y, x = np.mgrid[0:1:13j, 0:1:17j]
    image = (np.cos(np.pi * x) + 1j * np.cos(2 * np.pi * y)).astype(np.complex64)[np.newaxis, np.newaxis]
    result = resample(image, (1, 25, 40), order)
    y, x = np.mgrid[0:1:25j, 0:1:40j]
    assert result.shape == (1, 1, 25, 40)
    assert result.dtype == np.complex64
    np.testing.assert_allclose(result[0, 0], np.cos(np.pi * x) + 1j * np.cos(2 * np.pi * y), atol=0.05)
    np.testing.assert_allclose(result[0, 0, [0, -1], [0, -1]], image[0, 0, [0, -1], [0, -1]], atol=1e-5)


def test_the_same_size_gives_the_same_image(rng):
    image = rng.standard_normal((2, 6, 5)).astype(np.float32)
    np.testing.assert_allclose(resample(image, (6, 5)), image, atol=1e-5)
    assert resample(image, (1, 1)).shape == (2, 1, 1)


def test_natural_splines_are_scipys(rng):
    times = np.cumsum(rng.uniform(0.5, 1.5, 12))
    samples = rng.standard_normal((12, 3))
    wanted = np.linspace(times[0], times[-1], 50)
    expected = CubicSpline(times, samples, bc_type="natural")(wanted)
    np.testing.assert_allclose(time_weights(times, wanted) @ samples, expected, atol=1e-12)


def test_b_splines_go_through_the_samples_and_are_smooth_between(rng):
    times = np.arange(30) * 0.1
    weights = time_weights(times, times, "BSpline")
    np.testing.assert_allclose(weights, np.eye(30), atol=1e-6)
    between = time_weights(times, times[5:-5] + 0.05, "BSpline") @ np.sin(4 * times)
    np.testing.assert_allclose(between, np.sin(4 * (times[5:-5] + 0.05)), atol=2e-3)
