import numpy as np
import pytest

from gadgetron.toolboxes.resize import crop_centred, pad_centred, resize_image
from tests.gadgets.support import complex_noise, relative_difference


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("n_padded", [8, 9])
def test_padding_keeps_the_center_and_cropping_undoes_it(n, n_padded, rng):
    array = complex_noise(rng, 3, n)
    padded = pad_centred(array, (n_padded,))
    np.testing.assert_array_equal(padded[:, n_padded // 2], array[:, n // 2])
    assert np.count_nonzero(padded) == array.size
    np.testing.assert_array_equal(crop_centred(padded, (n,)), array)


def test_a_finer_grid_keeps_pixel_values(rng):
    images = complex_noise(rng, 2, 1, 8, 6)
    finer = resize_image(images, (1, 16, 18))
    assert finer.shape == (2, 1, 16, 18)
    np.testing.assert_allclose(finer[:, :, ::2, ::3], images, atol=1e-5)


def test_a_finer_grid_keeps_pixel_values_in_3d(rng):
    images = complex_noise(rng, 4, 6, 8)
    np.testing.assert_allclose(resize_image(images, (8, 6, 16))[::2, :, ::2], images, atol=1e-5)


def test_a_coarser_grid_keeps_the_noise_level(rng):
    coarser = resize_image(complex_noise(rng, 64, 64), (32, 48))
    assert np.mean(np.abs(coarser) ** 2) == pytest.approx(2, rel=0.1)


def test_there_and_back_gives_the_image(rng):
    images = complex_noise(rng, 12, 10)
    there = resize_image(images, (24, 20))
    back = resize_image(there, (12, 10)) / 2
    assert relative_difference(back, images) < 1e-6


def test_nothing_to_do_gives_the_same_array(rng):
    images = complex_noise(rng, 2, 4, 4)
    assert resize_image(images, (4, 4)) is images
