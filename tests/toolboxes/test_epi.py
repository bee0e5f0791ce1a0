"""Echo planar readouts: where samples lie, images of them, and phases from navigators."""

import numpy as np
import pytest

from gadgetron.toolboxes.epi import (
    ReadoutRegridder,
    TrapezoidReadout,
    even_positions,
    flat_grid,
    off_center_phase,
    profile_roughness,
    stretched_grid,
)
from gadgetron.toolboxes.epi_navigators import ParameterFilter, find_ghost_correction

N_PIXELS = 64
RAMPED = TrapezoidReadout(ramp_up_us=160, flat_top_us=240, ramp_down_us=120, dwell_time_us=3.0)


def integrated(gradient, t):
    """The area of a trapezoid until t, by summing many small steps."""
    fine = np.linspace(0, t, 200_001)
    total = gradient.ramp_up_us + gradient.flat_top_us + gradient.ramp_down_us
    height = np.clip(np.minimum(fine / gradient.ramp_up_us, (total - fine) / gradient.ramp_down_us), 0, 1)
    return np.trapezoid(height, fine) if hasattr(np, "trapezoid") else np.trapz(height, fine)  # noqa: NPY201  # NumPy 1


def test_positions_are_the_area_under_the_gradient():
    positions = RAMPED.positions(160, 128)
    delay = (520 - 160 * 3.0) / 2
    center = (160 / 2 + 240 + 120 / 2) / 2
    span = integrated(RAMPED, delay + 480) - integrated(RAMPED, delay)
    for n in (0, 7, 80, 159):
        expected = 128 / span * (integrated(RAMPED, delay + 3.0 * (n + 1)) - center)
        assert positions[n] == pytest.approx(expected, abs=1e-3)
    assert (np.diff(positions) > 0).all()


@pytest.mark.parametrize(("ramps", "flat_top"), [(0, 0), (0, 300), (50, 0)])
def test_a_flat_top_is_sampled_evenly(ramps, flat_top):
    positions = TrapezoidReadout(ramps, flat_top, ramps, 3.0).positions(100, 50)
    np.testing.assert_allclose(np.diff(positions), 0.5, rtol=1e-9)
    assert positions[49] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("gradient", [TrapezoidReadout(-1, 10, 1, 1), TrapezoidReadout(1, 10, 1, 0)])
def test_an_impossible_gradient_is_refused(gradient):
    with pytest.raises(ValueError, match="no readout"):
        gradient.positions(10, 10)


def object_and_readout(positions, extent=0.5, center=0.05, width=0.12, power=4):
    """A smooth object along x in encoded fields of view, and its readout at these places in k-space."""
    fine = np.linspace(-0.5, 0.5, 4001)
    density = np.exp(-(((fine - center) / width) ** power)) * np.exp(2j * fine)
    data = (density * np.exp(-2j * np.pi * np.outer(positions, fine))).sum(axis=1) * (fine[1] - fine[0])
    grid = flat_grid(N_PIXELS, extent)
    return np.exp(-(((grid - center) / width) ** power)) * np.exp(2j * grid), data, grid


@pytest.mark.parametrize("is_reverse", [False, True])
def test_ramp_samples_become_the_object(is_reverse):
    positions = RAMPED.positions(160, 128)
    expected, data, grid = object_and_readout(-positions if is_reverse else positions)
    operator = ReadoutRegridder(positions, 128, grid).operator(is_reverse=is_reverse)
    image = data[np.newaxis] @ operator * np.sqrt(129)
    np.testing.assert_allclose(image[0], expected, atol=0.02)


