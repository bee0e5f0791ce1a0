"""Meta attributes that viewers expect."""

from __future__ import annotations

from typing import Any

import ismrmrd

from gadgetron.gadget import Gadget2
from gadgetron.image_arrays import number_text
from gadgetron.message import Array, Container, GadgetContainerMessage


class AugmentImageMetadataGadget(Gadget2[ismrmrd.ImageHeader, Array[Any]]):
    """Write the directions of rows and columns into images' meta attributes, unless they are there.

    ImageRowDir and ImageColumnDir are read_dir and phase_dir of the header.
    """

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[Any]]) -> None:
        """Complete the meta attributes of one image."""
        block = image.cont
        if isinstance(block, GadgetContainerMessage) and isinstance(block.object, ismrmrd.Meta):
            meta = block.object
        else:
            meta = ismrmrd.Meta()
            image.cont = GadgetContainerMessage(meta)
        for name, direction in (("ImageRowDir", "read_dir"), ("ImageColumnDir", "phase_dir")):
            if meta.get(name) is None:
                meta[name] = [number_text(value) for value in getattr(header.object, direction)]
        self.put_next(header)
