"""Passes on images with their meta attributes."""

from __future__ import annotations

from typing import Any

from gadgetron.legacy import Gadget


class ArrayImagePassThrough(Gadget):
    """Put every image as it came."""

    def process(self, header: Any, image: Any = None, meta: Any = None) -> None:
        """Pass one image on; what is no image comes as one object."""
        if image is None:
            self.put_next(header)
        else:
            self.put_next(header, image, meta)
