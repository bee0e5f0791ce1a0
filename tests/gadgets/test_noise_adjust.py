import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import MalformedMessageError, StorageError
from gadgetron.message import make_message
from gadgetron.toolboxes.noise import NoiseCovariance
from gadgetron.toolboxes.noise_files import parse_noise_file, serialize_sfndam
from gadgets.mri_core.noise_adjust import NoiseAdjustGadget
from gadgets.mri_core.noise_adjust_unoptimized import NoiseAdjustGadget_unoptimized
from tests.gadgets.support import (
    Controller,
    acquisition,
    complex_noise,
    header_xml,
    is_quiet_after_abort,
    objects,
    relative_difference,
    run,
)

NOISE = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
SYSTEM = (
    "<acquisitionSystemInformation><relativeReceiverNoiseBandwidth>0.5</relativeReceiverNoiseBandwidth>"
    "<coilLabel><coilNumber>1</coilNumber><coilName>right</coilName></coilLabel>"
    "<coilLabel><coilNumber>0</coilNumber><coilName>left</coilName></coilLabel>"
    "<coilLabel><coilNumber>2</coilNumber><coilName>top</coilName></coilLabel></acquisitionSystemInformation>"
)
HEADER = header_xml(more=SYSTEM)


def correlated_noise(rng, n_samples, n_coils=3):
    mixing = np.array([[2, 0.5j, 0], [0.3, 1, 0.2j], [1, 0, 5]])[:n_coils, :n_coils]
    return (mixing @ complex_noise(rng, n_coils, n_samples)).astype(np.complex64)


def noise_readouts(rng, n=8, n_samples=512, **fields):
    return [acquisition(correlated_noise(rng, n_samples), flags=NOISE, **fields) for _ in range(n)]


def test_noise_is_consumed_and_the_rest_becomes_white(rng):
    imaging = [acquisition(correlated_noise(rng, 512), scan_counter=i) for i in range(40)]
    results = run(NoiseAdjustGadget(), [*noise_readouts(rng), *imaging], HEADER)
    assert [objects(message)[0].scan_counter for message in results] == list(range(40))
    white = np.concatenate([objects(message)[1] for message in results], axis=1)
    np.testing.assert_allclose(np.cov(white), np.eye(3), atol=0.1)


def test_the_whitener_is_that_of_the_measured_covariance(rng):
    noise = noise_readouts(rng, sample_time_us=5.0)
    samples = np.concatenate([objects(message)[1] for message in noise], axis=1).astype(complex)
    data = complex_noise(rng, 3, 20)
    (message,) = run(NoiseAdjustGadget(), [*noise, acquisition(data.copy(), sample_time_us=10.0)], HEADER)
    covariance = samples.conj() @ samples.T / (samples.shape[1] - 1)
    whitener = np.linalg.inv(np.linalg.cholesky(covariance).conj().T) * np.sqrt(2 * 10 / 5 * 0.5)
    assert relative_difference(objects(message)[1], whitener.T @ data) < 1e-5


def test_the_dwell_time_can_be_set(rng):
    def result(**properties):
        generator = np.random.default_rng(3)
        noise = noise_readouts(generator, sample_time_us=5.0)
        imaging = acquisition(complex_noise(generator, 3, 8), sample_time_us=5.0)
        return objects(run(NoiseAdjustGadget(**properties), [*noise, imaging], HEADER)[0])[1]

    assert relative_difference(result(noise_dwell_time_us_preset=1.25), 2 * result()) < 1e-5


def test_without_noise_readouts_pass_unchanged(rng):
    data = complex_noise(rng, 3, 8)
    (message,) = run(NoiseAdjustGadget(), [acquisition(data)], header_xml())
    assert objects(message)[1] is data


