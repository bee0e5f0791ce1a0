"""Automatic scaling of magnitude images."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.toolboxes.images import histogram_scale


class AutoScaleGadget(Gadget2[ismrmrd.ImageHeader, Array[np.float32]]):
    """Scale magnitude images so that nearly all pixels lie below a value.

    Takes and emits float images; others than magnitude pass unchanged. Each image has a scale of its own, from the
    99th percentile of its histogram. A black image stays as it is (the C++ Gadgetron divides zero by zero).
    """

    max_value = Property(2048.0, doc="what the 99th percentile becomes, nearly")
    histogram_bins = Property(100, doc="number of bins of the histogram", minimum=1, maximum=1_000_000)

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.float32]]) -> None:
        """Scale one image."""
        if header.object.image_type == ismrmrd.IMTYPE_MAGNITUDE:
            scale = histogram_scale(image.object, self.max_value, self.histogram_bins)
            image.object = image.object * np.float32(scale)
        self.put_next(header)