def test_evenly_sampled_readouts_are_a_fourier_transform(rng):
    data = rng.standard_normal(N_PIXELS) + 1j * rng.standard_normal(N_PIXELS)
    positions = even_positions(N_PIXELS, N_PIXELS // 2, 1.0)
    image = data @ ReadoutRegridder(positions, N_PIXELS, flat_grid(N_PIXELS, 1.0)).operator(is_reverse=False)
    x, k = np.arange(N_PIXELS) - N_PIXELS // 2, np.arange(N_PIXELS) - N_PIXELS // 2
    expected = np.exp(2j * np.pi * np.outer(x, k) / N_PIXELS) @ data / np.sqrt(N_PIXELS + 1)
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_what_the_readout_cannot_see_brings_no_noise(rng):
    """With twice the field of view encoded, the flat top is sampled too coarsely for its outer parts."""
    positions = TrapezoidReadout(160, 240, 160, 3.1).positions(160, 160)
    noise = rng.standard_normal((200, 160)) + 1j * rng.standard_normal((200, 160))
    image = noise @ ReadoutRegridder(positions, 160, flat_grid(80, 0.5)).operator(is_reverse=False)
    assert np.abs(image).std() < 3


def test_the_model_grid_is_the_cplusplus_one():
    grid = stretched_grid(80)
    assert grid[0] == -0.5
    assert grid[-1] == pytest.approx(0.5 - 1 / 160)


@pytest.mark.parametrize("n_samples", [159, 160])
@pytest.mark.parametrize("is_reverse", [False, True])
def test_the_off_center_phase_undoes_a_constant_frequency(n_samples, is_reverse):
    shift = 0.14
    positions = RAMPED.positions(n_samples, 128) * (-1 if is_reverse else 1)
    expected, data, grid = object_and_readout(positions, center=0.02, width=0.15, power=30)
    rate = np.abs(np.diff(positions)).max() * (-1 if is_reverse else 1)
    time = np.arange(n_samples) - np.interp(0, np.sort(positions), np.argsort(positions))
    # the object is shifted, and the receiver follows with a constant frequency
    received = data * np.exp(-2j * np.pi * shift * positions) * np.exp(2j * np.pi * shift * rate * time)
    regridder = ReadoutRegridder(-positions if is_reverse else positions, 128, grid)
    clean = data @ regridder.operator(is_reverse=is_reverse) * np.sqrt(129)
    wrong = received @ regridder.operator(is_reverse=is_reverse) * np.sqrt(129)
    right = received @ regridder.operator(is_reverse=is_reverse, shift=-shift) * np.sqrt(129)
    assert np.linalg.norm(right - clean) < 0.001 * np.linalg.norm(expected)
    assert np.linalg.norm(wrong - clean) > 0.01 * np.linalg.norm(expected)
    assert profile_roughness(right[np.newaxis]) < profile_roughness(wrong[np.newaxis])


def test_the_off_center_phase_of_a_flat_readout_is_nothing():
    np.testing.assert_allclose(off_center_phase(even_positions(64, 31, 0.7), 0.3), 0, atol=1e-12)


def test_the_roughness_of_nothing_is_zero():
    assert profile_roughness(np.zeros((2, 5), np.complex64)) == 0


X = np.linspace(-0.5, 0.5, N_PIXELS)
PROFILE = np.exp(-((X / 0.3) ** 4)) * np.array([[1.0], [0.6j]])


def navigators(n, per_echo, polarity, starts_reversed):
    """What navigators look like whose phases grow, and differ by their polarity."""
    signs = [(1 if p % 2 else -1) * (1 if starts_reversed else -1) for p in range(n)]
    return np.array([PROFILE * np.exp(1j * (p * per_echo + sign * polarity / 2)) for p, sign in enumerate(signs)])


@pytest.mark.parametrize("starts_reversed", [False, True])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_phases_are_found_again(n, starts_reversed):
    polarity = 0.4 + 3.0 * X - 1.5 * X**2 + 2 * X**3
    per_echo = np.full(N_PIXELS, -0.3)
    found = find_ghost_correction(navigators(n, per_echo, polarity, starts_reversed), starts_reversed=starts_reversed)
    inside = np.abs(PROFILE[0]) > 0.05
    np.testing.assert_allclose(found.per_echo, per_echo, atol=1e-6)
    np.testing.assert_allclose(found.polarity[inside], polarity[inside], atol=1e-4)
    for echo, data in enumerate(navigators(n, per_echo, polarity, starts_reversed)):
        is_reverse = (echo % 2 == 0) == starts_reversed
        np.testing.assert_allclose(
            (data * found.factors(echo, is_reverse=is_reverse))[:, inside], PROFILE[:, inside], atol=1e-4
        )


def test_phases_that_wrap_are_followed():
    polarity = 1.0 + 40.0 * X
    found = find_ghost_correction(navigators(3, 0 * X, polarity, True), starts_reversed=True)
    np.testing.assert_allclose(np.exp(1j * found.polarity), np.exp(1j * polarity), atol=1e-3)


@pytest.mark.parametrize(
    ("mode", "expected"), [("none", 0 * X), ("mean", 0.5 + 0 * X), ("linear", 0.5 + 2 * X), ("polynomial", 0.5 + 2 * X)]
)
def test_each_model_finds_what_it_can(mode, expected):
    data = navigators(3, 0 * X, 0.5 + 2 * X, True)
    found = find_ghost_correction(data, starts_reversed=True, polarity_mode=mode)
    np.testing.assert_allclose(found.polarity, expected, atol=1e-3)


@pytest.mark.parametrize(("mode", "slope"), [("none", 0.0), ("linear", 0.8)])
def test_the_growth_may_be_linear_in_x_or_ignored(mode, slope):
    data = navigators(3, 0.8 * X, 0 * X, True)
    found = find_ghost_correction(data, starts_reversed=True, offset_mode=mode, polarity_mode="none")
    np.testing.assert_allclose(found.per_echo, slope * X, atol=1e-6)


def test_two_navigators_show_the_polarity_and_one_shows_nothing():
    data = navigators(3, 0 * X, 0.5 + 2 * X, True)
    found = find_ghost_correction(data[:2], starts_reversed=True)
    np.testing.assert_allclose(found.polarity, 0.5 + 2 * X, atol=1e-3)
    np.testing.assert_array_equal(found.per_echo, 0)
    with pytest.raises(ValueError, match="two at least"):
        find_ghost_correction(data[:1], starts_reversed=True)


def test_black_navigators_and_those_that_are_not_finite_correct_nothing():
    black = find_ghost_correction(np.zeros((3, 2, 8), np.complex64), starts_reversed=True)
    np.testing.assert_array_equal(black.factors(3, is_reverse=True), 1)
    find_ghost_correction(np.full((3, 2, 8), np.nan, np.complex64), starts_reversed=True)


def test_the_filter_follows_a_line_and_smooths_around_it(rng):
    smooth = ParameterFilter(length=20)
    for t in range(60):
        smooth.begin(1.0)
        value = smooth("a", 0.1 * t + 0.05 * rng.standard_normal(), False)
        angle = smooth("b", float(np.angle(np.exp(1j * (3.0 + 0.01 * t)))), True)
    assert value == pytest.approx(5.9, abs=0.06)
    assert np.exp(1j * angle) == pytest.approx(np.exp(3.59j), abs=0.01)


def test_the_filter_leaves_the_first_excitations_alone():
    smooth = ParameterFilter(length=5, n_excluded=2)
    for value in (100.0, -100.0, 1.0, 1.0, 1.0):
        smooth.begin(2.0)
        assert smooth("a", value, False) == pytest.approx(value)