@pytest.mark.parametrize("class_", [NoiseAdjustGadget, NoiseAdjustGadget_unoptimized])
@pytest.mark.parametrize("flag", [ismrmrd.ACQ_IS_DUMMYSCAN_DATA, ismrmrd.ACQ_IS_NAVIGATION_DATA])
def test_readouts_that_are_no_image_do_not_end_the_noise_scan(class_, flag):
    def result(*, with_others):
        rng = np.random.default_rng(2)
        noise = noise_readouts(rng, sample_time_us=5.0)
        messages = [*noise, acquisition(complex_noise(rng, 3, 8), sample_time_us=5.0)]
        if with_others:
            messages.insert(0, acquisition(complex_noise(rng, 3, 8), flags=(flag,), sample_time_us=1.0))
            messages.insert(-1, acquisition(complex_noise(rng, 3, 8), flags=(flag,), sample_time_us=1.0))
        return run(class_(), messages, HEADER)

    (expected,) = result(with_others=False)
    results = result(with_others=True)
    assert len(results) == 3
    np.testing.assert_array_equal(objects(results[-1])[1], objects(expected)[1])


@pytest.mark.parametrize("class_", [NoiseAdjustGadget, NoiseAdjustGadget_unoptimized])
def test_noise_that_is_all_zero_is_no_noise_scan(class_, rng, tmp_path, capsys):
    silence = [acquisition(np.zeros((3, 64), np.complex64), flags=NOISE) for _ in range(4)]
    data = complex_noise(rng, 3, 8)
    gadget = class_()
    controller = Controller(tmp_path)
    (message,) = run(gadget, [*silence, acquisition(data.copy(), sample_time_us=5.0)], HEADER, controller=controller)
    np.testing.assert_array_equal(objects(message)[1], data)
    assert not getattr(gadget, "is_noise_adjusted", False)
    assert "noise.all_zero" in capsys.readouterr().out
    assert run(class_(), silence, HEADER, controller=controller) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("class_", [NoiseAdjustGadget, NoiseAdjustGadget_unoptimized])
def test_noise_that_is_not_finite_is_left_out(class_):
    def result(*bad):
        rng = np.random.default_rng(2)
        messages = [*noise_readouts(rng), *bad, acquisition(complex_noise(rng, 3, 8))]
        return objects(run(class_(), messages, HEADER)[0])[1]

    bad = acquisition(np.full((3, 64), np.inf, np.complex64), flags=NOISE)
    np.testing.assert_array_equal(result(bad), result())


def test_noise_after_the_first_image_line_is_dropped(rng):
    data = complex_noise(rng, 3, 8)
    messages = [acquisition(data), *noise_readouts(rng), acquisition(data)]
    results = run(NoiseAdjustGadget(), messages, HEADER)
    assert [objects(message)[1] is data for message in results] == [True, True]


def test_nothing_is_adjusted_if_not_wanted(rng):
    data = complex_noise(rng, 3, 8)
    gadget = NoiseAdjustGadget(perform_noise_adjust=False)
    (message,) = run(gadget, [*noise_readouts(rng), acquisition(data)], HEADER)
    assert objects(message)[1] is data


def test_readouts_of_another_coil_count_pass_or_fail(rng):
    data = complex_noise(rng, 2, 8)
    (message,) = run(NoiseAdjustGadget(), [*noise_readouts(rng), acquisition(data)], HEADER)
    assert objects(message)[1] is data
    with pytest.raises(MalformedMessageError, match="active_channels \\(2\\): 3 expected"):
        run(NoiseAdjustGadget(pass_nonconformant_data=False), [*noise_readouts(rng), acquisition(data)], HEADER)


def test_a_coil_count_that_changes_within_the_noise_names_the_field(rng):
    messages = [*noise_readouts(rng), acquisition(complex_noise(rng, 2, 8), flags=NOISE)]
    with pytest.raises(MalformedMessageError, match="active_channels"):
        run(NoiseAdjustGadget(), messages, HEADER)


