"""Combination of coil images with twofold readout oversampling."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.toolboxes.coils import combine_weighted_phase


class CropAndCombineGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Keep the middle half of images along x, and combine their channels as CombineGadget does.

    Takes and emits complex images; matrix and field of view along x are halved. The phase is the power-weighted mean,
    where the C++ Gadgetron adds it up without dividing.
    """

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Crop and combine one image."""
        n_x = image.object.shape[-1]
        n_kept = max(n_x // 2, 1)
        start = (n_x - n_kept) // 2
        image.object = combine_weighted_phase(image.object[..., start : start + n_kept])[np.newaxis]
        head = header.object
        head.matrix_size[0] = n_kept
        head.field_of_view[0] *= n_kept / n_x
        head.channels = 1
        self.put_next(header)
