"""Files of noise covariances: the layouts of both versions, byte for byte, and what is no such file."""

import json
import struct

import numpy as np
import pytest

from gadgetron.toolboxes.noise import NoiseCovariance
from gadgetron.toolboxes.noise_files import parse_noise_file, serialize_noise_file, serialize_sfndam
from tests.gadgets.support import complex_noise

XML = b"<ismrmrdHeader/>"


def sfndam(matrix, meta):
    text = json.dumps(meta).encode()
    head = struct.pack("<6sIIIQQQ", b"SFNDAM", 1, 7, 2, *matrix.shape, len(text))
    return head + matrix.T.astype(np.complex64).tobytes() + text


def version_3(matrix, xml=XML, dwell_time_us=2.5):
    array = struct.pack("<QQQ", 2, *matrix.shape) + matrix.T.astype(np.complex64).tobytes()
    return struct.pack("<I", len(xml)) + xml + struct.pack("<fQ", dwell_time_us, len(array)) + array


def test_version_3_is_read_and_written(rng):
    matrix = complex_noise(rng, 3, 3)
    file = parse_noise_file(version_3(matrix))
    np.testing.assert_array_equal(file.noise.covariance, matrix)
    assert (file.noise.dwell_time_us, file.noise.labels, file.header_xml) == (2.5, (), XML)
    assert serialize_noise_file(file.noise, XML) == version_3(matrix)


def test_sfndam_is_read_and_written(rng):
    matrix = complex_noise(rng, 3, 3)
    meta = {
        "channels": 3,
        "labels": ["a", "b", "c"],
        "sampleCount": 512,
        "noiseDwellTimeUs": 2.5,
        "receiverNoiseBandwidth": 0.7,
    }
    file = parse_noise_file(sfndam(matrix, meta))
    np.testing.assert_array_equal(file.noise.covariance, matrix)
    assert file.noise[1:] == (2.5, ("a", "b", "c"), 512)
    assert file.header_xml == b""
    assert serialize_sfndam(file.noise, 0.7) == sfndam(matrix, meta)


@pytest.mark.parametrize("dwell_time_us", [-1.0, 0.0, np.nan, np.inf])
def test_a_dwell_time_that_is_none_is_unknown(dwell_time_us):
    assert parse_noise_file(version_3(np.eye(2), dwell_time_us=dwell_time_us)).noise.dwell_time_us == 0.0


@pytest.mark.parametrize(
    "data", [version_3(np.eye(2)), sfndam(np.eye(2), {"noiseDwellTimeUs": 1.0})], ids=["version 3", "sfndam"]
)
def test_what_is_cut_off_anywhere_is_refused(data):
    for length in range(len(data)):
        with pytest.raises(ValueError, match="not a noise covariance"):
            parse_noise_file(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        version_3(np.ones((2, 3))),
        version_3(np.ones((0, 0))),
        version_3(np.eye(2)).replace(struct.pack("<QQ", 2, 2), struct.pack("<QQ", 2**40, 2**40)),
        struct.pack("<I", 2**32 - 1) + bytes(100),
        sfndam(np.ones((2, 3)), {"noiseDwellTimeUs": 1.0}),
        sfndam(np.eye(2), {}),
        sfndam(np.eye(2), [1]),
        sfndam(np.eye(2), {"noiseDwellTimeUs": 1.0}).replace(b"SFNDAM\x01", b"SFNDAM\x02"),
    ],
    ids=range(8),
)
def test_what_is_something_else_is_refused(data):
    with pytest.raises(ValueError, match="not a noise covariance"):
        parse_noise_file(data)


def test_a_file_of_ours_is_read_back(rng):
    matrix = complex_noise(rng, 4, 4).astype(np.complex128)
    noise = NoiseCovariance(matrix @ matrix.conj().T, 5.0)
    np.testing.assert_allclose(parse_noise_file(serialize_noise_file(noise, XML)).noise.covariance, noise.covariance)
