import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import MalformedMessageError
from gadgetron.message import make_message
from gadgets.mri_core.remove_ro_oversampling import RemoveROOversamplingGadget
from tests.gadgets.support import (
    acquisition,
    centred_fft,
    centred_ifft,
    complex_noise,
    header_xml,
    is_quiet_after_abort,
    objects,
    relative_difference,
    run,
)

HEADER = header_xml((64, 8, 1), recon=(32, 8, 1))


def test_readouts_are_cropped_and_their_headers_follow(rng):
    data = complex_noise(rng, 3, 64)
    (message,) = run(
        RemoveROOversamplingGadget(),
        [acquisition(data.copy(), center_sample=33, discard_pre=5, discard_post=4)],
        HEADER,
    )
    head, cropped = objects(message)
    expected = centred_fft(centred_ifft(data, (1,))[:, 16:48], (1,))
    assert relative_difference(cropped, expected) < 1e-6
    assert (head.number_of_samples, head.center_sample, head.discard_pre, head.discard_post) == (32, 16, 2, 2)


def test_the_ratio_is_that_of_the_fields_of_view(rng):
    header = header_xml((240, 8, 1), recon=(120, 8, 1), fov=(900.0, 300.0, 6.0), recon_fov=(300.0, 300.0, 6.0))
    (message,) = run(RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 1, 240))], header)
    assert objects(message)[1].shape == (1, 80)


def test_a_ratio_that_is_nearly_whole_loses_no_sample(rng):
    header = header_xml((512, 8, 1), recon=(256, 8, 1), fov=(600.0, 300.0, 6.0), recon_fov=(299.99999, 300.0, 6.0))
    (message,) = run(RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 1, 512))], header)
    assert objects(message)[1].shape == (1, 256)


def test_without_fields_of_view_the_matrices_count(rng):
    header = header_xml((64, 8, 1), recon=(32, 8, 1), fov=(0.0, 1.0, 1.0), recon_fov=(0.0, 1.0, 1.0))
    (message,) = run(RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 1, 64))], header)
    assert objects(message)[1].shape == (1, 32)


@pytest.mark.parametrize("header", [header_xml((64, 8, 1)), header_xml((32, 8, 1), recon=(64, 8, 1)), None])
def test_without_oversampling_or_header_readouts_pass_unchanged(header, rng):
    data = complex_noise(rng, 2, 64)
    (message,) = run(RemoveROOversamplingGadget(), [acquisition(data)], header)
    assert objects(message)[1] is data


def test_noise_keeps_its_bandwidth(rng):
    data = complex_noise(rng, 2, 64)
    (message,) = run(
        RemoveROOversamplingGadget(), [acquisition(data, flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))], HEADER
    )
    assert objects(message)[1] is data
    assert objects(message)[0].number_of_samples == 64


def test_order_is_kept_when_shapes_and_kinds_mix(rng):
    messages = []
    for index in range(40):
        n_coils = 1 + (index // 3) % 2
        flags = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,) if index % 7 == 0 else ()
        messages.append(acquisition(complex_noise(rng, n_coils, 64), scan_counter=index, flags=flags))
    other = make_message("something else")
    messages.insert(20, other)
    results = run(RemoveROOversamplingGadget(), messages, HEADER)
    assert results.pop(20) is other
    assert [objects(message)[0].scan_counter for message in results] == list(range(40))
    for message in results:
        head, data = objects(message)
        assert data.shape == (head.active_channels, head.number_of_samples)


def test_a_trajectory_is_resampled_with_its_readout(rng):
    trajectory = np.linspace(-0.5, 0.5, 64, endpoint=False, dtype=np.float32)[:, np.newaxis]
    (message,) = run(
        RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 1, 64), trajectory=trajectory)], HEADER
    )
    np.testing.assert_allclose(objects(message)[2][:, 0], np.linspace(-0.5, 0.5, 32, endpoint=False), atol=1e-6)


def test_messages_are_charged_their_own_part_of_a_batch(rng):
    results = run(RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 4, 64)) for _ in range(32)], HEADER)
    assert all(message.nbytes < 4 * 32 * 8 + 2048 for message in results)


def test_a_crop_to_nothing_names_the_field(rng):
    header = header_xml((64, 8, 1), recon=(1, 8, 1))
    with pytest.raises(MalformedMessageError, match="number_of_samples"):
        run(RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 1, 32))], header)


def test_an_empty_stream_and_an_abort_give_nothing(rng):
    assert run(RemoveROOversamplingGadget(), [], HEADER) == []
    assert is_quiet_after_abort(RemoveROOversamplingGadget(), [acquisition(complex_noise(rng, 1, 64))], HEADER)
