import numpy as np
import pytest

from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.grappa import (
    CalibrationError,
    calibrate,
    g_factor,
    source_offsets,
    unmix,
    unmixing_coefficients,
    wrapped_lines,
)
from tests.gadgets.support import complex_noise, relative_difference
from tests.toolboxes.test_coil_maps import smooth_sensitivities

AXES = (1, 2, 3)


def coil_images(n_coils, shape):
    maps = smooth_sensitivities(n_coils, shape).astype(np.complex64)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    inside = (grid[0] ** 2 + (grid[1] / 0.8) ** 2 + (grid[2] / 0.7) ** 2 < 1) & (grid[2] ** 2 + grid[1] ** 2 > 0.05)
    image = inside * (1 + 0.3 * np.cos(4 * grid[2]))
    return maps, image.astype(np.complex64), (maps * image).astype(np.complex64)


@pytest.mark.parametrize(("n", "r", "expected"), [(4, 2, [-2, 0, 2, 4]), (5, 3, [-6, -3, 0, 3, 6]), (1, 2, [0])])
def test_sources_lie_around_the_target(n, r, expected):
    assert source_offsets(n, r).tolist() == expected


@pytest.mark.parametrize("r", [2, 3])
def test_grappa_unfolds_a_noiseless_image(r):
    maps, image, coils = coil_images(8, (1, 96, 96))
    kspace = fft(coils, AXES)
    kernel = calibrate(kspace[:, :, 32:64], kspace[:, :, 32:64], (1, r), regularization=1e-7)
    undersampled = np.zeros_like(kspace)
    undersampled[:, :, ::r] = kspace[:, :, ::r]
    unmixing = unmixing_coefficients(kernel, maps)
    result = unmix(undersampled, unmixing)
    aliased = (maps.conj() * ifft(undersampled, AXES)).sum(axis=0) * r
    assert relative_difference(result, image) < 0.05
    assert relative_difference(aliased, image) > 0.3


def test_grappa_unfolds_in_3d():
    maps, image, coils = coil_images(8, (16, 32, 32))
    kspace = fft(coils, AXES)
    kernel = calibrate(kspace, kspace, (2, 2), (2, 4, 5), regularization=1e-6)
    undersampled = np.zeros_like(kspace)
    undersampled[:, ::2, ::2] = kspace[:, ::2, ::2]
    result = unmix(undersampled, unmixing_coefficients(kernel, maps))
    assert relative_difference(result, image) < 0.15


def test_a_kernel_in_data_is_found(rng):
    source = complex_noise(rng, 2, 1, 40, 40)
    weights = complex_noise(rng, 2, 2)
    target = np.einsum("ts,szyx->tzyx", weights, np.roll(source, (1, -1), axis=(2, 3)))
    kernel = calibrate(source, target, (1, 2), regularization=0.0)
    found = np.zeros((2, 2), complex)
    for y, shift_y in enumerate(kernel.shifts[1]):
        for x, shift_x in enumerate(kernel.shifts[2]):
            if (shift_y, shift_x) == (1, -1):
                found += kernel.weights[:, :, 0, y, x]
    inside = calibrate(source[:, :, 2:-4, 3:-3], target[:, :, 2:-4, 3:-3], (1, 2), regularization=0.0)
    total = np.abs(inside.weights).sum()
    assert relative_difference(found, weights) < 0.2
    assert np.isfinite(total)


def test_without_acceleration_the_kernel_is_the_identity(rng):
    source = complex_noise(rng, 3, 1, 32, 32)
    kernel = calibrate(source, source, (1, 1), regularization=1e-9)
    maps = np.zeros((3, 1, 16, 16), np.complex64)
    maps[1] = 1
    unmixing = unmixing_coefficients(kernel, maps)
    np.testing.assert_allclose(unmixing, maps, atol=1e-3)
    np.testing.assert_allclose(g_factor(unmixing, (1, 1)), 1, atol=1e-3)


