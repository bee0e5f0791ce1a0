"""The phase between forward and reversed readouts that navigators do not show, found from the readouts."""

import numpy as np
import pytest

from gadgetron.toolboxes.epi_navigators import GhostCorrection
from gadgetron.toolboxes.epi_refinement import MIN_LINES, polarity_residual, refine_ghost_correction
from tests.toolboxes.test_coil_maps import smooth_sensitivities

N_X, N_Y = 64, 80
X = np.linspace(-0.5, 0.5, N_X)
LEFT = -0.07 - 0.28 * X
"""What was left of the measured phantom's phase, more or less [rad]."""


def lines_of_an_object(n_coils=4, width=0.9, step=1):
    """Readouts of an object of this width in fields of view, images along x, shape (echoes, coils, pixels)."""
    y, x = np.meshgrid(np.linspace(-0.5, 0.5, N_Y), X, indexing="ij")
    radius = np.hypot(2 * y / width, 2.2 * x)
    density = (radius < 1) * (1 + 0.5 * np.cos(7 * x + 9 * y)) * (1 - 0.8 * (np.hypot(y - 0.1, x) < 0.1))
    density = density * np.exp(1j * (2 * x + 3 * y**2))
    coils = smooth_sensitivities(n_coils, (1, N_Y, N_X))[:, 0] if n_coils > 1 else np.ones((1, N_Y, N_X))
    image = coils * density
    kspace = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image, axes=1), axis=1, norm="ortho"), axes=1)
    return kspace.transpose(1, 0, 2)[::step]


def with_noise(lines, rng, level):
    power = level * np.abs(lines).std() / np.sqrt(2)
    return lines + power * (rng.standard_normal(lines.shape) + 1j * rng.standard_normal(lines.shape))


def distorted(lines, phase, starts_reversed=False):
    """Give every second readout a phase; `phase` is that of forward readouts minus that of reversed ones."""
    sign = np.where((np.arange(len(lines)) % 2 == 0) == starts_reversed, -0.5, 0.5)[:, np.newaxis, np.newaxis]
    return lines * np.exp(1j * sign * phase)


def correction(polarity=0 * X, coils=None):
    return GhostCorrection(np.zeros(N_X), polarity, coils)


def refine(lines, *corrections, starts_reversed=False):
    lines = lines.astype(np.complex64)
    return refine_ghost_correction(lines, starts_reversed=starts_reversed, corrections=corrections or [correction()])


@pytest.mark.parametrize("starts_reversed", [False, True])
@pytest.mark.parametrize(("n_coils", "width", "step"), [(1, 0.9, 1), (2, 1.0, 1), (4, 0.9, 1), (8, 0.9, 2)])
def test_a_linear_phase_is_found_again(n_coils, width, step, starts_reversed, rng):
    lines = with_noise(lines_of_an_object(n_coils, width, step), rng, 0.02)
    found = refine(distorted(lines, LEFT, starts_reversed), starts_reversed=starts_reversed)
    np.testing.assert_allclose(found.polarity, LEFT, atol=0.05)  # it was 0.21


def test_what_is_found_comes_on_top_of_what_navigators_gave(rng):
    navigated = 0.5 + 3 * X - X**2
    lines = distorted(with_noise(lines_of_an_object(), rng, 0.02), navigated + LEFT)
    found = refine(lines, correction(navigated))
    np.testing.assert_allclose(found.polarity, navigated + LEFT, atol=0.02)


def test_a_growth_from_echo_to_echo_is_left_alone(rng):
    lines = distorted(with_noise(lines_of_an_object(), rng, 0.02), LEFT)
    lines = lines * np.exp(0.3j * np.arange(len(lines)))[:, np.newaxis, np.newaxis]
    found = refine_ghost_correction(
        lines.astype(np.complex64), starts_reversed=False, corrections=[GhostCorrection(np.full(N_X, 0.3), 0 * X)]
    )
    np.testing.assert_allclose(found.polarity, LEFT, atol=0.02)
    np.testing.assert_array_equal(found.per_echo, 0.3)


