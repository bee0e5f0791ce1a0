"""From readouts to slices, and from slices to aliased images."""

from __future__ import annotations

from collections.abc import Iterator

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array
from gadgetron.recon_types import (
    COUNTERS,
    FLAG_LAST_IN_SLICE,
    FLAG_PHASE_CORRECTION,
    FLAGS_NOT_IMAGING,
    Acquisition,
    acquisition_fields,
)
from gadgetron.toolboxes.arrays import owned
from gadgetron.toolboxes.fft import ifft
from gadgets.grappa.slices import SLICE, LineGrid, Slice, SliceImage, is_imaging

IMAGE_COUNTERS = tuple(COUNTERS.index(name) for name in ("contrast", "phase", "repetition", "set"))


class SliceCollector:
    """Collects readouts, slice by slice.

    A slice is complete at the readout that is flagged as its last, and when an imaging readout of it belongs to another
    contrast, phase, repetition or set. Noise, feedback, dummy and phase correction readouts are dropped.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, list[Acquisition]] = {}
        self._image_of: dict[int, tuple[int, ...]] = {}  # counters of the image that a slice's readouts belong to
        self._nbytes = 0
        self._n_complete = 0

    def add(
        self, header: ismrmrd.AcquisitionHeader, readout: Array[np.complex64], uncombined: tuple[int, ...] = ()
    ) -> Iterator[Slice]:
        """Take a readout; give the slices that it makes complete.

        Raises
        ------
        MalformedMessageError
            If the readout is of a second encoding space.
        LimitExceeded
            If what is not complete is more than a session may hold.
        """
        fields = acquisition_fields(header)
        if fields.flags & (FLAGS_NOT_IMAGING | FLAG_PHASE_CORRECTION):
            return
        if fields.encoding_space_ref:
            raise MalformedMessageError(
                f"encoding_space_ref ({fields.encoding_space_ref}): 0 expected — scan_counter {fields.scan_counter}"
            )
        index = fields.idx[SLICE]
        acquisition = Acquisition(header, owned(readout), None, fields)
        if is_imaging(acquisition):
            image = tuple(fields.idx[counter] for counter in IMAGE_COUNTERS)
            if self._image_of.setdefault(index, image) != image:
                yield from self._complete(index, uncombined)
                self._image_of[index] = image
        self._nbytes += acquisition.data.nbytes
        check("bytes of slices that are not complete", self._nbytes, LIMITS.max_session_bytes)
        self._waiting.setdefault(index, []).append(acquisition)
        if fields.flags & FLAG_LAST_IN_SLICE:
            yield from self._complete(index, uncombined)

    def rest(self, uncombined: tuple[int, ...] = ()) -> Iterator[Slice]:
        """Give what waits for a flag."""
        for index in list(self._waiting):
            yield from self._complete(index, uncombined)

    def _complete(self, index: int, uncombined: tuple[int, ...]) -> Iterator[Slice]:
        self._image_of.pop(index, None)
        acquisitions = self._waiting.pop(index, [])
        if acquisitions:
            self._nbytes -= sum(acquisition.data.nbytes for acquisition in acquisitions)
            self._n_complete += 1
            yield Slice(self._n_complete - 1, index, acquisitions, uncombined)


def slice_image(piece: Slice, grid: LineGrid) -> SliceImage | None:
    """Transform the imaging readouts of a slice to images of the single coils; None if it has none."""
    imaging = [acquisition for acquisition in piece.acquisitions if is_imaging(acquisition)]
    if not imaging:
        return None
    kspace, _ = grid.lay_out(imaging)
    return SliceImage(piece.number, piece.index, ifft(kspace, (2, 3)), imaging[0].head, imaging[-1].head)
