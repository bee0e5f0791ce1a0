import numpy as np
import pytest

from gadgetron.toolboxes.coils import (
    combine_weighted_phase,
    mix_channels,
    principal_components,
    root_sum_of_squares,
    rss_image,
)
from tests.gadgets.support import complex_noise, reference_image, relative_difference


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 1), (1, 1, 8, 8), (3, 1, 9, 7), (16, 1, 64, 48), (2, 5, 6, 7), (64, 1, 16, 16), (3, 4, 128, 160)],
)
def test_rss_image_equals_numpy(shape, rng):
    kspace = complex_noise(rng, *shape)
    before = kspace.copy()
    assert relative_difference(rss_image(kspace), reference_image(kspace)) < 1e-6
    np.testing.assert_array_equal(kspace, before)


def test_root_sum_of_squares_is_the_norm_over_channels(rng):
    images = complex_noise(rng, 5, 3, 4)
    np.testing.assert_allclose(root_sum_of_squares(images), np.linalg.norm(images, axis=0), rtol=1e-6)


def test_root_sum_of_squares_does_not_change_its_input(rng):
    images = complex_noise(rng, 2, 4)
    before = images.copy()
    root_sum_of_squares(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("n_readouts", [1, 15, 16, 40])
def test_mixing_is_a_matrix_product(n_readouts, rng):
    readouts, matrix = complex_noise(rng, n_readouts, 5, 12), complex_noise(rng, 3, 5)
    for readout, mixed in zip(readouts, mix_channels(list(readouts), matrix), strict=True):
        assert relative_difference(mixed, matrix @ readout) < 1e-6


def test_components_are_unitary_and_sorted_by_variance(rng):
    samples = complex_noise(rng, 400, 6) * np.array([1, 9, 3, 0.5, 20, 2], np.float32)
    matrix = principal_components(samples)
    np.testing.assert_allclose(matrix.conj().T @ matrix, np.eye(6), atol=1e-5)
    variances = np.var(samples @ matrix, axis=0)
    assert (np.diff(variances) <= 0).all()


def test_components_do_not_change_the_root_sum_of_squares(rng):
    samples = complex_noise(rng, 100, 4)
    mixed = samples @ principal_components(samples)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), np.linalg.norm(samples, axis=1), rtol=1e-5)


def test_components_of_what_is_not_finite_are_the_channels():
    np.testing.assert_array_equal(principal_components(np.full((4, 3), np.nan, np.complex64)), np.eye(3))


def test_combined_phase_is_that_of_the_channels_even_where_it_wraps():
    angles = np.deg2rad([179.0, -179.0])
    combined = combine_weighted_phase(np.exp(1j * angles).astype(np.complex64)[:, np.newaxis])
    assert np.abs(combined[0]) == pytest.approx(np.sqrt(2), rel=1e-6)
    assert abs(np.rad2deg(np.angle(combined[0]))) == pytest.approx(180, abs=0.01)


def test_combining_nothing_but_zeros_gives_zeros():
    np.testing.assert_array_equal(combine_weighted_phase(np.zeros((3, 2, 2), np.complex64)), np.zeros((2, 2)))