def test_some_channels_are_only_scaled(rng):
    data = complex_noise(rng, 3, 8)
    gadget = NoiseAdjustGadget(scale_only_channels_by_name="right, nobody")
    (message,) = run(gadget, [*noise_readouts(rng), acquisition(data.copy())], HEADER)
    ratio = objects(message)[1][1] / data[1]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_noise_that_is_no_noise_changes_nothing(rng):
    copies = np.repeat(complex_noise(rng, 1, 64), 3, axis=0)
    data = complex_noise(rng, 3, 8)
    (message,) = run(NoiseAdjustGadget(), [acquisition(copies, flags=NOISE), acquisition(data)], HEADER)
    assert objects(message)[1] is data


def write_covariance(path, matrix, labels):
    path.write_bytes(serialize_sfndam(NoiseCovariance(np.array(matrix, complex), 0.0, tuple(labels)), 0.793))


def test_a_stored_covariance_wins_and_follows_the_channel_names(tmp_path, rng):
    write_covariance(tmp_path / "noise", np.diag([4.0, 1.0, 25.0]), ["right", "top", "left"])
    data = complex_noise(rng, 3, 8)
    controller = Controller(noisecovariancein=str(tmp_path / "noise"))
    (message,) = run(
        NoiseAdjustGadget(), [*noise_readouts(rng), acquisition(data.copy())], HEADER, controller=controller
    )
    expected = data / np.array([[5.0], [2.0], [1.0]])  # left, right, top
    assert relative_difference(objects(message)[1], expected) < 1e-6


def test_a_stored_covariance_of_other_channels_is_refused(tmp_path, rng):
    write_covariance(tmp_path / "noise", np.eye(3), ["a", "b", "c"])
    controller = Controller(noisecovariancein=str(tmp_path / "noise"))
    with pytest.raises(MalformedMessageError, match="coilLabel"):
        run(NoiseAdjustGadget(), [acquisition(complex_noise(rng, 3, 8))], HEADER, controller=controller)


@pytest.mark.parametrize("content", [None, b"", b"SFNDAM"])
def test_a_stored_covariance_that_cannot_be_read_is_an_error_without_a_path(content, tmp_path):
    if content is not None:
        (tmp_path / "noise").write_bytes(content)
    controller = Controller(noisecovariancein=str(tmp_path / "noise"))
    with pytest.raises(StorageError, match="noisecovariancein") as raised:
        run(NoiseAdjustGadget(), [], HEADER, controller=controller)
    assert str(tmp_path) not in raised.value.client_text


def measurement(measurement_id="", depends_on=""):
    dependency = (
        "<measurementDependency><dependencyType>noise</dependencyType>"
        f"<measurementID>{depends_on}</measurementID></measurementDependency>"
    )
    own = f"<measurementID>{measurement_id}</measurementID>" if measurement_id else ""
    return f"<measurementInformation>{own}{dependency if depends_on else ''}</measurementInformation>"


def test_a_missing_dependency_is_a_warning_with_its_id(tmp_path, capsys):
    run(NoiseAdjustGadget(), [], header_xml(more=measurement("", "id_4711")), controller=Controller(tmp_path))
    output = "".join(capsys.readouterr())
    assert "noise_dependency.not_found" in output
    assert "id_4711" in output


