import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetron.toolboxes.arrays import ArrayPool
from gadgetron.toolboxes.readout import crop_readouts, is_finite, pad_asymmetric_readout, resample_trajectory
from tests.gadgets.support import centred_fft, centred_ifft, complex_noise, relative_difference


def cropped(readout, n_out):
    start = (readout.shape[-1] - n_out) // 2
    return centred_fft(centred_ifft(readout, (1,))[:, start : start + n_out], (1,))


@given(n_samples=st.integers(1, 40), data=st.data(), n_readouts=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_cropping_equals_numpy_for_every_length(n_samples, data, n_readouts):
    n_out = data.draw(st.integers(1, n_samples))
    x = complex_noise(np.random.default_rng(2), n_readouts, 2, n_samples)
    results = crop_readouts(list(x), n_out)
    assert len(results) == n_readouts
    for readout, result in zip(x, results, strict=True):
        expected = cropped(readout, n_out)
        assert np.linalg.norm(result - expected) <= 1e-6 * np.linalg.norm(readout)


@pytest.mark.parametrize(("n_samples", "n_out"), [(512, 256), (240, 120), (300, 100), (384, 256), (6, 2)])
def test_common_ratios_equal_numpy(n_samples, n_out, rng):
    x = complex_noise(rng, 18, 3, n_samples)
    for readout, result in zip(x, crop_readouts(list(x), n_out), strict=True):
        assert relative_difference(result, cropped(readout, n_out)) < 1e-6


def test_unaligned_readouts_are_taken_and_not_changed(rng):
    memory = bytearray(342 + 4 * 64 * 8)
    readout = np.frombuffer(memory, np.complex64, 4 * 64, offset=342).reshape(4, 64)
    readout[...] = complex_noise(rng, 4, 64)
    before = readout.copy()
    (result,) = crop_readouts([readout], 32)
    np.testing.assert_array_equal(readout, before)
    assert relative_difference(result, cropped(before, 32)) < 1e-6
    assert not np.shares_memory(result, readout)


def test_results_of_a_pool_stay_valid_while_they_are_referred_to(rng):
    pool = ArrayPool(max_bytes=1 << 20)
    first = list(complex_noise(rng, 16, 2, 32))
    kept = crop_readouts(first, 16, pool.take)
    for _ in range(5):
        crop_readouts(list(complex_noise(rng, 16, 2, 32)), 16, pool.take)
    for readout, result in zip(first, kept, strict=True):
        assert relative_difference(result, cropped(readout, 16)) < 1e-6


def test_a_single_coil_and_a_hundred_coils(rng):
    for n_coils in (1, 100):
        (result,) = crop_readouts([complex_noise(rng, n_coils, 64)], 32)
        assert result.shape == (n_coils, 32)


def test_cropping_in_image_space_keeps_a_smooth_object(rng):
    image = np.zeros((1, 64), np.complex64)
    image[:, 20:44] = complex_noise(rng, 1, 24)  # inside the middle half
    (result,) = crop_readouts([centred_fft(image, (1,)).astype(np.complex64)], 32)
    assert relative_difference(centred_ifft(result, (1,)), image[:, 16:48]) < 1e-6


@pytest.mark.parametrize(("at_front", "start"), [(True, 4), (False, 0)])
def test_padding_puts_zeros_on_one_side(at_front, start, rng):
    readout = complex_noise(rng, 2, 6)
    padded = pad_asymmetric_readout(readout, 10, at_front=at_front)
    np.testing.assert_array_equal(padded[:, start : start + 6], readout)
    assert np.count_nonzero(padded) == readout.size


def test_a_trajectory_follows_its_readout():
    trajectory = np.stack([np.linspace(-0.5, 0.5, 64, endpoint=False), np.zeros(64)], axis=1).astype(np.float32)
    resampled = resample_trajectory(trajectory, 32, 2.0)
    np.testing.assert_allclose(resampled[:, 0], np.linspace(-0.5, 0.5, 32, endpoint=False), atol=1e-6)
    assert resampled.dtype == np.float32


@pytest.mark.parametrize(("n_samples", "n_out"), [(512, 256), (128, 64), (500, 250), (81, 45), (240, 81)])
def test_the_bits_do_not_depend_on_how_many_readouts_come_at_a_time(
    rng: np.random.Generator, n_samples: int, n_out: int
) -> None:
    readouts = [(rng.standard_normal((4, n_samples, 2)) @ [1, 1j]).astype(np.complex64) for _ in range(21)]
    together = crop_readouts(readouts, n_out)
    for at_a_time in (1, 3, 7, 16):
        parts = [crop_readouts(readouts[i : i + at_a_time], n_out) for i in range(0, len(readouts), at_a_time)]
        np.testing.assert_array_equal([readout for part in parts for readout in part], together)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, complex(0, np.nan), complex(1, -np.inf)])
def test_a_readout_with_a_sample_that_is_not_finite_is_found(bad, rng):
    data = complex_noise(rng, 3, 8)
    assert is_finite(data)
    assert is_finite(data[:, ::2])
    assert is_finite(data[:, :0])
    data[2, 6] = bad
    assert not is_finite(data)
    assert not is_finite(data[:, ::2])


def test_huge_samples_are_finite():
    assert is_finite(np.full((16, 256), 3e38 + 3e38j, np.complex64))
