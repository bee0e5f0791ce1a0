"""Scaling of images by a percentile."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget1
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray
from gadgetron.toolboxes.images import percentile_scale


class ScaleGadget(Gadget1[ismrmrd.ImageHeader | ImageArray]):
    """Scale images so that a percentile of their pixels gets a certain value.

    Takes and emits float magnitude images, and image arrays (one scale for all images of an array); others pass
    unchanged.
    """

    max_value = Property(2048.0, doc="value of the percentile after scaling")
    percentile = Property(98.5, doc="percentile of the pixels' magnitudes", minimum=0.0, maximum=100.0)

    thread_safe = True

    def process(self, message: Container[ismrmrd.ImageHeader | ImageArray]) -> None:
        """Scale one image or image array."""
        head, block = message.object, message.cont
        if isinstance(head, ImageArray):
            head.data = head.data * np.float32(percentile_scale(head.data, self.max_value, self.percentile))
        elif head.image_type == ismrmrd.IMTYPE_MAGNITUDE and isinstance(block, Container):
            image: Array[np.float32] = block.object
            if isinstance(image, np.ndarray) and image.dtype == np.float32:
                block.object = image * np.float32(percentile_scale(image, self.max_value, self.percentile))
        self.put_next(message)
