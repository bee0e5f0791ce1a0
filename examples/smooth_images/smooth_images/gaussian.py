"""Smoothing of images."""

import ismrmrd
import numpy as np
from scipy.ndimage import gaussian_filter

from gadgetron import Array, Container, Gadget2, Property

FWHM_PER_SIGMA = 2.3548  # of a Gaussian


class GaussianSmoothGadget(Gadget2[ismrmrd.ImageHeader, Array[np.float32]]):
    """Smooth images with a Gaussian.

    Takes and emits float images (channels, z, y, x). The width is given in millimetres, so that it means the same for
    every matrix size. Channels are not mixed.
    """

    fwhm_mm = Property(2.0, doc="full width of the Gaussian at half maximum [mm]; 0 for none", minimum=0.0)
    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.float32]]) -> None:
        """Smooth one image."""
        sigma_mm = self.fwhm_mm / FWHM_PER_SIGMA
        voxel_mm = [edge / n for edge, n in zip(header.object.field_of_view, header.object.matrix_size, strict=True)]
        x, y, z = (sigma_mm / edge if edge else 0.0 for edge in voxel_mm)
        image.object = gaussian_filter(image.object, (0.0, z, y, x))
        self.put_next(header)
