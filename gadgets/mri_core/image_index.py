"""Numbering of images."""

from __future__ import annotations

from typing import Any

import ismrmrd

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container

MAX_SERIES = 65_536  # image_series_index has 16 bits


class ImageIndexGadget(Gadget2[ismrmrd.ImageHeader, Array[Any]]):
    """Number the images of each series from 1, in the order in which they come."""

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._counts: dict[int, int] = {}

    def process(self, header: Container[ismrmrd.ImageHeader], _image: Container[Array[Any]]) -> None:
        """Give one image its number."""
        head = header.object
        series = head.image_series_index % MAX_SERIES
        self._counts[series] = self._counts.get(series, 0) + 1
        head.image_index = self._counts[series] & 0xFFFF
        self.put_next(header)
