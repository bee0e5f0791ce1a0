import numpy as np
import pytest

from gadgetron.toolboxes.calibration import CalibrationError, image_phases
from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.spirit import calibrate_spirit, fill_in, fill_plane, plane_operator
from tests.gadgets.support import complex_noise, relative_difference
from tests.toolboxes.test_grappa import AXES, coil_images


@pytest.mark.parametrize("shape", [(1, 64, 48), (8, 24, 24)])
def test_missing_lines_are_found(shape):
    _, _, coils = coil_images(6, shape)
    kspace = fft(coils, AXES)
    y = shape[1] // 2
    kernel = calibrate_spirit(kspace[:, :, y - 12 : y + 12], (3, 5, 5), 1e-4)
    undersampled = kspace.copy()
    undersampled[:, :, 1::2] = 0
    filled = fill_in(undersampled, kernel, 60, 1e-4)
    assert relative_difference(ifft(filled, AXES), coils) < 0.1 * relative_difference(ifft(undersampled, AXES), coils)
    np.testing.assert_allclose(filled[:, :, ::2], kspace[:, :, ::2], atol=1e-4 * np.abs(kspace).max())


def test_complete_kspace_agrees_with_the_kernel(rng):
    """What is left after the neighbours have explained each sample is little."""
    _, _, coils = coil_images(6, (1, 48, 48))
    kspace = fft(coils, AXES)
    kernel = calibrate_spirit(kspace, (1, 7, 7), 1e-5)
    operator = plane_operator(kernel.weights[:, :, 0], *(image_phases(48, s) for s in kernel.shifts[1:]))
    left = (operator * ifft(kspace, AXES)[:, 0]).sum(axis=1)
    noise = complex_noise(rng, *kspace.shape) * np.float32(np.linalg.norm(kspace) / np.sqrt(2 * kspace.size))
    left_of_noise = (operator * ifft(noise, AXES)[:, 0]).sum(axis=1)
    assert np.linalg.norm(left) < 0.1 * np.linalg.norm(left_of_noise)


def test_a_plane_is_solved_in_the_sense_of_least_squares(rng):
    operator = complex_noise(rng, 2, 2, 6, 8)
    kspace = complex_noise(rng, 2, 6, 8)
    kspace[:, ::2] = 0
    is_missing = kspace == 0
    columns = []
    for index in np.argwhere(is_missing):
        unit = np.zeros_like(kspace)
        unit[tuple(index)] = 1
        columns.append(fft((operator * ifft(unit, (1, 2))).sum(axis=1), (1, 2)).ravel())
    matrix = np.array(columns, np.complex128).T
    right = -fft((operator * ifft(kspace, (1, 2))).sum(axis=1), (1, 2)).ravel()
    expected = kspace.copy()
    expected[is_missing] = np.linalg.lstsq(matrix, right, rcond=None)[0]
    assert relative_difference(fill_plane(kspace, operator, 400, 1e-7), expected) < 1e-3


def test_nothing_stays_nothing():
    operator = np.ones((2, 2, 4, 4), np.complex64)
    assert not fill_plane(np.zeros((2, 4, 4), np.complex64), operator, 5, 0.0).any()


def test_iterations_end_when_asked(rng):
    calls = []

    def stop():
        calls.append(1)
        return True

    kspace = complex_noise(rng, 2, 8, 8)
    kspace[:, ::2] = 0
    fill_plane(kspace, complex_noise(rng, 2, 2, 8, 8), 20, 0.0, stop)
    assert len(calls) == 1


def test_too_little_calibration_data_is_named(rng):
    with pytest.raises(CalibrationError, match="along y"):
        calibrate_spirit(complex_noise(rng, 2, 1, 5, 32))
