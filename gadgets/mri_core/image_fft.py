"""Images to k-space."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.image_arrays import PROCESSING_HISTORY, append_meta
from gadgetron.message import Array, Container
from gadgetron.toolboxes.fft import fft


class ImageFFTGadget(Gadget2[ismrmrd.ImageHeader, Array[Any]]):
    """Transform images to k-space: centred, orthonormal, along x and y, and along z if there is more than one slice.

    Takes images of any type, emits complex ones. What was real is complex then, and has no image_type any more. `FFT`
    is appended to the processing history of those with meta attributes. The C++ Gadgetron never transforms along z, and
    takes complex images only.
    """

    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)
    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[Any]]) -> None:
        """Transform one image."""
        if not np.iscomplexobj(image.object):
            header.object.image_type = 0
        header.object.data_type = ismrmrd.DATATYPE_CXFLOAT
        n_z = image.object.shape[-3]
        axes = (-3, -2, -1) if n_z > 1 else (-2, -1)
        image.object = fft(image.object, [axis + image.object.ndim for axis in axes])
        block = image.cont
        if isinstance(block, Container) and isinstance(block.object, ismrmrd.Meta):
            append_meta(block.object, PROCESSING_HISTORY, "FFT")
        self.put_next(header)
