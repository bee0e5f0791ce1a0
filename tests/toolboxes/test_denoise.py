"""Denoising: less noise, edges as before, and the formulas word by word on small images."""

import numpy as np
import pytest

from gadgetron.toolboxes.denoise import non_local_bayes, non_local_means
from tests.gadgets.support import complex_noise, relative_difference


def boxes(n=48, contrast=20.0):
    image = np.zeros((n, n), np.float32)
    image[n // 4 : n // 2, n // 4 : -n // 4] = contrast
    image[n // 2 : -n // 4, n // 3 : n // 2] = contrast / 2
    return image


@pytest.mark.parametrize("denoise", [non_local_bayes, non_local_means])
@pytest.mark.parametrize("is_complex", [False, True])
def test_noise_goes_and_edges_stay(denoise, is_complex, rng):
    clean = boxes() * (np.exp(0.7j) if is_complex else 1)
    noise = complex_noise(rng, 48, 48) / np.sqrt(2) if is_complex else rng.standard_normal((48, 48))
    noisy = (clean + noise).astype(np.complex64 if is_complex else np.float32)
    result = denoise(noisy, 1.0, 15)
    assert result.dtype == noisy.dtype
    assert np.linalg.norm(result - clean) < 0.65 * np.linalg.norm(noisy - clean)
    step = np.abs(result[12 + 4] - result[4]).max()
    assert step > 18


def bayes_word_by_word(image, noise_std, width):
    """The algorithm of the C++ Gadgetron, one pixel and one patch at a time."""
    n_y, n_x = image.shape
    total, count = np.zeros((n_y, n_x), np.complex128), np.zeros((n_y, n_x))
    is_open = np.ones((n_y, n_x), bool)

    def patch(y, x):
        return np.array([image[(y + j) % n_y, (x + i) % n_x] for j in range(-2, 3) for i in range(-2, 3)])

    for y in range(n_y):
        for x in range(n_x):
            if not is_open[y, x]:
                continue
            half = width // 2
            centers = [
                (b, a)
                for b in range(max(y - half, 0), min(y + half, n_y))
                for a in range(max(x - half, 0), min(x + half, n_x))
            ]
            centers.sort(key=lambda c: np.linalg.norm(patch(*c) - patch(y, x)))
            centers = centers[:50]
            group = np.array([patch(*c) for c in centers])
            mean = group.mean(axis=0)
            n = len(group)
            if group.var(axis=1, ddof=1).sum() * n / (n - 1) < 1.1 * noise_std**2:
                group = np.full_like(group, mean.mean())
            else:
                deviation = group - mean
                covariance = sum(np.outer(d, d.conj()) for d in deviation) / (n - 1)
                filter_ = np.linalg.inv(covariance + noise_std**2 * np.eye(25)) @ covariance
                group = np.array([mean + filter_ @ d for d in deviation])
            for (b, a), values in zip(centers, group, strict=True):
                is_open[b, a] = False
                for k, value in enumerate(values):
                    place = (b + k // 5 - 2) % n_y, (a + k % 5 - 2) % n_x
                    total[place] += value
                    count[place] += 1
    return total / count


@pytest.mark.parametrize(("noise_std", "width"), [(1.0, 9), (0.2, 4), (10.0, 5), (3.0, 20)])
def test_bayes_is_what_its_description_says(noise_std, width, rng):
    image = (boxes(20, 5.0) + complex_noise(rng, 20, 20)).astype(np.complex64)
    expected = bayes_word_by_word(image.astype(np.complex128), noise_std, width)
    assert relative_difference(non_local_bayes(image, noise_std, width), expected) < 1e-4


def test_means_are_what_their_description_says(rng):
    image = (boxes(12, 3.0) + complex_noise(rng, 12, 12)).astype(np.complex64)
    expected = np.zeros_like(image)
    patches = {s: np.roll(image, s, (0, 1)) for s in [(j, i) for j in range(-2, 3) for i in range(-2, 3)]}
    stack = np.stack(list(patches.values()))
    for y in range(12):
        for x in range(12):
            weights, values = [], []
            for dy in range(-3, 3):
                for dx in range(-3, 3):
                    b, a = (y + dy) % 12, (x + dx) % 12
                    distance = (np.abs(stack[:, y, x] - stack[:, b, a]) ** 2).sum()
                    weights.append(np.exp(-distance / (25 * 1.5**2)))
                    values.append(image[b, a])
            expected[y, x] = np.dot(weights, values) / np.sum(weights)
    assert relative_difference(non_local_means(image, 1.5, 3), expected) < 1e-5


@pytest.mark.parametrize("denoise", [non_local_bayes, non_local_means])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (6, 5)])
def test_small_black_and_odd_images_are_no_trouble(denoise, shape, rng):
    assert not denoise(np.zeros(shape, np.complex64), 1.0, 5).any()
    noise = complex_noise(rng, *shape)
    assert np.isfinite(denoise(noise, 1.0, 5)).all()
    np.testing.assert_allclose(denoise(noise, 0.0, 2), noise, rtol=0.2, atol=0.2)


@pytest.mark.parametrize("denoise", [non_local_bayes, non_local_means])
def test_values_that_are_not_finite_do_not_stop_it(denoise, rng):
    image = rng.standard_normal((12, 12)).astype(np.float32)
    image[3, 3] = np.nan
    assert denoise(image, 1.0, 4).shape == (12, 12)


@pytest.mark.parametrize("denoise", [non_local_bayes, non_local_means])
def test_it_can_be_stopped(denoise, rng):
    image = complex_noise(rng, 10, 10)
    np.testing.assert_array_equal(denoise(image, 1.0, 4, lambda: True), image)
