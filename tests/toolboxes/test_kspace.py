import pytest

from gadgetron.header import parse_ismrmrd_header
from gadgetron.toolboxes.kspace import Received, phase_encoding_grid, place_readout
from tests.gadgets.support import PARALLEL, header_xml


def encoding(**arguments):
    return parse_ismrmrd_header(header_xml(**arguments)).encoding[0]


ALL = Received(0, 15)


def test_full_sampling_fills_the_matrix():
    grid = phase_encoding_grid(encoding(), 1, ALL, for_reference=False)
    assert (grid.size, grid.offset, grid.first, grid.center, grid.last) == (16, 0, 0, 8, 15)


def test_the_center_of_the_limits_goes_to_the_center_of_the_matrix():
    limits = {"kspace_encoding_step_1": (0, 11, 4)}
    grid = phase_encoding_grid(
        encoding(limits=limits, parallel=PARALLEL.format(mode="embedded")), 1, ALL, for_reference=False
    )
    assert (grid.size, grid.offset, grid.first, grid.center, grid.last) == (16, 4, 4, 8, 15)


def test_a_partial_scan_without_parallel_imaging_keeps_the_matrix():
    grid = phase_encoding_grid(encoding(limits={"kspace_encoding_step_1": (0, 11, 4)}), 1, ALL, for_reference=False)
    assert (grid.size, grid.offset) == (16, 4)


def test_without_limits_the_matrix_counts():
    for axis, size in ((1, 16), (2, 6)):
        grid = phase_encoding_grid(encoding(matrix=(32, 16, 6), limits={}), axis, ALL, for_reference=False)
        assert (grid.size, grid.offset, grid.first, grid.center, grid.last) == (size, 0, 0, size // 2, size - 1)


@pytest.mark.parametrize("mode", ["separate", "external"])
def test_separate_reference_lines_are_counted_from_the_first(mode):
    space = encoding(parallel=PARALLEL.format(mode=mode))
    grid = phase_encoding_grid(space, 1, Received(5, 10), for_reference=True)
    assert (grid.size, grid.offset) == (6, -5)
    assert phase_encoding_grid(space, 1, Received(5, 10), for_reference=False).size == 16


def test_embedded_reference_lines_lie_where_imaging_lines_do():
    limits = {"kspace_encoding_step_1": (0, 11, 4)}
    space = encoding(limits=limits, parallel=PARALLEL.format(mode="embedded"))
    assert phase_encoding_grid(space, 1, Received(2, 6), for_reference=True).offset == 4


def test_interleaved_reference_lines_keep_their_numbers():
    limits = {"kspace_encoding_step_1": (0, 11, 4)}
    space = encoding(limits=limits, parallel=PARALLEL.format(mode="interleaved"))
    assert phase_encoding_grid(space, 1, Received(2, 6), for_reference=True).offset == 0


def test_non_cartesian_lines_have_the_size_of_the_limits_or_of_what_was_received():
    limits = {"kspace_encoding_step_1": (0, 99, 0)}
    grid = phase_encoding_grid(encoding(trajectory="radial", limits=limits), 1, ALL, for_reference=False)
    assert (grid.size, grid.offset, grid.center) == (100, 0, 0)
    grid = phase_encoding_grid(encoding(trajectory="spiral", limits={}), 1, Received(3, 9), for_reference=False)
    assert (grid.size, grid.offset) == (7, -3)


def test_a_full_readout_is_copied_from_its_beginning():
    assert place_readout(64, 32, 64, 0, 0, 32, is_cartesian=True) == (0, 0, 64)


def test_discarded_samples_are_left_out_where_they_are():
    assert place_readout(64, 32, 64, 10, 4, 32, is_cartesian=True) == (10, 10, 50)


def test_an_asymmetric_echo_is_moved_to_the_center():
    assert place_readout(64, 32, 48, 0, 0, 16, is_cartesian=True) == (16, 0, 48)


@pytest.mark.parametrize("center_sample", [0, 5, 64, 65535])
def test_a_full_readout_stays_where_it_is_whatever_its_center(center_sample):
    assert place_readout(64, 32, 64, 0, 0, center_sample, is_cartesian=True) == (0, 0, 64)


def test_readouts_that_do_not_fit_have_no_place():
    assert place_readout(64, 32, 80, 0, 0, 40, is_cartesian=True) is None
    assert place_readout(64, 32, 48, 0, 0, 40, is_cartesian=True) is None
    assert place_readout(64, 32, 64, 40, 40, 32, is_cartesian=True) is None
    assert place_readout(64, 32, 65, 0, 0, 32, is_cartesian=False) is None


def test_non_cartesian_readouts_begin_at_the_beginning():
    assert place_readout(60, 30, 64, 2, 2, 5, is_cartesian=False) == (0, 2, 60)