@pytest.mark.parametrize("level", [0.0, 0.02, 0.3])
@pytest.mark.parametrize(("n_coils", "step"), [(1, 1), (4, 1), (8, 2), (4, 3)])
def test_good_readouts_stay_as_they_are(n_coils, step, level, rng):
    found = refine(with_noise(lines_of_an_object(n_coils, step=step), rng, level))
    np.testing.assert_allclose(found.polarity, 0, atol=0.005)


def test_readouts_that_fold_over_in_one_coil_do_not_tell(rng):
    lines = with_noise(lines_of_an_object(1, step=2), rng, 0.02)
    given = correction()
    assert refine(distorted(lines, LEFT), given) is given


def test_noise_alone_does_not_tell(rng):
    noise = rng.standard_normal((N_Y, 3, N_X)) + 1j * rng.standard_normal((N_Y, 3, N_X))
    given = correction()
    assert refine(noise, given) is given


def test_more_than_navigators_can_be_wrong_by_is_not_believed():
    found = refine(distorted(lines_of_an_object(), 2.0 + 0 * X))
    assert np.abs(found.polarity).max() <= 1.0


def test_the_correction_that_suits_the_readouts_is_chosen(rng):
    coils = 0.13 * X + 1j * np.array([[0.2], [-0.2], [0.1], [0.0]]) * X
    lines = with_noise(lines_of_an_object(), rng, 0.01)
    alike, each = correction(), correction(coils=coils)
    differing = lines * np.exp(np.where(np.arange(N_Y) % 2, -0.5, 0.5)[:, np.newaxis, np.newaxis] * coils)
    assert refine(differing, each, alike).coils is coils
    assert refine(differing, alike, each).coils is coils
    assert refine(lines, each, alike).coils is None


def test_the_result_does_not_depend_on_scale_or_on_the_run(rng):
    lines = distorted(with_noise(lines_of_an_object(), rng, 0.02), LEFT)
    first = refine(lines).polarity
    np.testing.assert_array_equal(refine(lines).polarity, first)
    np.testing.assert_allclose(refine(1e-4 * lines).polarity, first, atol=1e-4)


def test_too_few_or_black_readouts_do_not_tell():
    given, other = correction(), correction(0.1 + 0 * X)
    lines = distorted(lines_of_an_object(), LEFT)
    assert refine(lines[: MIN_LINES - 1], given, other) is given
    assert refine(0 * lines, given, other) is given
    lines[: N_Y - MIN_LINES + 1, 1, 5] = np.nan
    assert refine(lines, given, other) is given


@pytest.mark.parametrize("broken", [0, 37, N_Y - 1])
def test_a_readout_that_is_not_finite_is_left_out(broken, rng):
    lines = distorted(with_noise(lines_of_an_object(), rng, 0.02), LEFT)
    lines[broken, 1, 5] = np.nan
    found = refine(lines)
    np.testing.assert_allclose(found.polarity, LEFT, atol=0.05)


def test_windows_that_all_have_a_broken_readout_do_not_tell():
    lines = distorted(lines_of_an_object(), LEFT)
    lines[::4] = np.inf
    np.testing.assert_array_equal(refine(lines).polarity, 0)


def test_nothing_is_left_when_the_phase_is_taken_out(rng):
    lines = distorted(with_noise(lines_of_an_object(), rng, 0.02), LEFT)
    found = polarity_residual(lines, starts_reversed=False)
    again = polarity_residual(distorted(lines, -found.phase), starts_reversed=False)
    np.testing.assert_allclose(again.phase, 0, atol=1e-3)
    assert again.cost <= found.cost


def test_a_point_tells_no_slope(rng):
    lines = np.zeros((40, 2, 64), np.complex64)
    lines[:, :, 30] = np.exp(1j * np.linspace(0, 20, 40))[:, np.newaxis]
    found = refine(distorted(lines, 0.2), correction())
    assert np.isfinite(found.polarity).all()
