"""Sorting of images."""

from __future__ import annotations

from typing import Any

import ismrmrd

from gadgetron.errors import LimitExceeded
from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import Array, Container
from gadgetron.properties import Property

DIMENSIONS = ("average", "slice", "contrast", "phase", "repetition", "set", "")


class ImageSortGadget(Gadget2[ismrmrd.ImageHeader, Array[Any]]):
    """Hold images back until the end of the stream, and send them sorted by one of their counters.

    Images with the same counter keep their order. With an empty dimension images pass at once.
    """

    sorting_dimension = Property("slice", doc="counter in the image header to sort by", choices=DIMENSIONS)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._images: list[tuple[int, Container[ismrmrd.ImageHeader]]] = []
        self._n_bytes = 0

    def process(self, header: Container[ismrmrd.ImageHeader], _image: Container[Array[Any]]) -> None:
        """Keep one image."""
        if not self.sorting_dimension:
            self.put_next(header)
            return
        self._n_bytes += header.nbytes
        if self._n_bytes > LIMITS.max_session_bytes:
            raise LimitExceeded("bytes of images waiting to be sorted", self._n_bytes, LIMITS.max_session_bytes)
        self._images.append((getattr(header.object, self.sorting_dimension), header))

    def close(self, flags: int) -> None:
        """Send all images, sorted."""
        images, self._images = sorted(self._images, key=lambda entry: entry[0]), []
        if flags:
            for _, image in images:
                self.put_next(image)
