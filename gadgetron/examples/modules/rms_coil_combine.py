"""Combines the images of the coils by root sum of squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from gadgetron.legacy import Gadget


class RMSCoilCombine(Gadget):
    """Put images of one channel, complex with imaginary part zero, for images (x, y, z, channels)."""

    def process(self, header: Any, image: Any) -> None:
        """Combine one image."""
        combined = np.sqrt(np.sum(np.square(np.abs(image)), axis=3, keepdims=True))
        header.channels = 1
        self.put_next(header, combined.astype(np.complex64))