def stored(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("with_images", [False, True])
def test_measured_noise_is_stored(with_images, tmp_path, rng):
    noise = noise_readouts(rng, sample_time_us=5.0)
    samples = np.concatenate([objects(message)[1] for message in noise], axis=1).astype(complex)
    xml = header_xml(more=measurement("1_2_3") + SYSTEM)
    images = [acquisition(complex_noise(rng, 3, 8)) for _ in range(3)] if with_images else []
    run(NoiseAdjustGadget(), [*noise, *images], xml, controller=Controller(tmp_path))
    assert stored(tmp_path) == ["GadgetronNoiseCovarianceMatrix_1_2_3"]
    file = parse_noise_file((tmp_path / stored(tmp_path)[0]).read_bytes())
    covariance = samples.conj() @ samples.T / (samples.shape[1] - 1)
    assert relative_difference(file.noise.covariance, covariance) < 1e-6
    assert (file.noise.dwell_time_us, file.header_xml) == (5.0, xml.encode())


def test_without_a_measurement_id_noise_is_stored_under_the_measurement_uid(tmp_path, rng):
    run(NoiseAdjustGadget(), noise_readouts(rng, measurement_uid=77), HEADER, controller=Controller(tmp_path))
    assert stored(tmp_path) == ["GadgetronNoiseCovarianceMatrix_77"]


@pytest.mark.parametrize(("stored_as", "depends_on"), [("1_2_3", "1_2_3"), ("1_2_9", "9")])
def test_a_dependent_scan_is_whitened_by_the_stored_noise(stored_as, depends_on, tmp_path, rng):
    controller = Controller(tmp_path)
    noise = noise_readouts(rng, sample_time_us=5.0)
    data = complex_noise(rng, 3, 20)

    def result(messages, xml):
        imaging = acquisition(data.copy(), sample_time_us=10.0)
        return objects(run(NoiseAdjustGadget(), [*messages, imaging], xml, controller=controller)[0])[1]

    expected = result(noise, header_xml(more=measurement(stored_as) + SYSTEM))
    dependent = header_xml(more=measurement("1_2_4", depends_on) + SYSTEM)
    assert relative_difference(result([], dependent), expected) < 1e-6
    # The stored noise wins over noise readouts of the scan itself, which is stored nowhere.
    assert relative_difference(result(noise_readouts(rng), dependent), expected) < 1e-6
    assert stored(tmp_path) == [f"GadgetronNoiseCovarianceMatrix_{stored_as}"]


def test_noise_can_be_kept_in_a_file_of_the_users_choice(tmp_path, rng):
    file = tmp_path / "out" / "noise.bin"
    controller = Controller(tmp_path / "work", noisecovarianceout=str(file))
    run(NoiseAdjustGadget(), noise_readouts(rng, sample_time_us=5.0), HEADER, controller=controller)
    noise = parse_noise_file(file.read_bytes()).noise
    assert noise[1:] == (5.0, ("left", "right", "top"), 8 * 512)
    data = complex_noise(rng, 3, 8)
    controller = Controller(tmp_path / "work", noisecovariancein=str(file))
    (message,) = run(NoiseAdjustGadget(), [acquisition(data.copy())], HEADER, controller=controller)
    assert relative_difference(objects(message)[1], data) > 0.1


def test_stored_noise_that_cannot_be_read_is_as_good_as_none(tmp_path, rng, capsys):
    (tmp_path / "GadgetronNoiseCovarianceMatrix_5").write_bytes(b"what")
    data = complex_noise(rng, 3, 8)
    xml = header_xml(more=measurement("", "5"))
    (message,) = run(NoiseAdjustGadget(), [acquisition(data)], xml, controller=Controller(tmp_path))
    assert objects(message)[1] is data
    assert "noise_dependency.not_usable" in "".join(capsys.readouterr())


def test_images_do_not_need_the_storage_but_a_noise_scan_does(tmp_path, rng):
    (tmp_path / "file").write_bytes(b"")
    controller = Controller(tmp_path / "file")
    messages = [*noise_readouts(rng), acquisition(complex_noise(rng, 3, 8))]
    assert len(run(NoiseAdjustGadget(), messages, HEADER, controller=controller)) == 1
    with pytest.raises(StorageError, match="cannot be stored"):
        run(NoiseAdjustGadget(), noise_readouts(rng), HEADER, controller=controller)


def test_order_is_kept_when_shapes_mix_and_others_pass_by(rng):
    messages = [acquisition(complex_noise(rng, 3, 8 + i % 2), scan_counter=i) for i in range(20)]
    other = make_message(1)
    results = run(NoiseAdjustGadget(), [*noise_readouts(rng), *messages[:9], other, *messages[9:]], HEADER)
    assert results.pop(9) is other
    assert [objects(message)[0].scan_counter for message in results] == list(range(20))


def test_an_empty_stream_and_an_abort_give_nothing(rng):
    assert run(NoiseAdjustGadget(), [], HEADER) == []
    assert is_quiet_after_abort(NoiseAdjustGadget(), noise_readouts(rng), HEADER)
