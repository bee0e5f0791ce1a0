import json
import struct

import numpy as np
import pytest

from gadgetron.toolboxes.noise import noise_scale, parse_noise_covariance, prewhitener
from tests.gadgets.support import complex_noise


def correlated(rng, n_channels, n_samples):
    mixing = complex_noise(rng, n_channels, n_channels).astype(np.complex128)
    return complex_noise(rng, n_samples, n_channels) @ mixing


@pytest.mark.parametrize("n_channels", [1, 2, 8, 32])
def test_whitened_noise_has_unit_covariance(n_channels, rng):
    samples = correlated(rng, n_channels, 2000)
    covariance = samples.conj().T @ samples / 1999
    white = samples @ prewhitener(covariance)
    np.testing.assert_allclose(white.conj().T @ white / 1999, np.eye(n_channels), atol=1e-9)


def test_the_whitener_is_upper_triangular(rng):
    samples = correlated(rng, 5, 500)
    matrix = prewhitener(samples.conj().T @ samples)
    np.testing.assert_array_equal(matrix, np.triu(matrix))


def test_no_covariance_is_no_whitening():
    np.testing.assert_array_equal(prewhitener(np.zeros((3, 3))), np.eye(3))


def test_a_channel_without_noise_is_left_alone(rng):
    covariance = np.diag([4.0, 0.0, 9.0])
    np.testing.assert_allclose(prewhitener(covariance), np.diag([0.5, 1.0, 1 / 3]))


@pytest.mark.parametrize("covariance", [np.full((2, 2), np.nan), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_what_is_no_covariance_is_refused(covariance):
    with pytest.raises(ValueError, match="noise covariance"):
        prewhitener(covariance)


def test_scale_follows_the_bandwidths():
    assert noise_scale(5.0, 5.0, None) == pytest.approx(np.sqrt(2 * 0.793))
    assert noise_scale(10.0, 5.0, 1.0) == pytest.approx(2.0)
    assert noise_scale(0.0, 5.0, 0.8) == 1.0
    assert noise_scale(5.0, 0.0, 0.8) == 1.0


def stored(matrix, meta):
    text = json.dumps(meta).encode()
    head = struct.pack("<6sIIIQQQ", b"SFNDAM", 1, 7, 2, *matrix.shape, len(text))
    return head + matrix.T.astype(np.complex64).tobytes() + text


def test_a_stored_covariance_is_read(rng):
    matrix = complex_noise(rng, 3, 3)
    meta = {"channels": 3, "labels": ["a", "b", "c"], "noiseDwellTimeUs": 2.5}
    noise = parse_noise_covariance(stored(matrix, meta))
    np.testing.assert_array_equal(noise.covariance, matrix)
    assert (noise.dwell_time_us, noise.labels) == (2.5, ("a", "b", "c"))


def test_a_stored_covariance_that_is_cut_or_wrong_is_refused(rng):
    data = stored(complex_noise(rng, 2, 2), {"noiseDwellTimeUs": 1.0})
    for n in range(0, len(data), 7):
        with pytest.raises(ValueError, match="not a noise covariance"):
            parse_noise_covariance(data[:n])
    with pytest.raises(ValueError, match="not a noise covariance"):
        parse_noise_covariance(b"X" + data[1:])
    with pytest.raises(ValueError, match="not a noise covariance"):
        parse_noise_covariance(stored(complex_noise(rng, 2, 2), {}))
