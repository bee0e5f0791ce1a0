"""Negatives of images."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container


class ImageInverter(Gadget2[ismrmrd.ImageHeader, Array[Any]]):
    """Subtract every pixel from the image's largest. Takes and emits real images of any data type."""

    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[Any]]) -> None:
        """Invert one image."""
        data = image.object
        if np.iscomplexobj(data):
            raise MalformedMessageError(f"data_type ({data.dtype}): a real image expected, as ExtractGadget makes them")
        if data.size:
            image.object = np.subtract(data.max(), data, dtype=data.dtype)
        self.put_next(header)
