"""Coil maps as images."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.toolboxes.coil_maps import coil_map_inati


class CoilComputationGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Replace coil images by the coils' sensitivity maps (the method of Inati).

    Takes and emits complex images with all channels.
    """

    ks_ = Property(7, doc="edge length of the neighbourhood along x and y [pixels]", minimum=1, maximum=63)
    kz_ = Property(5, doc="edge length of the neighbourhood along z [pixels]", minimum=1, maximum=63)
    power_ = Property(3, doc="number of power iterations; there are always three", minimum=3, maximum=3)

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Estimate the maps of one image."""
        image.object = coil_map_inati(np.ascontiguousarray(image.object), self.ks_, self.kz_)
        self.put_next(header)
