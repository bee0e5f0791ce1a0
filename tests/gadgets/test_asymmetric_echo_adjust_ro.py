import ismrmrd
import numpy as np
import pytest

from gadgets.mri_core.asymmetric_echo_adjust_ro import AsymmetricEchoAdjustROGadget
from tests.gadgets.support import acquisition, complex_noise, header_xml, objects, run

HEADER = header_xml((64, 8, 1))


@pytest.mark.parametrize(
    ("center", "start", "discards"), [(8, 24, (24, 0)), (30, 0, (0, 24))], ids=["early echo", "late echo"]
)
def test_readouts_are_extended_on_the_side_that_is_missing(center, start, discards, rng):
    data = complex_noise(rng, 2, 40)
    (message,) = run(AsymmetricEchoAdjustROGadget(), [acquisition(data, center_sample=center)], HEADER)
    head, padded = objects(message)
    assert padded.shape == (2, 64)
    np.testing.assert_array_equal(padded[:, start : start + 40], data)
    assert np.count_nonzero(padded) == data.size
    assert (head.number_of_samples, head.center_sample) == (64, 32)
    assert (head.discard_pre, head.discard_post) == discards


@pytest.mark.parametrize(
    ("n_samples", "center", "flags"),
    [(40, 20, ()), (40, 40, ()), (64, 10, ()), (80, 10, ()), (40, 8, (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))],
)
def test_other_readouts_pass_unchanged(n_samples, center, flags, rng):
    data = complex_noise(rng, 2, n_samples)
    (message,) = run(AsymmetricEchoAdjustROGadget(), [acquisition(data, center_sample=center, flags=flags)], HEADER)
    head, same = objects(message)
    assert same is data
    assert (head.number_of_samples, head.center_sample) == (n_samples, center)


def test_the_trajectory_keeps_its_length_with_the_readout(rng):
    trajectory = np.linspace(-0.2, 0.5, 40, dtype=np.float32)[:, np.newaxis]
    message = acquisition(complex_noise(rng, 2, 40), center_sample=8, trajectory=trajectory)
    (message,) = run(AsymmetricEchoAdjustROGadget(), [message], HEADER)
    extended = objects(message)[2]
    assert extended.shape == (64, 1)
    np.testing.assert_array_equal(extended[24:], trajectory)
    assert (extended[:24] == trajectory[0]).all()


def test_an_unknown_encoding_space_and_a_missing_header_change_nothing(rng):
    data = complex_noise(rng, 2, 40)
    (message,) = run(AsymmetricEchoAdjustROGadget(), [acquisition(data, center_sample=8, encoding_space_ref=3)], HEADER)
    assert objects(message)[1] is data
    assert len(run(AsymmetricEchoAdjustROGadget(), [acquisition(data, center_sample=8)])) == 1
    assert run(AsymmetricEchoAdjustROGadget(), [], HEADER) == []
