"""What each coil has beyond what all have, between forward and reversed readouts."""

import numpy as np
import pytest

from gadgetron.toolboxes.epi_coils import with_coil_differences
from gadgetron.toolboxes.epi_navigators import find_ghost_correction

N_PIXELS = 64
X = np.linspace(-0.5, 0.5, N_PIXELS)
PROFILE = np.exp(-((X / 0.35) ** 4)) * np.array([[1.0], [0.7j], [0.8]])
DIFFERENCES = np.array([0.05 + 0.1j, -0.02 - 0.05j, -0.03 - 0.05j])[:, np.newaxis] + X * np.array(
    [[0.12 + 0.3j], [0.15 - 0.2j], [0.1 - 0.15j]]
)


def navigators(n=3, starts_reversed=True, polarity=0.4 + 2.0 * X, per_echo=-0.2, differences=DIFFERENCES):
    """Navigators of a scanner whose coils differ by `differences`, logarithms of forward over reversed."""
    lines = []
    for p in range(n):
        half = -0.5 if (p % 2 == 0) == starts_reversed else 0.5
        lines.append(PROFILE * np.exp(1j * p * per_echo + half * (1j * polarity + differences)))
    return np.array(lines).astype(np.complex64)


def noise_like(rng, data):
    return rng.standard_normal(data.shape) + 1j * rng.standard_normal(data.shape)


def find(data, starts_reversed=True):
    correction = find_ghost_correction(data, starts_reversed=starts_reversed)
    return with_coil_differences(correction, data, starts_reversed=starts_reversed)


@pytest.mark.parametrize("starts_reversed", [False, True])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_corrected_navigators_are_equal_in_every_coil(n, starts_reversed):
    data = navigators(n, starts_reversed)
    found = find(data, starts_reversed)
    inside = np.abs(PROFILE[0]) > 0.3
    corrected = [line * found.factors(p, is_reverse=(p % 2 == 0) == starts_reversed) for p, line in enumerate(data)]
    for line in corrected[1:]:
        np.testing.assert_allclose(line[:, inside], corrected[0][:, inside], atol=0.01)
    np.testing.assert_allclose(found.coils.real[:, inside], DIFFERENCES.real[:, inside], atol=0.005)


def test_coils_that_are_alike_have_no_differences():
    found = find(navigators(differences=0 * DIFFERENCES))
    np.testing.assert_allclose(found.coils, 0, atol=1e-3)


def test_a_coil_of_noise_gets_what_all_have(rng):
    data = navigators(differences=0 * DIFFERENCES + 0.13 * X)
    data[:, 2] = 1e-3 * noise_like(rng, data[:, 2])
    found = find(data)
    assert np.abs(found.coils[0] - 0.13 * X).max() < 0.01
    assert np.abs(found.coils[2] - 0.13 * X).max() < 0.3


def test_a_coil_without_any_signal_is_no_trouble():
    data = navigators()
    data[:, 1] = 0
    found = find(data)
    assert np.isfinite(found.coils).all()
    assert np.isfinite(find(np.zeros_like(data)).coils).all()


def test_noise_makes_small_differences_only(rng):
    data = navigators(differences=0 * DIFFERENCES)
    data = data + 0.05 * noise_like(rng, data)
    assert np.abs(find(data.astype(np.complex64)).coils).max() < 0.15


def test_two_navigators_and_ones_that_are_not_finite_tell_nothing_of_coils():
    assert find(navigators(2)).coils is None
    assert find(np.full_like(navigators(), np.nan)).coils is None


def test_every_coefficient_can_be_smoothed():
    seen = []

    def smooth(name, value, is_angle):
        seen.append((name, is_angle))
        return 0.0

    data = navigators()
    correction = find_ghost_correction(data, starts_reversed=True)
    found = with_coil_differences(correction, data, starts_reversed=True, smooth=smooth)
    np.testing.assert_array_equal(found.coils, 0)
    assert seen[:4] == [(f"coil0.{name}{n}", False) for n in (0, 1) for name in ("magnitude", "phase")]
    assert len(set(seen)) == 12


def test_a_correction_fits_what_has_its_shape():
    found = find(navigators())
    assert found.fits((3, N_PIXELS))
    assert not found.fits((2, N_PIXELS))
    assert not found.fits((3, 32))
    alike = find_ghost_correction(navigators(), starts_reversed=True)
    assert alike.fits((2, N_PIXELS))
