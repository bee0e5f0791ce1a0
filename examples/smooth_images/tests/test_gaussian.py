"""The gadget, run by the testing kit, without a server."""

import ismrmrd
import numpy as np
import pytest
from smooth_images.gaussian import GaussianSmoothGadget

from gadgetron import make_message
from gadgetron.testing import check_gadget_drains, run_gadget


def point(voxel_mm: float):
    """Make an image of one bright pixel."""
    header = ismrmrd.ImageHeader()
    header.matrix_size[:] = (33, 33, 1)
    header.field_of_view[:] = (33 * voxel_mm, 33 * voxel_mm, 5.0)
    image = np.zeros((2, 1, 33, 33), np.float32)
    image[0, 0, 16, 16] = 1
    return make_message(header, image)


@pytest.mark.parametrize("voxel_mm", [1.0, 2.0])
def test_a_point_becomes_as_wide_as_was_asked_for(voxel_mm):
    (message,) = run_gadget(GaussianSmoothGadget(fwhm_mm=4 * voxel_mm), [point(voxel_mm)])
    image = message.cont.object
    assert image.dtype == np.float32
    assert image.sum() == pytest.approx(1.0, abs=1e-3)
    assert image[0, 0, 16, 18] / image[0, 0, 16, 16] == pytest.approx(0.5, abs=1e-3)
    assert not image[1].any()


def test_it_ends_as_a_gadget_must():
    check_gadget_drains(lambda: GaussianSmoothGadget(threads=4), lambda: [point(1.0) for _ in range(20)])
