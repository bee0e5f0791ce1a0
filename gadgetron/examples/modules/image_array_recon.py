"""Takes image arrays apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from gadgetron.legacy import Gadget


class ImageArrayRecon(Gadget):
    """Put the images (x, y, z, channels) of an image array one by one, with their meta attributes."""

    def process(self, array: Any) -> None:
        """Put the images of one array."""
        for index, position in enumerate(np.ndindex(array.data.shape[:3:-1])):
            loc, s, n = position
            meta = array.meta[index] if index < len(array.meta) else ""
            self.put_next(array.headers[n, s, loc], array.data[:, :, :, :, n, s, loc], meta)
