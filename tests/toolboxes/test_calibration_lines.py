import numpy as np
import pytest

from gadgetron.toolboxes.calibration import CalibrationError
from gadgetron.toolboxes.calibration_lines import (
    has_neighbours,
    list_lines,
    regular_spacing,
    repair_lines,
    tell_dense_lines,
    tell_spacing,
)
from gadgetron.toolboxes.fft import fft
from gadgetron.toolboxes.grappa import calibrate, fill_lines
from gadgetron.toolboxes.spirit import calibrate_spirit
from tests.gadgets.support import complex_noise, relative_difference
from tests.toolboxes.test_grappa import AXES, coil_images


def calibration_data(n_z=1, first=32, last=64):
    _, _, coils = coil_images(8, (n_z, 96, 96))
    return fft(coils, AXES)[:, :, first:last]


def without(data, missing):
    """Zero lines (z, y) of calibration data; give the data, and which lines are there."""
    lines = np.ones(data.shape[1:3], bool)
    for place in missing:
        lines[place] = False
    return data * lines[:, :, np.newaxis], lines


@pytest.mark.parametrize("r", [2, 3])
def test_equations_with_missing_lines_are_left_out(r):
    data = calibration_data()
    gapped, lines = without(data, [(0, 13)])
    found = calibrate(gapped, gapped, (1, r), regularization=1e-4, lines=lines)
    before = data[:, :, :13]
    expected = calibrate(data, data, (1, r), regularization=1e-4)
    assert relative_difference(found.weights, expected.weights) < 0.6
    zeros = calibrate(gapped, gapped, (1, r), regularization=1e-4)
    assert relative_difference(zeros.weights, expected.weights) > relative_difference(found.weights, expected.weights)
    only = calibrate(before, before, (1, r), regularization=1e-4)
    kept = np.zeros(lines.shape, bool)
    kept[:, :13] = True
    assert (
        relative_difference(calibrate(data, data, (1, r), regularization=1e-4, lines=kept).weights, only.weights) < 1e-3
    )  # the same equations


def test_lines_that_are_all_there_change_nothing():
    data = calibration_data()
    lines = np.ones((1, 32), bool)
    np.testing.assert_array_equal(
        calibrate(data, data, (1, 2), lines=lines).weights, calibrate(data, data, (1, 2)).weights
    )
    np.testing.assert_array_equal(calibrate_spirit(data, lines=lines).weights, calibrate_spirit(data).weights)


def test_every_second_line_calibrates_nothing():
    gapped, lines = without(calibration_data(), [(0, y) for y in range(1, 32, 2)])
    with pytest.raises(CalibrationError, match="gaps: lines that lie together give 0 equations"):
        calibrate(gapped, gapped, (1, 2), lines=lines)
    with pytest.raises(CalibrationError, match="gaps"):
        calibrate_spirit(gapped, lines=lines)


def test_a_kernel_of_one_line_is_fitted(rng):
    data = complex_noise(rng, 2, 1, 20, 32)
    assert np.isfinite(calibrate(data, data, (1, 2), (1, 1, 3)).weights).all()


def test_fewer_equations_than_unknowns_are_refused():
    data = calibration_data()[..., 40:56]
    gapped, lines = without(data, [(0, y) for y in range(32) if not 10 <= y < 17])
    with pytest.raises(CalibrationError, match="give 12 equations, the kernel needs 160"):
        calibrate(gapped, gapped, (1, 2), lines=lines)


@pytest.mark.parametrize("missing", [[(0, 16)], [(0, 12), (0, 19)], [(0, 9), (0, 17), (0, 22)]])
def test_lines_are_found_from_their_neighbours(missing):
    data = calibration_data()
    gapped, lines = without(data, missing)
    repaired, there = repair_lines(gapped, lines, 2)
    assert there.all()
    assert relative_difference(repaired, data) < 0.05
    assert relative_difference(gapped, data) > 0.1
    np.testing.assert_array_equal(repaired[:, lines], data[:, lines])