def test_the_g_factor_predicts_noise_and_is_at_least_1_in_the_mean(rng):
    maps, _, coils = coil_images(6, (1, 48, 48))
    kspace = fft(coils + 0.01 * complex_noise(rng, *coils.shape), AXES)
    kernel = calibrate(kspace[:, :, 12:36], kspace[:, :, 12:36], (1, 2))
    unmixing = unmixing_coefficients(kernel, maps)
    g = g_factor(unmixing, (1, 2))
    noise = complex_noise(rng, 400, 6, 1, 48, 48)
    noise[:, :, :, 1::2] = 0
    images = np.array([unmix(one, unmixing) for one in noise]) * np.sqrt(2) / 2
    deviation = np.sqrt(np.mean(np.abs(images) ** 2, axis=0) / 2)  # noise of 1 in real and imaginary part
    assert relative_difference(deviation, g) < 0.06
    assert np.median(g) > 0.95


def test_overdetermination_cuts_readouts_around_the_strongest_sample():
    _, _, coils = coil_images(2, (8, 16, 256))
    kspace = fft(coils, AXES)
    few = calibrate(kspace, kspace, (1, 2), (2, 2, 3), overdetermination=5.0)
    center = kspace[..., 128 - 16 : 128 + 16]
    near = calibrate(center, center, (1, 2), (2, 2, 3), overdetermination=5.0)
    assert few.weights.shape == near.weights.shape
    assert np.isfinite(few.weights).all()


@pytest.mark.parametrize(("shape", "text"), [((2, 1, 6, 32), "along y"), ((2, 1, 32, 4), "along x")])
def test_too_little_calibration_data_is_named(shape, text, rng):
    data = complex_noise(rng, *shape)
    with pytest.raises(CalibrationError, match=text):
        calibrate(data, data, (1, 2))


def test_calibration_data_of_zeros_is_refused():
    data = np.zeros((2, 1, 16, 16), np.complex64)
    with pytest.raises(CalibrationError, match="zero"):
        calibrate(data, data, (1, 2))


def test_unmixing_is_a_sum_over_coils(rng):
    kspace, coefficients = complex_noise(rng, 5, 3, 64, 96), complex_noise(rng, 4, 3, 64, 96)
    expected = (ifft(kspace[:4], AXES) * coefficients).sum(axis=0)
    assert relative_difference(unmix(kspace, coefficients), expected) < 1e-6


@pytest.mark.parametrize(("shape", "factors"), [((1, 21, 16), (1, 2)), ((1, 22, 16), (1, 3)), ((5, 9, 8), (2, 2))])
def test_less_what_wraps_around_the_kernel_is_applied_to_lines_that_end(shape, factors, rng):
    n_coils = 2
    data = complex_noise(rng, n_coils, 12 if shape[0] > 1 else 1, 24, 16)
    kernel = calibrate(data, data, factors, (2, 4, 3))
    kspace = np.zeros((n_coils, *shape), np.complex64)
    kspace[:, :: factors[0], :: factors[1]] = complex_noise(rng, *kspace[:, :: factors[0], :: factors[1]].shape)
    expected = np.zeros((n_coils, *shape), complex)
    for i, j, k in np.ndindex(*kernel.weights.shape[2:]):
        for z, y in np.ndindex(*shape[:2]):
            to_z, to_y = z + kernel.shifts[0][i], y + kernel.shifts[1][j]
            if 0 <= to_z < shape[0] and 0 <= to_y < shape[1]:
                moved = np.roll(kspace[:, z, y], kernel.shifts[2][k], axis=-1)
                expected[:, to_z, to_y] += kernel.weights[:, :, i, j, k] @ moved
    found = []
    for target in range(n_coils):
        maps = np.zeros((n_coils, *shape), np.complex64)
        maps[target] = 1
        found.append(fft(unmix(kspace, unmixing_coefficients(kernel, maps))[np.newaxis], AXES)[0])
    assert relative_difference(np.array(found) - wrapped_lines(kspace, kernel), expected) < 1e-5
