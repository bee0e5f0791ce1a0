"""Parts of complex images: magnitude, real, imaginary, phase."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, make_message
from gadgetron.properties import Property

SERIES_DISTANCE = 1000


class _Part(NamedTuple):
    bit: int
    image_type: int
    series: int
    has_offset: bool
    extract: Callable[[Any], Any]


PARTS = {
    "extract_magnitude": _Part(1, ismrmrd.IMTYPE_MAGNITUDE, 0, False, np.abs),
    "extract_real": _Part(2, ismrmrd.IMTYPE_REAL, 1, True, np.real),
    "extract_imag": _Part(4, ismrmrd.IMTYPE_IMAG, 2, True, np.imag),
    "extract_phase": _Part(8, ismrmrd.IMTYPE_PHASE, 3, False, lambda data: np.angle(data) + np.float32(np.pi)),
}


class ExtractGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Extract magnitude, real part, imaginary part or phase of complex images.

    Emits one float image for each part asked for, in this order, in series 0, 1000, 2000 and 3000 above the image's
    own. The phase is shifted to 0..2π. Meta attributes are copied to each.
    """

    extract_mask = Property(
        0, doc="old way to ask for parts: sum of 1 magnitude, 2 real, 4 imaginary, 8 phase", minimum=0, maximum=15
    )
    extract_magnitude = Property(True, doc="extract the magnitude")
    extract_real = Property(False, doc="extract the real part")
    extract_imag = Property(False, doc="extract the imaginary part")
    extract_phase = Property(False, doc="extract the phase, 0 to 2π")
    real_imag_offset = Property(0.0, doc="what is added to real and imaginary parts")

    emits = ((ismrmrd.ImageHeader, Array[np.float32]),)
    thread_safe = True

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Send the parts of one image."""
        meta = image.cont.object if isinstance(image.cont, Container) else None
        for name, part in PARTS.items():
            if not (getattr(self, name) or self.extract_mask & part.bit):
                continue
            data = np.ascontiguousarray(part.extract(image.object), np.float32)
            if part.has_offset and self.real_imag_offset:
                data = data + np.float32(self.real_imag_offset)
            head = ismrmrd.ImageHeader.from_buffer_copy(header.object)
            head.data_type = ismrmrd.DATATYPE_FLOAT
            head.image_type = part.image_type
            head.image_series_index = (head.image_series_index + part.series * SERIES_DISTANCE) & 0xFFFF
            self.put_next(make_message(head, data) if meta is None else make_message(head, data, copy.deepcopy(meta)))
