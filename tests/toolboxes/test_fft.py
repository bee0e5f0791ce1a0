import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetron.toolboxes.fft import PlanCache, TransformPlan, centred_blocks, fft, ifft, warm_up
from tests.gadgets.support import centred_fft, centred_ifft, complex_noise, relative_difference

shapes = st.lists(st.integers(1, 13), min_size=1, max_size=4).map(tuple)


@given(shape=shapes, data=st.data())
@settings(max_examples=40, deadline=None)
def test_transforms_equal_numpy_with_explicit_shifts(shape, data):
    axes = tuple(data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=3, unique=True)))
    x = complex_noise(np.random.default_rng(1), *shape)
    assert relative_difference(fft(x, axes), centred_fft(x, axes)) < 1e-6
    assert relative_difference(ifft(x, axes), centred_ifft(x, axes)) < 1e-6


@pytest.mark.parametrize("n", [1, 2, 3, 31, 64, 97, 120, 255, 256])
def test_every_length_equals_numpy(n, rng):
    x = complex_noise(rng, 3, n)
    assert relative_difference(fft(x, (1,)), centred_fft(x, (1,))) < 1e-6
    assert relative_difference(ifft(x, (-1,)), centred_ifft(x, (1,))) < 1e-6


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (2, 0), (0, 1, 2), (-1, -2)])
def test_energy_is_kept(axes, rng):
    x = complex_noise(rng, 6, 5, 8)
    assert np.linalg.norm(fft(x, axes)) == pytest.approx(np.linalg.norm(x), rel=1e-6)


def test_the_inverse_is_the_adjoint(rng):
    x, y = complex_noise(rng, 4, 7, 9), complex_noise(rng, 4, 7, 9)
    assert np.vdot(fft(x, (1, 2)), y) == pytest.approx(np.vdot(x, ifft(y, (1, 2))), rel=1e-5)
    assert relative_difference(ifft(fft(x, (1, 2)), (1, 2)), x) < 1e-6


@pytest.mark.parametrize("n", [8, 9])
def test_a_point_in_the_middle_has_no_phase(n):
    x = np.zeros(n, np.complex64)
    x[n // 2] = 1
    np.testing.assert_allclose(fft(x, (0,)), np.full(n, 1 / np.sqrt(n)), atol=1e-6)


def test_large_arrays_are_transformed_in_batches(rng):
    x = complex_noise(rng, 300, 4, 128)  # more than a batch, and not a multiple of one
    assert relative_difference(fft(x, (2,)), centred_fft(x, (2,))) < 1e-6
    assert relative_difference(ifft(x, (1, 2)), centred_ifft(x, (1, 2))) < 1e-6


def test_out_may_be_the_input(rng):
    x = complex_noise(rng, 3, 10)
    expected = centred_fft(x, (1,))
    assert fft(x, (1,), out=x) is x
    assert relative_difference(x, expected) < 1e-6


def test_out_of_another_shape_is_refused(rng):
    with pytest.raises(ValueError, match="expected \\(3, 10\\)"):
        fft(complex_noise(rng, 3, 10), (1,), out=np.empty((3, 9), np.complex64))


def test_views_and_other_types_are_taken_and_not_changed(rng):
    x = complex_noise(rng, 8, 6, 4)[::2, :, ::-1]
    before = x.copy()
    assert relative_difference(fft(x, (0, 2)), centred_fft(x, (0, 2))) < 1e-6
    np.testing.assert_array_equal(x, before)
    real = rng.standard_normal((5, 6))
    result = fft(real, (1,))
    assert result.dtype == np.complex64
    assert relative_difference(result, centred_fft(real, (1,))) < 1e-6


def test_empty_arrays_and_no_axes_are_left_alone(rng):
    assert fft(np.empty((0, 4), np.complex64), (1,)).shape == (0, 4)
    x = complex_noise(rng, 3)
    np.testing.assert_array_equal(fft(x, ()), x)


@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_centred_blocks_are_fftshift_and_ifftshift(lengths):
    x = np.arange(math.prod(lengths)).reshape(lengths)
    shifted, unshifted = np.empty_like(x), np.empty_like(x)
    for centred, corner in centred_blocks(lengths):
        shifted[centred] = x[corner]
        unshifted[corner] = x[centred]
    np.testing.assert_array_equal(shifted, np.fft.fftshift(x))
    np.testing.assert_array_equal(unshifted, np.fft.ifftshift(x))


def test_threads_do_not_share_a_plan(rng):
    arrays = [complex_noise(rng, 16, 48) for _ in range(4)]
    expected = [centred_fft(x, (1,)) for x in arrays]
    differences: list[float] = []

    def work(index: int) -> None:
        worst = max(relative_difference(fft(arrays[index], (1,)), expected[index]) for _ in range(100))
        differences.append(worst)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(differences) == len(arrays)
    assert max(differences) < 1e-6


def test_lent_plans_are_different_and_come_back():
    cache = PlanCache()
    with (
        cache.borrow(TransformPlan, (4, 8), (1,), "FFTW_FORWARD") as first,
        cache.borrow(TransformPlan, (4, 8), (1,), "FFTW_FORWARD") as second,
    ):
        assert first is not second
        assert cache.nbytes == 0
    with cache.borrow(TransformPlan, (4, 8), (1,), "FFTW_FORWARD") as third:
        assert third in (first, second)
    assert cache.nbytes == first.nbytes + second.nbytes


def test_the_cache_forgets_what_was_not_used_for_longest():
    n_bytes = 4 * 8 * 8
    cache = PlanCache(max_bytes=2 * n_bytes)
    for direction in ("FFTW_FORWARD", "FFTW_BACKWARD", "FFTW_FORWARD"):
        with cache.borrow(TransformPlan, (4, 8), (1,), direction) as plan:
            kept = plan
    with cache.borrow(TransformPlan, (4, 8), (0,), "FFTW_FORWARD"):
        pass
    assert cache.nbytes <= 2 * n_bytes
    with cache.borrow(TransformPlan, (4, 8), (1,), "FFTW_FORWARD") as plan:
        assert plan is kept


def test_warm_up_makes_plans_ahead():
    warm_up([((2, 6), (1,), "FFTW_FORWARD")])
    assert relative_difference(fft(np.ones((2, 6)), (1,)), centred_fft(np.ones((2, 6)), (1,))) < 1e-6
