"""Resizing of images."""

from __future__ import annotations

import math

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.toolboxes.splines import resample

MAX_EDGE = 65535


class ImageResizingGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Interpolate images to another number of pixels, with B-splines.

    Takes and emits complex images, of as many channels as there are; the field of view is the same. A size wins over a
    scale factor. The outermost pixels keep their places.
    """

    new_RO = Property(0, doc="pixels along x; 0 to use the scale factor", minimum=0, maximum=MAX_EDGE)
    new_E1 = Property(0, doc="pixels along y; 0 to use the scale factor", minimum=0, maximum=MAX_EDGE)
    new_E2 = Property(0, doc="pixels along z; 0 to use the scale factor", minimum=0, maximum=MAX_EDGE)
    scale_factor_RO = Property(1.0, doc="factor along x; 0 for no change", minimum=0.0, maximum=float(MAX_EDGE))
    scale_factor_E1 = Property(1.0, doc="factor along y; 0 for no change", minimum=0.0, maximum=float(MAX_EDGE))
    scale_factor_E2 = Property(1.0, doc="factor along z; 0 for no change", minimum=0.0, maximum=float(MAX_EDGE))
    order_interpolator = Property(
        5, doc="order of the splines; a higher one keeps more detail, and more noise", minimum=0, maximum=5
    )

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Resize one image."""
        data = image.object
        sizes = (self.new_E2, self.new_E1, self.new_RO)
        factors = (self.scale_factor_E2, self.scale_factor_E1, self.scale_factor_RO)
        shape = tuple(
            new or (max(1, int(old * factor + 0.5)) if factor > 0 else old)
            for old, new, factor in zip(data.shape[-3:], sizes, factors, strict=True)
        )
        for edge in shape:
            check("pixels along an edge of a resized image", edge, MAX_EDGE)
        n_bytes = data.itemsize * math.prod(data.shape[:-3]) * math.prod(shape)
        check("bytes of a resized image", n_bytes, LIMITS.max_image_bytes)
        if shape != data.shape[-3:]:
            image.object = resample(data, shape, self.order_interpolator)
            header.object.matrix_size[:] = shape[::-1]
        self.put_next(header)
