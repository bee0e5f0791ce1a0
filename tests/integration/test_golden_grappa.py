"""The slice-wise GRAPPA chain against what the C++ Gadgetron computes, and the configurations for pipes."""

from __future__ import annotations

import ismrmrd
import numpy as np
import pytest

from gadgetron import make_message, reconstruct
from gadgetron.recon_types import ImageArray
from tests.gadgets.support import complex_noise, header_xml, image, relative_difference
from tests.integration.test_golden_default import differing_fields, golden_series, scan_file
from tests.reference import GOLDEN_IMAGES

CASES = [
    pytest.param(*file.stem.split("__"), id=file.stem) for file in sorted(GOLDEN_IMAGES.glob("grappa_*__*.h5"))
] or [pytest.param(None, None, id="absent", marks=pytest.mark.skip(reason="no ../shared/golden/images"))]


@pytest.mark.slow
@pytest.mark.parametrize("for_graphics_cards", [False, True])
@pytest.mark.parametrize(("configuration", "scan"), CASES)
def test_images_and_headers_are_those_of_the_cpp_gadgetron(configuration, scan, for_graphics_cards):
    name = configuration.removesuffix("_cpu") if for_graphics_cards else configuration
    images = reconstruct(scan_file(scan), f"{name}.xml")
    golden, headers, attributes = golden_series(configuration, scan)
    data = np.array([image.data for image in images])
    assert (data.shape, data.dtype) == (golden.shape, golden.dtype)
    if data.dtype == np.uint16:
        distance = np.abs(data.astype(int) - golden.astype(int))
        assert distance.max() <= 1
        assert (distance == 0).mean() >= 0.99
    else:
        assert relative_difference(data, golden) < 1e-4
    for image_, header in zip(images, headers, strict=True):
        assert differing_fields(image_.header, header) == []
    assert not any(attributes)


HEADER = header_xml((8, 4, 1))


def test_pipes_take_images_apart_scale_them_and_make_them_integers(rng):
    pixels = complex_noise(rng, 3, 1, 4, 8)
    headers, meta = np.full((2, 1, 1, 3), None, object)
    for number in range(3):
        headers[0, 0, number] = ismrmrd.ImageHeader.from_buffer_copy(image(pixels[:1], image_index=number).object)
        meta[0, 0, number] = ismrmrd.Meta()
    array = make_message(ImageArray(pixels[:, np.newaxis][np.newaxis, np.newaxis], headers[:1], meta[:1]))
    results = reconstruct((HEADER, [array]), "stream_image_array_split.xml")
    singles = [make_message(result.header, result.data) for result in results]
    assert [m.object.image_index for m in singles] == [0, 1, 2]
    floats = [
        make_message(r.header, 10 * r.data) for r in reconstruct((HEADER, singles), "stream_complex_to_float.xml")
    ]
    integers = reconstruct((HEADER, floats), "stream_float_to_short.xml")
    assert {r.data.dtype for r in integers} == {np.dtype(np.uint16)}
    found = np.array([r.data[0] for r in integers])
    np.testing.assert_allclose(found, np.abs(10 * pixels), atol=0.51)
