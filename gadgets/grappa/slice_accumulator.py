"""Collection of the readouts of a slice."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import CLOSE_NORMAL, Gadget2
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array, Container, make_message
from gadgetron.recon_types import (
    COUNTERS,
    FLAG_LAST_IN_SLICE,
    FLAG_PHASE_CORRECTION,
    FLAGS_NOT_IMAGING,
    Acquisition,
    acquisition_fields,
)
from gadgetron.toolboxes.arrays import owned
from gadgets.grappa.slices import SLICE, Slice, is_imaging

IMAGE_COUNTERS = tuple(COUNTERS.index(name) for name in ("contrast", "phase", "repetition", "set"))


class SliceAccumulator(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Collect readouts until their slice is complete, and send them on together.

    Takes acquisitions, emits one Slice for each image: at the readout that is flagged as the last of its slice, when an
    imaging readout of the same slice belongs to another contrast, phase, repetition or set, and at the end. Noise,
    feedback, dummy and phase correction readouts are dropped.

    Mended against the C++ Gadgetron: interleaved slices do not mix, and a last slice without a flag is not lost.
    """

    emits = ((Slice,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._waiting: dict[int, list[Acquisition]] = {}
        self._image_of: dict[int, tuple[int, ...]] = {}  # counters of the image that a slice's readouts belong to
        self._nbytes = 0
        self._n_sent = 0

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Take one readout."""
        fields = acquisition_fields(header.object)
        if fields.flags & (FLAGS_NOT_IMAGING | FLAG_PHASE_CORRECTION):
            return
        if fields.encoding_space_ref:
            raise MalformedMessageError(
                f"encoding_space_ref ({fields.encoding_space_ref}): 0 expected — scan_counter {fields.scan_counter}"
            )
        index = fields.idx[SLICE]
        acquisition = Acquisition(header.object, owned(readout.object), None, fields)
        if is_imaging(acquisition):
            image = tuple(fields.idx[counter] for counter in IMAGE_COUNTERS)
            if self._image_of.setdefault(index, image) != image:
                self._send(index)
                self._image_of[index] = image
        self._nbytes += acquisition.data.nbytes
        check("bytes of slices that are not complete", self._nbytes, LIMITS.max_session_bytes)
        self._waiting.setdefault(index, []).append(acquisition)
        if fields.flags & FLAG_LAST_IN_SLICE:
            self._send(index)

    def _send(self, index: int) -> None:
        self._image_of.pop(index, None)
        acquisitions = self._waiting.pop(index, [])
        if acquisitions:
            self._nbytes -= sum(acquisition.data.nbytes for acquisition in acquisitions)
            self.put_next(make_message(Slice(self._n_sent, index, acquisitions)))
            self._n_sent += 1

    def close(self, flags: int) -> None:
        """Send what waits for a flag."""
        if flags == CLOSE_NORMAL:
            for index in list(self._waiting):
                self._send(index)
        self._waiting.clear()