def test_lines_are_found_in_every_partition():
    data = calibration_data(8, 36, 60)
    gapped, lines = without(data, [(4, 12), (2, 9)])
    repaired, there = repair_lines(gapped, lines, 2)
    assert there.all()
    assert relative_difference(repaired[:, ~lines], data[:, ~lines]) < 0.3


def test_lines_without_neighbours_stay_missing():
    gapped, lines = without(calibration_data(), [(0, y) for y in range(1, 32, 2)])
    repaired, there = repair_lines(gapped, lines, 2)
    assert repaired is gapped
    assert there is lines
    gapped, lines = without(calibration_data(), [(0, 1), (0, 30)])
    assert np.array_equal(repair_lines(gapped, lines, 2)[1], lines)  # too near to the ends


def test_a_line_is_not_made_of_one_that_is_missing():
    data = calibration_data()
    gapped, lines = without(data, [(0, 15), (0, 16)])
    kernel = calibrate(gapped, gapped, (1, 2), lines=lines)
    _, there = fill_lines(gapped, kernel, (1, 2), lines)
    assert np.array_equal(there, lines)


def lines_of(*steps, n=32):
    lines = np.zeros((1, n), bool)
    lines[0, list(steps)] = True
    return lines


@pytest.mark.parametrize(
    ("lines", "acceleration", "expected"),
    [
        (lines_of(*range(0, 32, 2)), (1, 2), False),
        (lines_of(*range(0, 32, 2), 15), (1, 2), True),
        (lines_of(), (1, 2), False),
        (lines_of(3), (1, 1), True),
        (lines_of(*range(32)).T, (1, 2), False),
        (lines_of(*range(0, 32, 2)).T, (2, 1), False),
        (np.stack([lines_of(4, 5), lines_of(4, 6)]), (1, 2), False),
        (np.stack([lines_of(4, 5), lines_of()]), (1, 2), True),
    ],
)
def test_lines_have_neighbours_along_accelerated_axes(lines, acceleration, expected):
    assert has_neighbours(lines, acceleration) is expected


@pytest.mark.parametrize(
    ("steps", "calibration", "spacing"),
    [
        (range(32), None, 1),
        (range(0, 32, 2), None, 2),
        (range(1, 64, 3), None, 3),
        ([*range(0, 20, 2), *range(24, 40, 2)], None, 2),
        (sorted({*range(0, 32, 2), *range(11, 22)}), (11, 21), 2),
        (sorted({*range(0, 32, 2), *range(11, 22)}), None, 1),
        (range(0, 32, 2), (0, 30), 2),
        ([0, 2, 4], None, 1),
        ([0, 2, 5, 7, 10, 12, 15, 17, 20], None, 1),
    ],
)
def test_only_evenly_spaced_lines_have_a_spacing(steps, calibration, spacing):
    assert regular_spacing(np.array(steps), calibration) == spacing


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (range(32), ""),
        (range(0, 32, 2), ""),
        ([*range(7), *range(8, 20), *range(23, 32)], ""),
        (sorted({*range(0, 32, 4), *range(1, 32, 4)}), ""),
        (sorted({*range(0, 32, 3), *range(11, 22)}), "imaging lines 11 to 21 lie side by side, others are 3 apart"),
    ],
)
def test_lines_that_are_side_by_side_among_others_are_told(steps, told):
    found = tell_dense_lines(np.array(steps))
    assert found.startswith(told)
    assert bool(found) is bool(told)


def test_a_spacing_that_is_not_the_headers_is_told():
    assert tell_spacing(2, 1) == "one of 2 lines was measured, and the header says no acceleration"
    assert tell_spacing(2, 3) == "one of 2 lines was measured, and the header says acceleration 3"


def test_long_lists_are_cut():
    assert list_lines([3, 5]) == "3, 5"
    assert list_lines(range(20)).endswith("11, … (20 in all)")
