"""Smaller gadgets for images and readouts: resizing, transforms, coil maps, joining, flags, and old names."""

import ismrmrd
import numpy as np
import pytest

from gadgetron import reconstruct
from gadgetron.errors import ConfigurationError, LimitExceeded, MalformedMessageError
from gadgetron.message import make_message
from gadgetron.recon_types import ImageArray, empty_objects
from gadgetron.toolboxes.coil_maps import coil_map_inati
from gadgets.mri_core.coil_computation import CoilComputationGadget
from gadgets.mri_core.crop_and_combine import CropAndCombineGadget
from gadgets.mri_core.denoise import DenoiseGadget
from gadgets.mri_core.flag_expression import FLAG_NAMES, parse_flag_expression
from gadgets.mri_core.flag_trigger import FlagTriggerGadget
from gadgets.mri_core.image_accumulator import ImageAccumulatorGadget
from gadgets.mri_core.image_fft import ImageFFTGadget
from gadgets.mri_core.image_resizing import ImageResizingGadget
from gadgets.mri_core.noise_adjust_unoptimized import NoiseAdjustGadget_unoptimized
from gadgets.mri_core.partial_fourier_adjust_ro import PartialFourierAdjustROGadget
from tests.gadgets.support import (
    acquisition,
    centred_fft,
    complex_noise,
    header_xml,
    image,
    is_quiet_after_abort,
    objects,
    relative_difference,
    run,
)

NOISE = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)


def test_images_are_resized_with_all_their_channels(rng):
    (message,) = run(ImageResizingGadget(new_RO=20, scale_factor_E1=2.0), [image(complex_noise(rng, 3, 1, 8, 10))])
    head, pixels = objects(message)
    assert pixels.shape == (3, 1, 16, 20)
    assert head.matrix_size[:] == [20, 16, 1]
    data = complex_noise(rng, 1, 2, 4, 4)
    (message,) = run(ImageResizingGadget(scale_factor_RO=0.0), [image(data)])
    assert objects(message)[1] is data


def test_sizes_beyond_memory_are_refused(rng):
    with pytest.raises(LimitExceeded, match="resized image"):
        run(ImageResizingGadget(new_RO=65535, new_E1=65535), [image(complex_noise(rng, 1, 1, 4, 4))])
    with pytest.raises(LimitExceeded, match="along an edge"):
        run(ImageResizingGadget(scale_factor_RO=60000.0), [image(complex_noise(rng, 1, 1, 4, 4))])


@pytest.mark.parametrize(("n_z", "axes"), [(1, (2, 3)), (4, (1, 2, 3))])
def test_images_become_kspace(n_z, axes, rng):
    data = complex_noise(rng, 2, n_z, 6, 8)
    meta = ismrmrd.Meta({"GADGETRON_ImageProcessingHistory": "GT"})
    with_meta, without = run(ImageFFTGadget(), [image(data.copy(), meta), image(data.copy())])
    for message in (with_meta, without):
        assert relative_difference(objects(message)[1], centred_fft(data, axes)) < 1e-6
    assert objects(with_meta)[2]["GADGETRON_ImageProcessingHistory"] == ["GT", "FFT"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int32, np.complex128])
def test_images_of_any_type_become_kspace(dtype, rng):
    data = rng.integers(0, 100, (2, 1, 6, 8)).astype(dtype)
    (message,) = run(ImageFFTGadget(), [image(data.copy(), image_type=ismrmrd.IMTYPE_PHASE)])
    head, pixels = objects(message)
    assert pixels.dtype == np.complex64
    assert relative_difference(pixels, centred_fft(data, (2, 3))) < 1e-6
    assert head.data_type == ismrmrd.DATATYPE_CXFLOAT
    assert head.image_type == (ismrmrd.IMTYPE_PHASE if np.iscomplexobj(data) else 0)


def test_real_images_come_out_of_the_configuration_as_kspace(rng):
    data = 100 * rng.random((1, 1, 8, 8), np.float32)
    items = [image(data.copy(), image_type=ismrmrd.IMTYPE_MAGNITUDE, data_type=ismrmrd.DATATYPE_FLOAT)]
    (found,) = reconstruct((header_xml((8, 8, 1)), items), "Generic_Cartesian_Image_Chain_FFT.xml")
    np.testing.assert_allclose(found.data, np.abs(centred_fft(data, (2, 3))), atol=0.51)


