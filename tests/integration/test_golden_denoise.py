"""Generic_Cartesian_Grappa_Cine_Denoise.xml against what the C++ Gadgetron computes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from gadgetron import reconstruct
from tests.gadgets.support import relative_difference
from tests.integration.test_golden_default import differing_fields, scan_file
from tests.reference import GOLDEN_IMAGES, reference_file

CONFIGURATION = "Generic_Cartesian_Grappa_Cine_Denoise"
SCANS = [
    pytest.param(file.stem.partition("__")[2], id=file.stem)
    for file in sorted(GOLDEN_IMAGES.glob(f"{CONFIGURATION}__*.h5"))
] or [pytest.param(None, id="absent", marks=pytest.mark.skip(reason="no ../shared/golden/images"))]


@pytest.mark.slow
@pytest.mark.parametrize("scan", SCANS)
def test_denoised_images_are_those_of_the_cpp_gadgetron(scan):
    images = reconstruct(scan_file(scan), f"{CONFIGURATION}.xml")
    with h5py.File(reference_file("golden", "images", f"{CONFIGURATION}__{scan}.h5")) as file:
        for name, group in file["out"].items():
            ours = [image for image in images if image.series == int(name.removeprefix("image_"))]
            data = np.array([image.data for image in ours])
            golden = group["data"][...]
            assert (data.shape, data.dtype) == (golden.shape, golden.dtype)
            assert relative_difference(data, golden) < 1e-4
            for image, header in zip(ours, group["header"], strict=True):
                assert set(differing_fields(image.header, header)) <= {"attribute_string_len"}
            # The C++ DenoiseGadget drops the meta attributes; here they stay with their image.
            assert not any(group["attributes"][...])
            for number, image in enumerate(ours):
                assert image.meta["GADGETRON_DataRole"] == ("Gfactor" if image.series == 20 else "Image"), number
                assert image.meta["GADGETRON_ImageNumber"] == str(image.index)
