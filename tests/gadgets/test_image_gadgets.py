"""Gadgets at the end of a chain: extraction, scaling, conversion, numbering, sorting, sending."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import MalformedMessageError
from gadgetron.message import GadgetMessageIdentifier, make_message
from gadgetron.recon_types import ImageArray
from gadgets.mri_core.auto_scale import AutoScaleGadget
from gadgets.mri_core.complex_to_float import ComplexToFloatGadget
from gadgets.mri_core.extract import ExtractGadget
from gadgets.mri_core.float_to_fix_point import (
    FloatToIntGadget,
    FloatToShortGadget,
    FloatToUIntGadget,
    FloatToUShortGadget,
)
from gadgets.mri_core.image_finish import (
    ImageFinishGadget,
    ImageFinishGadgetCPLX,
    ImageFinishGadgetFLOAT,
    ImageFinishGadgetUSHORT,
)
from gadgets.mri_core.image_index import ImageIndexGadget
from gadgets.mri_core.image_sort import ImageSortGadget
from gadgets.mri_core.scale import ScaleGadget
from tests.gadgets.support import Controller, complex_noise, image, is_quiet_after_abort, objects, run

MAGNITUDE, REAL, IMAG, PHASE = (
    ismrmrd.IMTYPE_MAGNITUDE,
    ismrmrd.IMTYPE_REAL,
    ismrmrd.IMTYPE_IMAG,
    ismrmrd.IMTYPE_PHASE,
)


def test_extract_gives_the_magnitude_by_default(rng):
    data = complex_noise(rng, 2, 1, 3, 4)
    (message,) = run(ExtractGadget(), [image(data, image_index=3, image_series_index=7)])
    head, pixels = objects(message)
    np.testing.assert_allclose(pixels, np.abs(data))
    assert pixels.dtype == np.float32
    assert (head.image_type, head.data_type) == (MAGNITUDE, ismrmrd.DATATYPE_FLOAT)
    assert (head.image_index, head.image_series_index) == (3, 7)


def test_extract_gives_every_part_in_a_series_of_its_own(rng):
    data = complex_noise(rng, 1, 1, 3, 4)
    gadget = ExtractGadget(extract_real=True, extract_imag=True, extract_phase=True, real_imag_offset=10.0)
    meta = ismrmrd.Meta({"key": "value"})
    results = [objects(message) for message in run(gadget, [image(data, meta, image_series_index=1)])]
    assert [head.image_type for head, _, _ in results] == [MAGNITUDE, REAL, IMAG, PHASE]
    assert [head.image_series_index for head, _, _ in results] == [1, 1001, 2001, 3001]
    for (_, pixels, _), expected in zip(
        results, [np.abs(data), data.real + 10, data.imag + 10, np.angle(data) + np.pi], strict=True
    ):
        np.testing.assert_allclose(pixels, expected, rtol=1e-5)
    assert all(m == meta for _, _, m in results)
    assert len({id(m) for _, _, m in results}) == 4


@pytest.mark.parametrize(
    ("mask", "magnitude", "types"),
    [(9, True, [MAGNITUDE, PHASE]), (2, False, [REAL]), (0, False, []), (2, True, [1, 3])],
)
def test_the_old_mask_adds_parts(mask, magnitude, types, rng):
    gadget = ExtractGadget(extract_mask=mask, extract_magnitude=magnitude)
    results = run(gadget, [image(complex_noise(rng, 1, 1, 2, 2))])
    assert [objects(message)[0].image_type for message in results] == types


@pytest.mark.parametrize(
    ("image_type", "convert", "result_type"),
    [
        (0, np.abs, MAGNITUDE),
        (MAGNITUDE, np.abs, MAGNITUDE),
        (REAL, np.real, REAL),
        (IMAG, np.imag, IMAG),
        (PHASE, np.angle, PHASE),
    ],
)
def test_complex_to_float_follows_the_image_type(image_type, convert, result_type, rng):
    data = complex_noise(rng, 1, 1, 3, 4)
    (message,) = run(ComplexToFloatGadget(), [image(data, image_type=image_type)])
    head, pixels = objects(message)
    np.testing.assert_allclose(pixels, convert(data), rtol=1e-6)
    assert (head.image_type, head.data_type, pixels.dtype) == (result_type, ismrmrd.DATATYPE_FLOAT, np.float32)


def test_complex_to_float_refuses_complex_as_a_type(rng):
    with pytest.raises(MalformedMessageError, match="image_type"):
        run(ComplexToFloatGadget(), [image(complex_noise(rng, 1, 1, 1, 1), image_type=ismrmrd.IMTYPE_COMPLEX)])


def float_image(values, image_type=MAGNITUDE, meta=None, **fields):
    return image(np.array(values, np.float32).reshape(1, 1, 1, -1), meta, image_type=image_type, **fields)


CONVERSIONS = [
    (FloatToUShortGadget, np.uint16, ismrmrd.DATATYPE_USHORT),
    (FloatToShortGadget, np.int16, ismrmrd.DATATYPE_SHORT),
    (FloatToUIntGadget, np.uint32, ismrmrd.DATATYPE_UINT),
    (FloatToIntGadget, np.int32, ismrmrd.DATATYPE_INT),
]


@pytest.mark.parametrize(("gadget", "dtype", "data_type"), CONVERSIONS)
def test_magnitudes_are_rounded_and_clamped(gadget, dtype, data_type):
    settings = {"min_intensity": 2, "max_intensity": 100}
    (message,) = run(gadget(**settings), [float_image([0, 2.5, 99.4, 1e9, -50.5, np.nan])])
    head, pixels = objects(message)
    np.testing.assert_array_equal(pixels.ravel(), [2, 3, 99, 100, 51, 2])
    assert (pixels.dtype, head.data_type) == (dtype, data_type)


@pytest.mark.parametrize(
    ("values", "image_type", "counts"),
    [
        ([0, 4095.4, np.nan], MAGNITUDE, []),
        ([0, 5000, 4096, np.inf], MAGNITUDE, [3]),
        ([-3000, 0, 3000], REAL, [2]),
        ([-np.pi, np.pi], PHASE, []),
    ],
)
def test_clipped_pixels_are_told_once(values, image_type, counts):
    controller = Controller()
    images = [float_image(values, image_type) for _ in range(3)]
    assert len(run(FloatToUShortGadget(), images, controller=controller)) == 3
    assert len(controller.texts) == len(counts)
    for text, count in zip(controller.texts, counts, strict=True):
        assert f"{count} of {len(values)} pixels" in text
        assert "max_intensity" in text


def test_real_parts_are_shifted_with_their_window():
    meta = ismrmrd.Meta({"GADGETRON_WindowCenter": "100"})
    (message,) = run(FloatToUShortGadget(), [float_image([-3000, -1, 0, 1, 3000], REAL, meta)])
    np.testing.assert_array_equal(objects(message)[1].ravel(), [0, 2047, 2048, 2049, 4095])
    assert objects(message)[2]["GADGETRON_WindowCenter"] == "2148"


def test_phases_fill_twice_the_offset():
    (message,) = run(FloatToUShortGadget(), [float_image([-np.pi, 0, np.pi / 2, np.pi], PHASE)])
    np.testing.assert_array_equal(objects(message)[1].ravel(), [0, 2048, 3072, 4095])


def test_short_has_the_limits_of_its_type():
    (message,) = run(FloatToShortGadget(), [float_image([-1e6, 1e6], REAL)])
    np.testing.assert_array_equal(objects(message)[1].ravel(), [-32768, 32767])


def test_an_image_without_a_type_is_refused_with_a_hint():
    with pytest.raises(MalformedMessageError, match="image_type \\(0\\).*ExtractGadget"):
        run(FloatToUShortGadget(), [float_image([1], 0)])


def test_auto_scale_scales_magnitudes_only(rng):
    values = np.abs(rng.standard_normal(5000))
    magnitude, phase = run(AutoScaleGadget(max_value=1000), [float_image(values), float_image(values, PHASE)])
    assert np.percentile(objects(magnitude)[1], 99) == pytest.approx(1000, rel=0.03)
    np.testing.assert_array_equal(objects(phase)[1].ravel(), values.astype(np.float32))


def test_auto_scale_leaves_a_black_image_black():
    (message,) = run(AutoScaleGadget(), [float_image(np.zeros(10))])
    assert not objects(message)[1].any()


def test_scale_brings_a_percentile_to_a_value(rng):
    values = np.abs(rng.standard_normal(1000))
    array = ImageArray(complex_noise(rng, 1, 1, 2, 1, 1, 8, 8), np.full((1, 1, 2), None), np.full((1, 1, 2), None))
    messages = [float_image(values), float_image(values, REAL), make_message(array)]
    scaled, unchanged, scaled_array = run(ScaleGadget(max_value=500, percentile=90), messages)
    assert np.percentile(objects(scaled)[1], 90) == pytest.approx(500, rel=1e-4)
    np.testing.assert_array_equal(objects(unchanged)[1].ravel(), values.astype(np.float32))
    assert np.percentile(np.abs(objects(scaled_array)[0].data), 90) == pytest.approx(500, rel=1e-4)
    assert objects(scaled_array)[0].data.dtype == np.complex64


def test_images_are_numbered_within_their_series():
    messages = [float_image([0], image_series_index=series) for series in (0, 3, 0, 0, 3)]
    results = run(ImageIndexGadget(), messages)
    assert [objects(message)[0].image_index for message in results] == [1, 1, 2, 3, 2]


@pytest.mark.parametrize("dimension", ["slice", "repetition", "contrast", "phase", "set", "average"])
def test_images_are_sorted_at_the_end_and_equal_ones_keep_their_order(dimension):
    messages = [float_image([0], image_index=i, **{dimension: value}) for i, value in enumerate((3, 1, 2, 1, 3))]
    gadget = ImageSortGadget(sorting_dimension=dimension)
    assert run(gadget, messages, close=None) == []
    assert [objects(message)[0].image_index for message in run(gadget, [])] == [1, 3, 2, 0, 4]


def test_without_a_dimension_images_pass_at_once():
    messages = [float_image([0], slice=s) for s in (2, 1)]
    assert run(ImageSortGadget(sorting_dimension=""), messages, close=None) == messages


def test_sorted_images_are_not_sent_after_an_abort():
    assert is_quiet_after_abort(ImageSortGadget(), [float_image([0])])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64, np.complex64])
def test_images_of_any_type_go_to_the_client(dtype):
    controller = Controller()
    message = image(np.zeros((1, 1, 2, 2), dtype), ismrmrd.Meta())
    assert run(ImageFinishGadget(), [message], controller=controller) == []
    identifier, *rest = objects(controller.outputs[0])
    assert identifier == GadgetMessageIdentifier(1022)
    assert rest == objects(message)


@pytest.mark.parametrize(
    ("gadget", "dtype", "message_id"),
    [
        (ImageFinishGadgetCPLX, np.complex64, 1004),
        (ImageFinishGadgetFLOAT, np.float32, 1005),
        (ImageFinishGadgetUSHORT, np.uint16, 1006),
    ],
)
def test_the_seeds_finishers_take_one_type_each(gadget, dtype, message_id):
    controller = Controller()
    mine, other = image(np.zeros((1, 1, 2, 2), dtype)), image(np.zeros((1, 1, 2, 2), np.float64))
    assert run(gadget(), [other, mine], controller=controller) == [other]
    assert [objects(output)[0].id for output in controller.outputs] == [message_id]


def test_empty_streams_give_nothing():
    for gadget in (
        ExtractGadget,
        ComplexToFloatGadget,
        AutoScaleGadget,
        ScaleGadget,
        ImageIndexGadget,
        ImageSortGadget,
    ):
        assert run(gadget(), []) == []
    for gadget, _, _ in CONVERSIONS:
        assert run(gadget(), []) == []