def test_coil_images_become_coil_maps(rng):
    data = complex_noise(rng, 4, 1, 16, 16)
    (message,) = run(CoilComputationGadget(ks_=5), [image(data.copy())])
    np.testing.assert_array_equal(objects(message)[1], coil_map_inati(data, 5))
    np.testing.assert_allclose(np.linalg.norm(objects(message)[1], axis=0), 1, rtol=1e-5)


def test_the_middle_half_is_combined(rng):
    data = complex_noise(rng, 3, 1, 6, 8)
    message = image(data.copy())
    message.object.field_of_view[:] = (400, 300, 5)
    (message,) = run(CropAndCombineGadget(), [message])
    head, pixels = objects(message)
    np.testing.assert_allclose(np.abs(pixels[0]), np.linalg.norm(data[..., 2:6], axis=0), rtol=1e-5)
    assert (head.matrix_size[0], head.channels, head.field_of_view[0]) == (4, 1, 200)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("denoiser", ["non_local_bayes", "non_local_means"])
def test_images_are_denoised_plane_by_plane(dtype, denoiser, rng):
    data = (10 + rng.standard_normal((2, 2, 16, 16))).astype(dtype)
    gadget = DenoiseGadget(denoiser=denoiser, search_radius=6, image_std=1.0)
    (message,) = run(gadget, [image(data.copy())])
    pixels = objects(message)[1]
    assert (pixels.shape, pixels.dtype) == (data.shape, dtype)
    assert pixels.std() < 0.8 * data.std()
    (message,) = run(DenoiseGadget(denoiser=denoiser, search_radius=6), [image(data[:1, :1].copy())])
    np.testing.assert_allclose(objects(message)[1], pixels[:1, :1])


def image_array(contrast, n_n=2, **fields):
    shape = (1, 1, n_n)
    headers, meta = empty_objects(shape), empty_objects(shape)
    for place in np.ndindex(*shape):
        headers[place] = ismrmrd.ImageHeader()
        headers[place].contrast = contrast
        meta[place] = ismrmrd.Meta({"n": str(place[2])})
    data = np.full((*shape, 1, 1, 3, 4), contrast, np.complex64)
    return make_message(ImageArray(data, headers, meta, **fields))


@pytest.mark.parametrize(
    ("axis", "shape"), [("N", (1, 1, 6)), ("S", (1, 3, 2)), ("LOC", (3, 1, 2)), ("slice", (3, 1, 2))]
)
def test_arrays_are_joined_when_all_have_come(axis, shape):
    header = header_xml(limits={"contrast": (0, 2, 0)})
    messages = [image_array(contrast) for contrast in (0, 1, 2, 0, 1, 2)]
    results = [objects(m)[0] for m in run(ImageAccumulatorGadget(combine_along=axis), messages, header)]
    assert len(results) == 2
    for array in results:
        assert array.data.shape == (*shape, 1, 1, 3, 4)
        assert array.headers.shape == array.meta.shape == shape
        for place in np.ndindex(*shape):
            assert (array.data[place] == array.headers[place].contrast).all()


def test_what_is_left_is_sent_with_a_warning(capsys):
    header = header_xml(limits={"contrast": (0, 2, 0)})
    (message,) = run(ImageAccumulatorGadget(), [image_array(0), image_array(2)], header)
    assert objects(message)[0].data.shape[2] == 4
    assert "missing=[1]" in "".join(capsys.readouterr())


def test_arrays_that_do_not_fit_are_refused_and_without_limits_each_is_complete():
    header = header_xml(limits={"contrast": (0, 1, 0)})
    with pytest.raises(MalformedMessageError, match="cannot be joined"):
        run(ImageAccumulatorGadget(combine_along="S"), [image_array(0), image_array(1, n_n=3)], header)
    assert len(run(ImageAccumulatorGadget(), [image_array(0), image_array(1)], header_xml())) == 2


def flags(*names):
    return sum(FLAG_NAMES[name] for name in names)


