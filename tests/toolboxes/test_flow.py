"""Phase differences and concomitant fields, from their formulas."""

import numpy as np
import pytest

from gadgetron.toolboxes.flow import PATIENT_TO_SCANNER, maxwell_phase, phase_difference
from tests.gadgets.support import complex_noise


def test_phases_are_subtracted_and_magnitudes_averaged(rng):
    a, b = complex_noise(rng, 2, 30), complex_noise(rng, 2, 30)
    expected = 0.5 * (np.abs(a) + np.abs(b)) * np.exp(1j * (np.angle(b) - np.angle(a)))
    np.testing.assert_allclose(phase_difference(a, b), expected, rtol=1e-5)


def test_zero_has_no_phase_to_subtract():
    a, b = np.array([0, 0, 2j], np.complex64), np.array([0, 2j, 0], np.complex64)
    np.testing.assert_allclose(phase_difference(a, b), [0, 1j, -1j], atol=1e-6)


@pytest.mark.parametrize("coefficient", range(4))
def test_each_coefficient_has_its_monomial(coefficient):
    coefficients = [0.0] * 4
    coefficients[coefficient] = 3.0
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    position = np.array([30.0, -20.0, 55.0])
    phase = maxwell_phase((2, 3, 4), (200.0, 150.0, 20.0), position, turn, coefficients)
    for z, y, x in np.ndindex(2, 3, 4):
        place = position + (x - 1.5) * 50 * turn[0] + (y - 0.5) * 50 * turn[1] + (z - 0.5) * 10 * turn[2]
        a, b, c = place / 1000
        monomial = (c * c, a * a + b * b, a * c, b * c)[coefficient]
        assert phase[z, y, x] == pytest.approx(2 * np.pi * 3 * monomial, rel=1e-9)


def test_one_slice_has_no_extent_along_z():
    phase = maxwell_phase((1, 2, 2), (2.0, 2.0, 500.0), np.array([0, 0, 1000.0]), np.eye(3), (1.0, 0, 0, 0))
    np.testing.assert_allclose(phase, 2 * np.pi)


def test_patients_lie_in_scanners_without_being_stretched():
    for matrix in PATIENT_TO_SCANNER.values():
        np.testing.assert_array_equal(np.abs(matrix @ matrix.T), np.eye(3))
