"""Denoising of images."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.toolboxes.denoise import non_local_bayes, non_local_means


class DenoiseGadget(Gadget2[ismrmrd.ImageHeader, Array[np.float32] | Array[np.complex64]]):
    """Denoise images, float or complex, plane by plane, with what looks alike near by.

    Takes and emits images. Images of signal-to-noise (after NoiseAdjustGadget, unscaled) have noise of standard
    deviation 1.

    Mended against the C++ Gadgetron: meta attributes stay with their image.
    """

    image_std = Property(1.0, doc="standard deviation of the noise in the images", minimum=0.0)
    search_radius = Property(
        25,
        doc="where to look: with non_local_bayes the width of the neighbourhood, with non_local_means its half width "
        "(the C++ Gadgetron has it so) [pixels]",
        minimum=2,
        maximum=1024,
    )
    denoiser = Property("non_local_bayes", doc="how to denoise", choices=("non_local_bayes", "non_local_means"))

    thread_safe = True

    def process(
        self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.float32] | Array[np.complex64]]
    ) -> None:
        """Denoise one image."""
        denoise = non_local_bayes if self.denoiser == "non_local_bayes" else non_local_means
        data = np.ascontiguousarray(image.object)
        result = np.empty_like(data)
        for place in np.ndindex(*data.shape[:-2]):
            result[place] = denoise(data[place], self.image_std, self.search_radius)
        image.object = result
        self.put_next(header)
