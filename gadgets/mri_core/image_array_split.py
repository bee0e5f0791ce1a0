"""Image arrays to single images."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget1
from gadgetron.message import Array, Container, make_message
from gadgetron.recon_types import ImageArray


class ImageArraySplitGadget(Gadget1[ImageArray]):
    """Split image arrays into images.

    Emits one image for each location, S and N, in this order, the location slowest. Images that arrive as such pass by.
    """

    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)

    def process(self, message: Container[ImageArray]) -> None:
        """Send the images of one array."""
        array = message.object
        for place in np.ndindex(*array.headers.shape):
            header: ismrmrd.ImageHeader = array.headers[place]
            meta, data = array.meta[place], array.data[place]
            header.attribute_string_len = 0  # the writer knows, from the meta attributes
            self.put_next(make_message(header, data) if meta is None else make_message(header, data, meta))
