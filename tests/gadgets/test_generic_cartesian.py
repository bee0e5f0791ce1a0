"""The generic Cartesian chain on small scans of known images: what comes out, its numbers, and what is refused."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import MalformedMessageError
from gadgetron.message import make_message
from gadgetron.recon_types import ImageArray, empty_objects
from gadgetron.toolboxes import phantom
from gadgetron.toolboxes.images import intensity_scale
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.augment_image_metadata import AugmentImageMetadataGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from gadgets.mri_core.generic_recon_cartesian_fft import GenericReconCartesianFFTGadget
from gadgets.mri_core.generic_recon_cartesian_grappa import GenericReconCartesianGrappaGadget
from gadgets.mri_core.generic_recon_cartesian_reference_prep import GenericReconCartesianReferencePrepGadget
from gadgets.mri_core.generic_recon_cartesian_spirit import GenericReconCartesianSpiritGadget
from gadgets.mri_core.generic_recon_eigen_channel import GenericReconEigenChannelGadget
from gadgets.mri_core.generic_recon_field_of_view_adjustment import GenericReconFieldOfViewAdjustmentGadget
from gadgets.mri_core.generic_recon_image_array_scaling import GenericReconImageArrayScalingGadget
from gadgets.mri_core.generic_recon_kspace_filtering import GenericReconKSpaceFilteringGadget
from gadgets.mri_core.generic_recon_noise_std_map_computing import GenericReconNoiseStdMapComputingGadget
from gadgets.mri_core.generic_recon_partial_fourier_handling_filter import (
    GenericReconPartialFourierHandlingFilterGadget,
)
from gadgets.mri_core.generic_recon_partial_fourier_handling_pocs import GenericReconPartialFourierHandlingPOCSGadget
from tests.gadgets.support import (
    PARALLEL,
    Controller,
    acquisition,
    centred_fft,
    complex_noise,
    header_xml,
    image,
    objects,
    relative_difference,
    run,
)
from tests.toolboxes.test_coil_maps import smooth_sensitivities

N = 48
CALIBRATION = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
BOTH = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,)


def coil_kspace(n_coils=6, scale=1.0):
    y, x = np.meshgrid(np.linspace(-1, 1, N), np.linspace(-1, 1, N), indexing="ij")
    magnitude = scale * ((y / 0.8) ** 2 + (x / 0.7) ** 2 < 1) * (1 + 0.3 * np.cos(5 * x))
    coils = smooth_sensitivities(n_coils, (1, N, N)) * magnitude
    return magnitude, centred_fft(coils, (1, 2, 3)).astype(np.complex64)


def lines(kspace, steps, **fields):
    return [acquisition(np.array(kspace[:, 0, y]), kspace_encode_step_1=y, **fields) for y in steps]


def header(**more):
    return header_xml(matrix=(N, N, 1), **more)


def buffers(**properties):
    return [AcquisitionAccumulateTriggerGadget(), BucketToBufferGadget(**properties)]


def arrays(messages):
    return [objects(message)[0] for message in messages]


def embedded(kspace, **fields):
    messages = []
    for y in range(N):
        in_center = 14 <= y < 34
        if y % 2 == 0:
            messages += lines(kspace, [y], flags=BOTH if in_center else (), **fields)
        elif in_center:
            messages += lines(kspace, [y], flags=CALIBRATION, **fields)
    return messages


@pytest.mark.parametrize(
    "recon",
    [GenericReconCartesianFFTGadget, GenericReconCartesianGrappaGadget, GenericReconCartesianSpiritGadget],
)
def test_full_scans_give_the_image_in_the_units_of_kspace(recon):
    magnitude, kspace = coil_kspace()
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconEigenChannelGadget(), recon()]
    (array,) = arrays(run(chain, lines(kspace, range(N)), header()))
    assert array.data.shape == (1, 1, 1, 1, 1, N, N)
    assert array.data.dtype == np.complex64
    assert relative_difference(np.abs(array.data[0, 0, 0, 0, 0]), magnitude) < 0.02
    assert array.headers[0, 0, 0].image_series_index == 1
    assert array.meta[0, 0, 0]["GADGETRON_DataRole"] == "Image"


def test_grappa_fills_missing_lines_in():
    magnitude, kspace = coil_kspace()
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconEigenChannelGadget()]
    recon = GenericReconCartesianGrappaGadget(downstream_coil_compression=False)
    scan = embedded(kspace)
    (array,) = arrays(run([*chain, recon], scan, header(parallel=PARALLEL.format(mode="embedded"))))
    found = np.abs(array.data[0, 0, 0, 0, 0])
    factor = np.vdot(found, magnitude) / np.vdot(found, found)
    assert relative_difference(found * factor, magnitude) < 0.06
    assert factor == pytest.approx(np.sqrt(2), rel=0.03)  # in units of noise half the lines have 1/√2 of the signal


@pytest.mark.parametrize("n", [N - 1, N + 1])
def test_grappa_does_as_well_on_an_odd_number_of_lines(n):
    coils = phantom.coil_sensitivities(6, 1, n, N) * phantom.shepp_logan(n, N).reshape(1, 1, n, N)
    kspace = centred_fft(coils, (1, 2, 3)).astype(np.complex64)
    calibration = range(n // 2 - 10, n // 2 + 10)
    scan = lines(kspace, [y for y in range(0, n, 2) if y not in calibration])
    scan += lines(kspace, [y for y in calibration if y % 2 == 0], flags=BOTH)
    scan += lines(kspace, [y for y in calibration if y % 2], flags=CALIBRATION)

    def image(messages, parallel="", **properties):
        recon = GenericReconCartesianGrappaGadget(downstream_coil_compression=False, **properties)
        xml = header_xml(matrix=(N, n, 1), parallel=parallel)
        (array,) = arrays(run([*buffers(), GenericReconCartesianReferencePrepGadget(), recon], messages, xml))
        return np.abs(array.data[0, 0, 0, 0, 0])

    def difference(**properties):
        found = image(scan, PARALLEL.format(mode="embedded"), **properties)
        return relative_difference(found * np.vdot(found, full) / np.vdot(found, found), full)

    full = image(lines(kspace, range(n)))
    assert difference() < 0.02
    assert difference(let_kspace_wrap_around=True) > 0.03


def test_spirit_fills_missing_lines_in():
    magnitude, kspace = coil_kspace()
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconEigenChannelGadget()]
    recon = GenericReconCartesianSpiritGadget()
    (array,) = arrays(run([*chain, recon], embedded(kspace), header(parallel=PARALLEL.format(mode="embedded"))))
    found = np.abs(array.data[0, 0, 0, 0, 0])
    factor = np.vdot(found, magnitude) / np.vdot(found, found)
    assert relative_difference(found * factor, magnitude) < 0.06
    assert factor == pytest.approx(1 / np.sqrt(2), rel=0.03)  # scaled by the root of the undersampling, 2


@pytest.mark.parametrize("n_averages", [1, 4])
def test_noise_of_one_stays_one_in_snr_maps_with_and_without_acceleration(n_averages, rng):
    _, kspace = coil_kspace(scale=50.0)
    for mode in ("none", "embedded"):
        messages = []
        for repetition, average in np.ndindex(24, n_averages):
            noisy = kspace + complex_noise(rng, *kspace.shape)
            if mode == "none":
                messages += lines(noisy, range(N), repetition=repetition, average=average)
            else:
                messages += embedded(noisy, repetition=repetition, average=average)
        chain = [
            *buffers(N_dimension="repetition"),
            GenericReconCartesianReferencePrepGadget(),
            GenericReconCartesianGrappaGadget(send_out_snr_map=True, downstream_coil_compression=False),
            GenericReconNoiseStdMapComputingGadget(),
        ]
        text = header(parallel="" if mode == "none" else PARALLEL.format(mode="embedded"))
        results = arrays(run(chain, messages, text))
        roles = [array.meta[0, 0, 0]["GADGETRON_DataRole"] for array in results]
        assert roles == ["SNR_MAP", "STD_MAP", "Image"]
        deviation = np.abs(results[1].data[0, 0, 0, 0, 0])
        inside = np.abs(results[2].data[0, 0, 0, 0, 0]) > 20
        assert deviation[inside].mean() == pytest.approx(1, rel=0.08)
        assert results[1].headers[0, 0, 0].image_series_index == 3000


def test_intermediate_results_are_written_where_they_are_wanted(tmp_path):
    _, kspace = coil_kspace()
    chain = [
        *buffers(),
        GenericReconCartesianReferencePrepGadget(debug_folder="debug"),
        GenericReconCartesianGrappaGadget(debug_folder="debug"),
    ]
    text = header(parallel=PARALLEL.format(mode="embedded"))
    (array,) = arrays(run(chain, embedded(kspace), text, controller=Controller(tmp_path)))
    files = sorted(path.stem.split("_", 2)[2] for path in (tmp_path / "debug").iterdir())
    assert files == ["0001_data", "0001_reference", "0002_coil_map", "0003_unmixing", "0004_Image"]
    np.testing.assert_array_equal(np.load(next((tmp_path / "debug").glob("*_Image.npy"))), array.data)


def test_the_g_factor_comes_first_and_once_per_calibration():
    _, kspace = coil_kspace()
    chain = [
        *buffers(N_dimension="", S_dimension=""),
        GenericReconCartesianReferencePrepGadget(prepare_ref_always=False),
        GenericReconCartesianGrappaGadget(send_out_gfactor=True),
    ]
    messages = [*embedded(kspace, repetition=0), *embedded(kspace, repetition=1)]
    results = arrays(run(chain, messages, header(parallel=PARALLEL.format(mode="embedded"))))
    assert [array.headers[0, 0, 0].image_series_index for array in results] == [20, 1, 1]
    np.testing.assert_allclose(results[1].data, results[2].data, rtol=1e-4, atol=1e-5)
    assert results[0].meta[0, 0, 0]["Skip_processing_after_recon"] == "1"


def test_slices_that_come_one_by_one_keep_their_own_calibration():
    _, kspace = coil_kspace()
    rotated = np.roll(kspace, 2, axis=0)  # the coils of the other slice are elsewhere
    messages = []
    for repetition in range(2):
        messages += embedded(kspace, repetition=repetition, slice=0)
        messages += embedded(rotated, repetition=repetition, slice=1)
    chain = [
        *buffers(split_slices=True),
        GenericReconCartesianReferencePrepGadget(prepare_ref_always=False),
        GenericReconEigenChannelGadget(),
        GenericReconCartesianGrappaGadget(),
    ]
    limits = {
        "kspace_encoding_step_1": (0, N - 1, N // 2),
        "slice": (0, 1, 0),
        "repetition": (0, 1, 0),
    }
    results = arrays(run(chain, messages, header(parallel=PARALLEL.format(mode="embedded"), limits=limits)))
    assert [array.headers[0, 0, 0].slice for array in results] == [0, 0, 1, 1]
    first, again, other, other_again = (np.abs(array.data) for array in results)
    np.testing.assert_allclose(first, again, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other, other_again, rtol=1e-4, atol=1e-5)
    assert relative_difference(other, first) < 0.05


def test_images_are_numbered_by_their_counters():
    _, kspace = coil_kspace(2)
    messages = [
        message for r in range(2) for s in range(3) for message in lines(kspace, range(N), repetition=r, slice=s)
    ]
    limits = {"kspace_encoding_step_1": (0, N - 1, N // 2), "slice": (0, 2, 0), "repetition": (0, 1, 0)}
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconCartesianFFTGadget()]
    results = arrays(run(chain, messages, header(limits=limits)))
    numbers = [head.image_index for array in results for head in array.headers.flat]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_one_coil_is_not_squared(rng):
    magnitude, kspace = coil_kspace(1)
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconCartesianGrappaGadget()]
    (array,) = arrays(run(chain, lines(kspace, range(N)), header()))
    assert relative_difference(np.abs(array.data[0, 0, 0, 0, 0]), magnitude) < 0.01


def test_a_scan_without_lines_for_calibration_is_refused_in_words():
    _, kspace = coil_kspace(3)
    messages = [*lines(kspace, range(0, N, 2)), *lines(kspace, [24, 25], flags=CALIBRATION)]
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconCartesianGrappaGadget()]
    with pytest.raises(MalformedMessageError, match=r"calibration data has 2 samples along y"):
        run(chain, messages, header(parallel=PARALLEL.format(mode="embedded")))


def test_grappa_without_prepared_calibration_says_what_is_missing():
    _, kspace = coil_kspace(3)
    with pytest.raises(MalformedMessageError, match="GenericReconCartesianReferencePrepGadget"):
        run([*buffers(), GenericReconCartesianGrappaGadget()], lines(kspace, range(N)), header())


def test_what_is_not_on_a_grid_is_refused():
    _, kspace = coil_kspace(2)
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconCartesianFFTGadget()]
    with pytest.raises(MalformedMessageError, match=r"trajectory \(radial\)"):
        run(chain, lines(kspace, range(N)), header(trajectory="radial"))


@pytest.mark.parametrize("steps", [range(20), range(30, N)])
def test_lines_beside_the_center_give_an_image(steps):
    _, kspace = coil_kspace(2)
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), GenericReconCartesianGrappaGadget()]
    (array,) = arrays(run(chain, lines(kspace, steps), header()))
    assert array.data.any()


def test_embedded_calibration_lines_are_filled_in_if_asked():
    _, kspace = coil_kspace(3)
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(ref_fill_into_data_embedded=True)]
    (data,) = arrays(run(chain, embedded(kspace), header(parallel=PARALLEL.format(mode="embedded"))))
    buffer = data.bits[0].data
    np.testing.assert_array_equal(buffer.data[0, 0, 0, :, 0, 14:34], kspace[:, 0, 14:34])
    assert data.bits[0].reference.data.shape[-2:] == (20, N)


def test_compression_keeps_the_modes_that_carry_signal():
    _, kspace = coil_kspace(6)
    gadget = GenericReconEigenChannelGadget(upstream_coil_compression_num_modesKept=2)
    chain = [*buffers(), GenericReconCartesianReferencePrepGadget(), gadget]
    (data,) = arrays(run(chain, lines(kspace, range(N)), header()))
    bit = data.bits[0]
    assert bit.data.data.shape[3] == 2
    np.testing.assert_array_equal(bit.reference.data, bit.data.data)
    assert np.linalg.norm(bit.data.data) > 0.8 * np.linalg.norm(kspace)


def test_compression_can_be_switched_off():
    _, kspace = coil_kspace(3)
    chain = [*buffers(), GenericReconEigenChannelGadget(upstream_coil_compression=False)]
    (data,) = arrays(run(chain, lines(kspace, range(N)), header()))
    np.testing.assert_array_equal(data.bits[0].data.data[0, 0, 0], kspace)


def image_array(data, **meta):
    shape = data.shape[:3]
    headers, metas = empty_objects(shape), empty_objects(shape)
    for place in np.ndindex(*shape):
        head = ismrmrd.ImageHeader()
        head.matrix_size[:] = data.shape[:-4:-1]
        headers[place] = head
        metas[place] = ismrmrd.Meta()
        metas[place].update({"encoding": "0", "GADGETRON_DataRole": "Image", **meta})
    return ImageArray(data, headers, metas)


def images(rng, *shape):
    return complex_noise(rng, 1, 1, 1, 1, *shape)


@pytest.mark.parametrize(
    "gadget",
    [
        GenericReconPartialFourierHandlingFilterGadget,
        GenericReconPartialFourierHandlingPOCSGadget,
        GenericReconKSpaceFilteringGadget,
    ],
)
def test_maps_that_say_so_are_skipped(gadget, rng):
    data = images(rng, 1, 16, 16)
    array = image_array(data, Skip_processing_after_recon="1", sampling_limits_E1=["6", "8", "15"])
    (result,) = arrays(run(gadget(), [make_message(array)], header()))
    assert result.data is data


@pytest.mark.parametrize(
    "gadget", [GenericReconPartialFourierHandlingFilterGadget, GenericReconPartialFourierHandlingPOCSGadget]
)
def test_partial_fourier_handling_changes_only_what_is_partial(gadget, rng):
    data = images(rng, 1, 32, 32)
    limits = {"sampling_limits_RO": ["0", "16", "31"], "sampling_limits_E2": ["0", "0", "0"]}
    full = image_array(data.copy(), sampling_limits_E1=["0", "16", "31"], **limits)
    partial = image_array(data.copy(), sampling_limits_E1=["10", "16", "31"], **limits)
    results = arrays(run(gadget(), [make_message(full), make_message(partial)], header()))
    np.testing.assert_array_equal(results[0].data, data)
    assert not np.allclose(results[1].data, data)


def test_kspace_filter_without_filters_changes_nothing(rng):
    data = images(rng, 1, 16, 16)
    gadget = GenericReconKSpaceFilteringGadget(filterRO="None", filterE1="None", filterE2="None")
    (result,) = arrays(run(gadget, [make_message(image_array(data))], header()))
    assert result.data is data


def test_kspace_filter_keeps_the_noise_level_in_3d(rng):
    data = images(rng, 16, 32, 32)
    (result,) = arrays(run(GenericReconKSpaceFilteringGadget(), [make_message(image_array(data))], header()))
    assert np.mean(np.abs(result.data) ** 2) == pytest.approx(2, rel=0.05)


def test_the_field_of_view_is_cropped_and_the_matrix_adjusted(rng):
    # encoded 40 mm with 20 lines; wanted 32 mm with 32 pixels: 40 pixels of 1 mm, of which 32
    data = images(rng, 1, 20, 16)
    text = header_xml(matrix=(16, 20, 1), recon=(32, 32, 1), fov=(32.0, 40.0, 5.0), recon_fov=(32.0, 32.0, 5.0))
    array = image_array(data, encoding_FOV=["32", "40", "5"], recon_FOV=["32", "32", "5"])
    (result,) = arrays(run(GenericReconFieldOfViewAdjustmentGadget(), [make_message(array)], text))
    assert result.data.shape[-3:] == (1, 32, 32)
    assert list(result.headers[0, 0, 0].matrix_size) == [32, 32, 1]
    np.testing.assert_allclose(result.data[..., ::2, ::2], data[..., 2:18, :], atol=1e-5)


def test_a_larger_recon_field_of_view_leaves_images_alone(rng):
    data = images(rng, 1, 16, 16)
    text = header_xml(matrix=(16, 16, 1), recon=(32, 32, 1), fov=(16.0, 16.0, 5.0), recon_fov=(32.0, 32.0, 5.0))
    array = image_array(data, encoding_FOV=["16", "16", "5"], recon_FOV=["32", "32", "5"])
    (result,) = arrays(run(GenericReconFieldOfViewAdjustmentGadget(), [make_message(array)], text))
    np.testing.assert_array_equal(result.data, data)


@pytest.mark.parametrize(
    ("role", "factor"), [("Image", 4.0), ("Gfactor", 100.0), ("SNR_MAP", 10.0), ("STD_MAP", 1000.0)]
)
def test_each_kind_of_image_has_its_factor(role, factor, rng):
    data = images(rng, 1, 4, 4)
    array = image_array(data.copy(), GADGETRON_DataRole=role, GADGETRON_ImageComment="GT")
    (result,) = arrays(run(GenericReconImageArrayScalingGadget(), [make_message(array)], header()))
    np.testing.assert_allclose(result.data, data * factor, rtol=1e-6)
    meta = result.meta[0, 0, 0]
    assert meta["GADGETRON_ImageComment"] == ["GT", f"x{factor:g}"]
    assert float(meta["GADGETRON_ScaleRatio"]) == factor


@pytest.mark.parametrize(
    ("brightest", "factor"),
    [(1e-5, 2.048e8), (10.0, 204.8), (100.0, 4.0), (1500.0, 2.0), (4000.0, 1.0), (8192.0, 0.25)],
)
def test_computed_factors_bring_the_maximum_into_the_range(brightest, factor):
    data = np.full((2, 1, 4, 4), brightest, np.complex64)
    assert intensity_scale(data, 64, 4095) == pytest.approx(factor, rel=1e-5)


def test_a_computed_factor_serves_all_that_follow():
    gadget = GenericReconImageArrayScalingGadget(use_constant_scalingFactor=False)
    bright, dark = (image_array(np.full((1, 1, 1, 1, 1, 2, 2), value, np.complex64)) for value in (10.0, 1.0))
    results = arrays(run(gadget, [make_message(bright), make_message(dark)], header()))
    assert [float(np.abs(array.data).max()) for array in results] == pytest.approx([2048.0, 204.8])


def test_snr_maps_that_would_be_black_are_not():
    gadget = GenericReconImageArrayScalingGadget(use_constant_scalingFactor=False)
    array = image_array(np.full((1, 1, 1, 1, 1, 2, 2), 1e-4, np.complex64), GADGETRON_DataRole="SNR_MAP")
    (result,) = arrays(run(gadget, [make_message(array)], header()))
    assert np.abs(result.data).max() == pytest.approx(2048, rel=1e-4)


def test_augmented_images_have_the_directions_of_rows_and_columns():
    message = image(np.ones((1, 1, 2, 2), np.complex64))
    message.object.read_dir[:] = (1.0, 0.0, 0.5)
    (result,) = run(AugmentImageMetadataGadget(), [message])
    meta = objects(result)[2]
    assert meta["ImageRowDir"] == ["1", "0", "0.5"]
    assert meta["ImageColumnDir"] == ["0", "0", "0"]
