import numpy as np
import pytest

from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.partial_fourier import partial_fourier_filter, pocs, sampled_extent
from tests.gadgets.support import complex_noise, relative_difference

AXES = (-3, -2, -1)


def smooth_phase_image(shape):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    magnitude = ((y / 0.7) ** 2 + (x / 0.6) ** 2 < 1) * (1 + 0.5 * np.sign(np.sin(9 * x)))
    return (magnitude * np.exp(1j * (0.6 * x + 0.4 * y + 0.3 * z))).astype(np.complex64)


@pytest.mark.parametrize(
    ("first", "last", "r", "expected"),
    [(0, 63, 1, (0, 63)), (0, 62, 2, (0, 63)), (20, 63, 2, (20, 63)), (0, 40, 1, (0, 40)), (5, 70, 1, (0, 63))],
)
def test_a_range_counts_if_it_is_asymmetric(first, last, r, expected):
    assert sampled_extent(64, first, last, r) == expected


def test_no_filter_for_what_is_sampled_completely():
    assert partial_fourier_filter(64, (0, 63), 0.15, density_compensation=False) is None


@pytest.mark.parametrize("extent", [(20, 63), (0, 40), (20, 60), (4, 40), (6, 61)])
def test_filters_keep_noise_and_lie_within_the_sampled_range(extent):
    values = partial_fourier_filter(64, extent, 0.15, density_compensation=False)
    assert values.shape == (64,)
    first, last = extent
    assert not values[:first].any()
    assert not values[last + 1 :].any()
    assert np.mean(values[first : last + 1].astype(float) ** 2) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 64, 64), (8, 48, 48)])
@pytest.mark.parametrize("axis", [1, 2])
def test_pocs_is_nearer_to_the_image_than_zero_filling(shape, axis):
    image = smooth_phase_image(shape)
    kspace = fft(image, AXES)
    first = shape[axis] * 3 // 8
    extents = [(0, n - 1) for n in shape]
    extents[axis] = (first, shape[axis] - 1)
    kspace[(slice(None),) * axis + (slice(0, first),)] = 0
    zero_filled = relative_difference(np.abs(ifft(kspace, AXES)), np.abs(image))
    filled = pocs(kspace, extents, (4, 8, 8), n_iterations=10)
    assert relative_difference(np.abs(ifft(filled, AXES)), np.abs(image)) < 0.6 * zero_filled


def test_pocs_keeps_what_was_acquired_without_a_transition(rng):
    kspace = complex_noise(rng, 2, 1, 32, 32)
    kspace[..., :10] = 0
    filled = pocs(kspace, [(0, 0), (0, 31), (10, 31)], (0, 0, 0))
    np.testing.assert_array_equal(filled[..., 10:], kspace[..., 10:])
    assert filled[..., :10].any()


def test_pocs_leaves_complete_kspace_alone(rng):
    kspace = complex_noise(rng, 1, 8, 8)
    np.testing.assert_array_equal(pocs(kspace, [(0, 0), (0, 7), (0, 7)], (4, 4, 4)), kspace)


def test_pocs_stops_when_asked(rng):
    kspace = complex_noise(rng, 1, 32, 32)
    kspace[..., :10] = 0
    calls = []

    def stop():
        calls.append(1)
        return True

    pocs(kspace, [(0, 0), (0, 31), (10, 31)], (4, 4, 4), n_iterations=5, threshold=0.0, should_stop=stop)
    assert len(calls) == 1


def test_pocs_of_nothing_is_nothing():
    filled = pocs(np.zeros((1, 16, 16), np.complex64), [(0, 0), (4, 15), (0, 15)], (4, 4, 4))
    assert not filled.any()
