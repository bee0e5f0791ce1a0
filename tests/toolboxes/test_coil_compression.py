import numpy as np
import pytest

from gadgetron.toolboxes.coil_compression import (
    apply_coil_matrix,
    eigen_channels,
    n_energetic_channels,
    n_modes_above,
)
from tests.gadgets.support import complex_noise


def test_modes_are_uncorrelated_and_sorted(rng):
    kspace = complex_noise(rng, 5, 4, 200) * np.array([1, 7, 3, 0.5, 2], np.float32)[:, None, None]
    matrix, values = eigen_channels(kspace)
    modes = apply_coil_matrix(kspace, matrix).reshape(5, -1)
    modes = modes - modes.mean(axis=1, keepdims=True)
    covariance = modes @ modes.conj().T
    np.testing.assert_allclose(np.diag(covariance).real, values, rtol=1e-4)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-3 * values[0])


def test_modes_are_an_orthonormal_change_of_coils_whose_first_weight_is_real(rng):
    matrix, _ = eigen_channels(complex_noise(rng, 6, 100))
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(matrix[:, 0].imag, 0, atol=1e-6)


def test_what_is_not_finite_leaves_the_coils_as_they_are():
    matrix, _ = eigen_channels(np.full((3, 8), np.nan, np.complex64))
    np.testing.assert_array_equal(matrix, np.eye(3))


@pytest.mark.parametrize(("threshold", "n"), [(-1.0, 4), (0.0, 4), (1e-4, 4), (0.01, 3), (0.2, 2), (0.9, 1)])
def test_modes_are_kept_down_to_a_part_of_the_first(threshold, n):
    assert n_modes_above(np.array([10.0, 5.0, 1.0, 0.01]), threshold) == n


def test_a_weak_channel_leaves_out_none_behind_it(rng):
    kspace = complex_noise(rng, 5, 8, 8)
    kspace[[1, 4]] *= 0.01
    assert n_energetic_channels(kspace, 0.01) == 4
    kspace[0] = 0
    assert n_energetic_channels(kspace, 0.01) == 5
