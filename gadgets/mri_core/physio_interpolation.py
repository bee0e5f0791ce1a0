"""Interpolation of real-time images to phases of the heartbeat."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Final

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.image_arrays import (
    DATA_ROLE,
    IMAGE_COMMENT,
    IMAGE_NUMBER,
    PROCESSING_HISTORY,
    SEQUENCE_DESCRIPTION,
    append_meta,
)
from gadgetron.limits import LIMITS
from gadgetron.message import Array, Container, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgetron.toolboxes.heartbeats import Heartbeats, find_heartbeats
from gadgetron.toolboxes.splines import time_weights

N_TIME_STAMPS: Final = 3
SERIES_PER_BEAT: Final = 10


@dataclass(slots=True)
class _Series:
    """The images of one slice, set and contrast."""

    header: ismrmrd.ImageHeader
    meta: Any
    images: list[Array[np.complex64]] = field(default_factory=list)
    time_stamps: list[float] = field(default_factory=list)


class PhysioInterpolationGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Interpolate real-time images to a number of phases of each heartbeat.

    Takes complex images and passes them on. At the end of the stream it emits, slice by slice, images at equal parts of
    each heartbeat that was seen from trigger to trigger: series number is ten times the heartbeat plus the slice,
    `phase` and image index count the phases.

    Mended against the C++ Gadgetron: heartbeats keep their own lengths; those with a missed trigger, or one too many,
    are left out; without a complete one a warning says so, where the C++ program crashes; sets and contrasts are not
    mixed.
    """

    physiology_time_index = Property(
        0, doc="which of the image's physiology time stamps", minimum=0, maximum=N_TIME_STAMPS - 1
    )
    mode = Property(0, doc="0: a series for each heartbeat; 1: the first complete one only", minimum=0, maximum=1)
    phases = Property(30, doc="number of phases of a heartbeat", minimum=1, maximum=1000)
    first_beat_on_trigger = Property(False, doc="whether acquisition was started by a trigger")
    interp_method = Property(
        "Spline",
        doc="Spline is cubic; BSpline is of order 5, and takes images for equally spaced",
        choices=("Spline", "BSpline", ""),
    )
    time_stamp_resolution_ = Property(2.5, doc="unit of the time stamps [ms]", minimum=0.0)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._has_slices = False
        self._series: dict[tuple[int, int, int], _Series] = {}
        self._n_bytes = 0

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read whether there are several slices."""
        limit = parameters.header.encoding[0].encodingLimits.slice
        self._has_slices = limit is not None and limit.maximum > 0

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Keep a copy of one image, and pass it on."""
        head, data = header.object, image.object
        key = (head.slice, head.set, head.contrast)
        series = self._series.get(key)
        if series is None:
            meta = image.cont.object if isinstance(image.cont, Container) else None
            first = ismrmrd.ImageHeader.from_buffer_copy(head)
            series = self._series[key] = _Series(first, copy.deepcopy(meta))
        elif series.images[0].shape != data.shape:
            raise MalformedMessageError(
                f"image {data.shape}: {series.images[0].shape} expected, as the first of slice {head.slice}"
            )
        self._n_bytes += data.nbytes
        if self._n_bytes > LIMITS.max_session_bytes:
            raise LimitExceeded("bytes of images to be interpolated", self._n_bytes, LIMITS.max_session_bytes)
        series.images.append(data.copy())
        series.time_stamps.append(float(head.physiology_time_stamp[self.physiology_time_index]))
        self.put_next(header)

    def close(self, flags: int) -> None:
        """Interpolate, slice by slice."""
        found, self._series = sorted(self._series.items()), {}
        if not flags:
            return
        for (slice_index, _, _), series in found:
            stamps = np.array(series.time_stamps)
            beats = find_heartbeats(stamps, first_beat_on_trigger=self.first_beat_on_trigger)
            if beats is None or not beats.complete or len(beats.times) < 2:
                self.log.warning("heartbeats.none_complete", slice=slice_index, n_images=len(stamps))
            else:
                self._interpolate(series, beats)

    def _interpolate(self, series: _Series, beats: Heartbeats) -> None:
        numbers = beats.complete[:1] if self.mode == 1 else beats.complete
        wanted = np.array([number + phase / self.phases for number in numbers for phase in range(self.phases)])
        weights = time_weights(beats.times, wanted, "BSpline" if self.interp_method == "BSpline" else "Spline")
        images = np.stack([series.images[index] for index in beats.kept])
        shape = images.shape[1:]
        flat = images.reshape(len(images), -1)
        for row, (number, phase) in zip(
            weights.astype(np.float32), ((n, p) for n in numbers for p in range(self.phases)), strict=True
        ):
            data = (row @ flat).reshape(shape).astype(np.complex64)
            header, meta = self._describe(series, beats, number, phase)
            self.put_next(make_message(header, data) if meta is None else make_message(header, data, meta))

    def _describe(self, series: _Series, beats: Heartbeats, number: int, phase: int) -> tuple[Any, Any]:
        """Make header and meta attributes of an interpolated image."""
        length = float(beats.lengths[number])
        header = ismrmrd.ImageHeader.from_buffer_copy(series.header)
        header.physiology_time_stamp[self.physiology_time_index] = int(phase / self.phases * length + 1e-4)
        header.phase = min(phase, len(series.images) - 1)
        header.image_index = phase + 1
        header.image_series_index = (number * SERIES_PER_BEAT + header.slice) & 0xFFFF
        if series.meta is None:
            return header, None
        meta = copy.deepcopy(series.meta)
        meta["PHS"] = header.phase
        meta[IMAGE_NUMBER] = header.image_index
        where = f"_SLC_{header.slice}" if self._has_slices else ""
        beat = f"{where}_RR{self.time_stamp_resolution_ * length:g}ms"
        append_meta(meta, DATA_ROLE, "PhysionInterp")  # the C++ Gadgetron's spelling, which readers look for
        append_meta(meta, IMAGE_COMMENT, f"PhysioInterp{beat}")
        append_meta(meta, SEQUENCE_DESCRIPTION, f"_PhysioInterp{beat}")
        append_meta(meta, PROCESSING_HISTORY, "Interp")
        return header, meta
