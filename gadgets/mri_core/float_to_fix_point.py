"""Conversion of float images to integers."""

from __future__ import annotations

import math
import threading
from typing import Any, ClassVar

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.toolboxes.images import count_clipped, to_integers

WINDOW_CENTER = "GADGETRON_WindowCenter"


class _FloatToFixPoint(Gadget2[ismrmrd.ImageHeader, Array[np.float32]]):
    """What the conversions share: magnitudes are clamped, real and imaginary parts shifted, phases scaled.

    The client is told of the first image with pixels beyond the limits.
    """

    thread_safe = True
    dtype: ClassVar[type[np.integer[Any]]]
    data_type: ClassVar[int]
    min_intensity: Property[int]
    max_intensity: Property[int]
    intensity_offset: Property[int]

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._count_lock = threading.Lock()
        self._n_clipped = 0
        self._n_images_clipped = 0

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.float32]]) -> None:
        """Convert one image."""
        image_type = header.object.image_type
        offset = int(self.intensity_offset)
        values = image.object
        if image_type == ismrmrd.IMTYPE_MAGNITUDE:
            values = np.abs(values)
        elif image_type in (ismrmrd.IMTYPE_REAL, ismrmrd.IMTYPE_IMAG):
            values = values + np.float32(offset)
            self._shift_window(image, offset)
        elif image_type == ismrmrd.IMTYPE_PHASE:
            values = values * np.float32(offset / math.pi) + np.float32(offset)
        else:
            raise MalformedMessageError(
                f"image_type ({image_type}): magnitude, real, imaginary or phase expected — image_index "
                f"{header.object.image_index}; is an ExtractGadget missing before {self.name}?"
            )
        if image_type != ismrmrd.IMTYPE_PHASE:  # of which π is one above the range, by definition
            self._look_for_clipping(values)
        converted: Any = to_integers(values, self.dtype, int(self.min_intensity), int(self.max_intensity))
        image.object = converted
        header.object.data_type = self.data_type
        self.put_next(header)

    def _look_for_clipping(self, values: Array[np.float32]) -> None:
        """Count pixels beyond the limits, and warn of the first."""
        n_clipped = count_clipped(values, int(self.min_intensity), int(self.max_intensity))
        if not n_clipped:
            return
        with self._count_lock:
            self._n_clipped += n_clipped
            self._n_images_clipped += 1
        self.warn_once(
            "pixels.clipped",
            f"{n_clipped} of {values.size} pixels of an image are beyond {self.min_intensity} to {self.max_intensity} "
            f"and are clipped (min_intensity, max_intensity); they are {np.nanmin(values):.6g} to "
            f"{np.nanmax(values):.6g}",
        )

    def close(self, flags: int) -> None:
        """Say how many pixels were clipped in all."""
        if self._n_clipped:
            self.log.warning("pixels.clipped_in_all", n_pixels=self._n_clipped, n_images=self._n_images_clipped)

    def _shift_window(self, image: Container[Array[np.float32]], offset: int) -> None:
        meta = image.cont.object if isinstance(image.cont, Container) else None
        if isinstance(meta, ismrmrd.Meta) and meta.get(WINDOW_CENTER) is not None:
            try:
                meta[WINDOW_CENTER] = str(int(float(meta[WINDOW_CENTER])) + offset)
            except (TypeError, ValueError):
                self.log.warning("image.window_center_not_a_number")


class FloatToUShortGadget(_FloatToFixPoint):
    """Convert float images to unsigned 16-bit integers.

    Takes float images of a known image_type. Rounds to the nearest, halves away from zero. Magnitudes are clamped to
    the limits; the offset is added to real and imaginary parts; phases in -π..π become 0..2 offset.
    """

    max_intensity = Property(4095, doc="largest pixel value", minimum=0, maximum=65535)
    min_intensity = Property(0, doc="smallest pixel value", minimum=0, maximum=65535)
    intensity_offset = Property(
        2048, doc="pixel value of zero in real, imaginary and phase images", minimum=0, maximum=65535
    )
    dtype = np.uint16
    data_type = ismrmrd.DATATYPE_USHORT
    emits = ((ismrmrd.ImageHeader, Array[np.uint16]),)


class FloatToShortGadget(_FloatToFixPoint):
    """Convert float images to signed 16-bit integers; otherwise as FloatToUShortGadget."""

    max_intensity = Property(32767, doc="largest pixel value", minimum=-32768, maximum=32767)
    min_intensity = Property(-32768, doc="smallest pixel value", minimum=-32768, maximum=32767)
    intensity_offset = Property(
        0, doc="pixel value of zero in real, imaginary and phase images", minimum=-32768, maximum=32767
    )
    dtype = np.int16
    data_type = ismrmrd.DATATYPE_SHORT
    emits = ((ismrmrd.ImageHeader, Array[np.int16]),)


class FloatToUIntGadget(_FloatToFixPoint):
    """Convert float images to unsigned 32-bit integers; otherwise as FloatToUShortGadget."""

    max_intensity = Property(4095, doc="largest pixel value", minimum=0, maximum=4294967295)
    min_intensity = Property(0, doc="smallest pixel value", minimum=0, maximum=4294967295)
    intensity_offset = Property(
        2048, doc="pixel value of zero in real, imaginary and phase images", minimum=0, maximum=4294967295
    )
    dtype = np.uint32
    data_type = ismrmrd.DATATYPE_UINT
    emits = ((ismrmrd.ImageHeader, Array[np.uint32]),)


class FloatToIntGadget(_FloatToFixPoint):
    """Convert float images to signed 32-bit integers; otherwise as FloatToUShortGadget."""

    max_intensity = Property(4095, doc="largest pixel value", minimum=-2147483648, maximum=2147483647)
    min_intensity = Property(0, doc="smallest pixel value", minimum=-2147483648, maximum=2147483647)
    intensity_offset = Property(
        2048, doc="pixel value of zero in real, imaginary and phase images", minimum=-2147483648, maximum=2147483647
    )
    dtype = np.int32
    data_type = ismrmrd.DATATYPE_INT
    emits = ((ismrmrd.ImageHeader, Array[np.int32]),)
