import numpy as np
import pytest

from gadgetron.toolboxes.noise import NoiseCovariance, match_channels, noise_scale, noise_sigmas, prewhitener
from tests.gadgets.support import complex_noise


def correlated(rng, n_channels, n_samples):
    mixing = complex_noise(rng, n_channels, n_channels).astype(np.complex128)
    return complex_noise(rng, n_samples, n_channels) @ mixing


@pytest.mark.parametrize("n_channels", [1, 2, 8, 32])
def test_whitened_noise_has_unit_covariance(n_channels, rng):
    samples = correlated(rng, n_channels, 2000)
    covariance = samples.conj().T @ samples / 1999
    white = samples @ prewhitener(covariance)
    np.testing.assert_allclose(white.conj().T @ white / 1999, np.eye(n_channels), atol=1e-9)


def test_the_whitener_is_upper_triangular(rng):
    samples = correlated(rng, 5, 500)
    matrix = prewhitener(samples.conj().T @ samples)
    np.testing.assert_array_equal(matrix, np.triu(matrix))


def test_no_covariance_is_no_whitening():
    np.testing.assert_array_equal(prewhitener(np.zeros((3, 3))), np.eye(3))


def test_a_channel_without_noise_is_left_alone(rng):
    covariance = np.diag([4.0, 0.0, 9.0])
    np.testing.assert_allclose(prewhitener(covariance), np.diag([0.5, 1.0, 1 / 3]))


@pytest.mark.parametrize("covariance", [np.full((2, 2), np.nan), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_what_is_no_covariance_is_refused(covariance):
    with pytest.raises(ValueError, match="noise covariance"):
        prewhitener(covariance)


def test_scale_follows_the_bandwidths():
    assert noise_scale(5.0, 5.0, None) == pytest.approx(np.sqrt(2 * 0.793))
    assert noise_scale(10.0, 5.0, 1.0) == pytest.approx(2.0)
    assert noise_scale(0.0, 5.0, 0.8) == 1.0
    assert noise_scale(5.0, 0.0, 0.8) == 1.0


def test_channels_are_matched_by_name(rng):
    matrix = complex_noise(rng, 3, 3).astype(np.complex128)
    noise = NoiseCovariance(matrix, 1.0, ("a", "b", "c"))
    np.testing.assert_array_equal(match_channels(noise, ("c", "a", "b")), matrix[[2, 0, 1]][:, [2, 0, 1]])
    np.testing.assert_array_equal(match_channels(noise, ("c", "a")), matrix[[2, 0]][:, [2, 0]])
    assert match_channels(noise, ()) is matrix
    assert match_channels(noise._replace(labels=()), ("x", "y", "z")) is matrix
    assert match_channels(noise._replace(labels=("a",)), ("x", "y", "z")) is matrix  # not the names of these channels


@pytest.mark.parametrize("labels", [("a", "b", "d"), ("a", "a", "b")])
def test_a_channel_without_noise_of_its_own_is_an_error(labels):
    with pytest.raises(ValueError, match="no noise of their own"):
        match_channels(NoiseCovariance(np.eye(3, dtype=complex), 1.0, ("a", "b", "c")), labels)


def test_sigmas_are_roots_of_the_diagonal():
    np.testing.assert_allclose(noise_sigmas(np.diag([4.0, 0.0, 9.0]).astype(complex)), [2, 0, 3])