@pytest.mark.parametrize(
    ("expression", "satisfied", "not_satisfied"),
    [
        ("last_in_slice", ["last_in_slice"], ["first_in_slice"]),
        ("LAST_IN_SLICE,user1", ["user1"], ["user2"]),
        ("!is_reverse && user1", ["user1"], ["user1", "is_reverse"]),
        ("user1 || user2 && user3", ["user1"], ["user2"]),
        ("user1 && user2 || user3", ["user3"], ["user1"]),
        ("(user1||user2)&&user3", ["user2", "user3"], ["user1"]),
        ("!(user1 || user2)", ["user3"], ["user2"]),
        ("!!user1", ["user1"], []),
        ("last_in_encode_step1 && is_phasecorr_data", ["last_in_encode_step1", "is_phasecorr_data"], []),
    ],
)
def test_expressions_of_flags(expression, satisfied, not_satisfied):
    predicate = parse_flag_expression(expression)
    assert predicate(flags(*satisfied))
    assert not predicate(flags(*not_satisfied))


def test_every_flag_has_its_name():
    assert len(FLAG_NAMES) == 43
    assert FLAG_NAMES["is_phasecorr_data"] == 1 << 23
    assert FLAG_NAMES["user8"] == 1 << 63


@pytest.mark.parametrize(
    "expression", ["", "last_in_slyce", "user1 &&", "(user1", "user1)", "user1 user2", "&& user1", "user1 & user2", "!"]
)
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(ConfigurationError, match="trigger_flags"):
        run(FlagTriggerGadget(trigger_flags=expression), [], header_xml())


def test_depth_is_bounded():
    with pytest.raises(ConfigurationError, match="levels"):
        parse_flag_expression("(" * 5000 + "user1" + ")" * 5000)
    with pytest.raises(ConfigurationError, match="levels"):
        parse_flag_expression("!" * 5000 + "user1")


def test_buckets_end_with_the_flag(rng):
    ends = [3, 4, 9]
    messages = [
        acquisition(complex_noise(rng, 2, 8), scan_counter=i, flags=(ismrmrd.ACQ_LAST_IN_SLICE,) if i in ends else ())
        for i in range(12)
    ]
    messages.insert(6, acquisition(complex_noise(rng, 2, 8), flags=(*NOISE, ismrmrd.ACQ_LAST_IN_SLICE)))
    results = run(FlagTriggerGadget(trigger_flags="last_in_slice"), messages, header_xml(), batch=5)
    counters = [[a.head.scan_counter for a in objects(message)[0].data] for message in results]
    assert counters == [[0, 1, 2, 3], [4], [5], [6, 7, 8, 9], [10, 11]]


def test_the_old_name_of_the_padding_pads(rng):
    data = complex_noise(rng, 2, 20)
    (message,) = run(
        PartialFourierAdjustROGadget(), [acquisition(data, center_sample=4)], header_xml(matrix=(32, 16, 1))
    )
    head, padded = objects(message)
    np.testing.assert_array_equal(padded[:, 12:], data)
    assert (head.number_of_samples, head.center_sample, head.discard_pre) == (32, 16, 12)


def test_the_old_noise_adjustment_whitens_with_the_scans_own_noise(rng):
    mix = np.array([[1, 0, 0], [0.5, 1, 0], [0.2j, 0.3, 2]])
    readouts = [acquisition((mix @ complex_noise(rng, 3, 2000)).astype(np.complex64), flags=NOISE) for _ in range(5)]
    data = (mix @ complex_noise(rng, 3, 4000)).astype(np.complex64)
    (message,) = run(NoiseAdjustGadget_unoptimized(), [*readouts, acquisition(data)], header_xml())
    white = objects(message)[1]
    np.testing.assert_allclose(np.cov(white), np.eye(3), atol=0.1)
    (message,) = run(NoiseAdjustGadget_unoptimized(), [acquisition(data)], header_xml())
    assert objects(message)[1] is data
    with pytest.raises(MalformedMessageError, match="active_channels"):
        run(NoiseAdjustGadget_unoptimized(), [*readouts, acquisition(data[:2])], header_xml())


@pytest.mark.parametrize(
    "make", [ImageAccumulatorGadget, lambda: FlagTriggerGadget(trigger_flags="user1"), NoiseAdjustGadget_unoptimized]
)
def test_an_empty_stream_and_an_abort_give_nothing(make, rng):
    header = header_xml(limits={"contrast": (0, 5, 0)})
    assert run(make(), [], header) == []
    held = [image_array(0), acquisition(complex_noise(rng, 2, 8), flags=NOISE)]
    messages = [held[0]] if isinstance(make(), ImageAccumulatorGadget) else [held[1]]
    assert is_quiet_after_abort(make(), messages, header)
