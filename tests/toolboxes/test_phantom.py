"""The phantom: known intensities, coils that combine to one, k-space that agrees with NumPy, and noise as ordered."""

import numpy as np
import pytest

from gadgetron.toolboxes import phantom


def centred_ifft(k_space, axes):
    shifted = np.fft.ifftshift(k_space, axes=axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)


def test_the_classical_phantom_has_its_intensities_where_they_belong():
    (image,) = phantom.shepp_logan(256, 256)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0, 1)

    def at(x, y):
        return image[round(128 - 128 * y), round(128 + 128 * x)]

    assert at(0, 0.9) == pytest.approx(1)  # the skull
    assert at(0.95, 0) == 0  # outside
    assert at(-0.5, -0.3) == pytest.approx(0.2)  # brain
    assert at(0.22, 0) == pytest.approx(0, abs=1e-6)  # right ventricle
    assert at(-0.22, 0) == pytest.approx(0, abs=1e-6)  # left ventricle, the larger one
    assert at(0, 0.4) == pytest.approx(0.3)  # the large blob is at the top
    assert at(0, -0.605) == pytest.approx(0.3)  # the small ones are at the bottom
    assert (image[:, :128] == 0).sum() > (image[:, 128:] == 0).sum()


def test_a_phantom_that_is_not_square_is_the_same_object():
    (square,) = phantom.shepp_logan(64, 64)
    (wide,) = phantom.shepp_logan(64, 192)
    np.testing.assert_array_equal(wide[:, ::3], square)


def test_cuts_change_along_z_and_end_outside():
    cuts = phantom.shepp_logan(64, 64, np.array([-1.0, -0.15, 0.25]))
    assert not cuts[0].any()
    assert np.abs(cuts[1] - cuts[2]).max() > 0.05


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (8, 1, 20, 31), (5, 6, 12, 16), (64, 1, 16, 16)])
def test_coils_combine_to_one_everywhere(shape):
    maps = phantom.coil_sensitivities(*shape)
    assert maps.shape == shape
    assert maps.dtype == np.complex64
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, axis=0), 1, rtol=1e-5)


def test_coils_are_smooth_complex_and_different():
    maps = phantom.coil_sensitivities(8, 1, 64, 64)[:, 0]
    assert np.abs(np.diff(maps, axis=1)).max() < 0.06
    assert np.abs(np.diff(maps, axis=2)).max() < 0.06
    assert np.linalg.matrix_rank(maps.reshape(8, -1), tol=0.1) == 8
    assert np.abs(maps[0]).argmax() % 64 == 63  # the first coil is on the right


@pytest.mark.parametrize(("n_x", "n_samples"), [(4, 8), (5, 10), (5, 15), (6, 7), (4, 4)])
def test_the_centre_stays_the_centre_when_the_field_of_view_widens(n_x, n_samples):
    image = np.zeros((1, n_x), np.complex64)
    image[0, n_x // 2] = 1
    padded = phantom.zero_pad_readout(image, n_samples)
    assert padded.shape == (1, n_samples)
    assert padded[0].argmax() == n_samples // 2


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 9, 6), (1, 5, 7)])
def test_sampling_on_the_grid_is_the_fourier_transform(rng, shape):
    images = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    k_y, k_x = (grid.ravel() for grid in np.meshgrid(*((np.arange(n) - n // 2) / n for n in shape[1:]), indexing="ij"))
    samples = phantom.sample_k_space(images, np.stack([k_x, k_y], axis=1).astype(np.float32))
    assert samples.dtype == np.complex64
    np.testing.assert_allclose(centred_ifft(samples.reshape(shape), (1, 2)), images, atol=1e-5)


def test_a_spoke_along_x_is_the_projection_onto_x(rng):
    image = rng.normal(size=(1, 16, 16)).astype(np.complex64)
    spoke = phantom.sample_k_space(image, phantom.radial_trajectory(16, 0.0))
    projection = image.sum(axis=1) / 4  # the square root of 16
    np.testing.assert_allclose(centred_ifft(spoke, (1,)), projection, atol=1e-5)


def test_every_spoke_passes_the_centre_at_the_same_sample():
    for n_samples in (8, 9):
        for angle in (0.0, 1.0, phantom.GOLDEN_ANGLE):
            trajectory = phantom.radial_trajectory(n_samples, angle)
            assert trajectory.shape == (n_samples, 2)
            assert trajectory.dtype == np.float32
            np.testing.assert_array_equal(trajectory[n_samples // 2], 0)
            assert np.hypot(*trajectory.T).max() <= 0.5
            assert np.arctan2(*trajectory[-1, ::-1]) == pytest.approx(angle)


def test_noise_has_the_covariance_it_was_given(rng):
    mixing = phantom.noise_mixing(4, 0.5)
    white = rng.normal(size=(4, 200_000)) + 1j * rng.normal(size=(4, 200_000))
    noise = mixing @ white
    covariance = noise @ noise.conj().T / (2 * white.shape[1])
    np.testing.assert_allclose(np.abs(covariance), 0.5 ** np.abs(np.subtract.outer(range(4), range(4))), atol=0.01)
    assert np.abs(covariance.imag).max() > 0.1


def test_noise_without_correlation_stays_white():
    np.testing.assert_array_equal(phantom.noise_mixing(3, 0.0), np.eye(3))
