"""Complex images to float images of the type they say they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container

_CONVERSIONS: Mapping[int, Callable[[Any], Any]] = {
    ismrmrd.IMTYPE_MAGNITUDE: np.abs,
    ismrmrd.IMTYPE_PHASE: np.angle,
    ismrmrd.IMTYPE_REAL: np.real,
    ismrmrd.IMTYPE_IMAG: np.imag,
}


class ComplexToFloatGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Convert complex images to float: to magnitude, phase (-π..π), real or imaginary part, by their image_type.

    An image without image_type becomes a magnitude image. Emits one float image per image.
    """

    emits = ((ismrmrd.ImageHeader, Array[np.float32]),)
    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Convert one image."""
        head = header.object
        head.image_type = head.image_type or ismrmrd.IMTYPE_MAGNITUDE
        convert = _CONVERSIONS.get(head.image_type)
        if convert is None:
            raise MalformedMessageError(
                f"image_type ({head.image_type}): magnitude, phase, real or imaginary expected — "
                f"image_index {head.image_index}"
            )
        converted: Any = np.ascontiguousarray(convert(image.object), np.float32)
        image.object = converted
        head.data_type = ismrmrd.DATATYPE_FLOAT
        self.put_next(header)
