"""From readouts to slices, and from slices to aliased images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.header import IsmrmrdHeader
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array
from gadgetron.parallel_imaging import acceleration_of
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
from gadgets.grappa.slices import E1, SLICE, LineGrid, Slice, SliceImage, is_imaging
from gadgets.mri_core.left_out import LeftOutReadouts

AVERAGE, REPETITION = COUNTERS.index("average"), COUNTERS.index("repetition")
IMAGE_COUNTERS = tuple(COUNTERS.index(name) for name in ("contrast", "phase", "repetition", "set"))

Key = tuple[int, ...]


@dataclass(slots=True)
class _Image:
    """What has come of an image of a slice."""

    repetition: int
    acquisitions: list[Acquisition] = field(default_factory=list)
    lines: set[int] = field(default_factory=set)


class SliceCollector:
    """Collects readouts, for each slice and contrast, phase, repetition and set: these are images of their own.

    An image is complete at the readout that is flagged as the last of its slice: of the last average, where the header
    has several. Then those images of the same slice are complete, too, that have as many lines: the flag may be at the
    last contrast only. Without a flag an image is complete when another one of its slice begins and it has all lines
    that the header lets one expect, or more than half of them if that other one is of another repetition.

    Readouts for calibration alone go with the next image of their slice. Noise, feedback, dummy and phase correction
    readouts are dropped, and so are further copies of an image's last line behind its flag. Of readouts that are not
    finite the flag counts, and nothing else.

    Parameters
    ----------
    left_out
        Knows which readouts are not finite.
    header
        Says how many lines an image has, and how many averages.
    """

    def __init__(self, left_out: LeftOutReadouts, header: IsmrmrdHeader | None = None) -> None:
        self._left_out = left_out
        self._n_lines, self._last_average = _extent(header)
        self._images: dict[int, dict[Key, _Image]] = {}  # by slice, then in the order in which they began
        self._calibration: dict[int, list[Acquisition]] = {}  # by slice
        self._flagged: dict[int, tuple[Key, int]] = {}  # by slice: image and line of the last flag
        self._nbytes = 0
        self._n_complete = 0
        self.n_late = 0
        """Copies of last lines that came too late."""

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
        index, line = fields.idx[SLICE], fields.idx[E1]
        key = tuple(fields.idx[counter] for counter in IMAGE_COUNTERS)
        is_last = bool(fields.flags & FLAG_LAST_IN_SLICE) and fields.idx[AVERAGE] >= self._last_average
        images = self._images.setdefault(index, {})
        acquisition = Acquisition(header, owned(readout), None, fields)
        if is_imaging(acquisition) and key not in images:
            if is_last and self._flagged.get(index) == (key, line):
                self.n_late += 1
                return
            yield from self._complete(index, self._superseded(images, fields.idx[REPETITION]), uncombined)
            images[key] = _Image(fields.idx[REPETITION])
        if self._left_out.is_usable(acquisition.data, fields.scan_counter):
            if is_imaging(acquisition):
                images[key].acquisitions.append(acquisition)
            else:
                self._calibration.setdefault(index, []).append(acquisition)
            self._nbytes += acquisition.data.nbytes
        if is_imaging(acquisition):
            images[key].lines.add(line)
        check("bytes of slices that are not complete", self._nbytes, LIMITS.max_session_bytes)
        if is_last:
            yield from self._complete_flagged(index, key, line, uncombined)

    def _superseded(self, images: dict[Key, _Image], repetition: int) -> list[Key]:
        """Give the images of a slice that are complete when another one begins."""
        return [
            key
            for key, image in images.items()
            if len(image.lines) >= self._n_lines
            or (image.repetition != repetition and 2 * len(image.lines) > self._n_lines)
        ]

    def _complete_flagged(self, index: int, key: Key, line: int, uncombined: tuple[int, ...]) -> Iterator[Slice]:
        images = self._images[index]
        flagged = images.get(key)
        if flagged is not None:
            if len(flagged.lines) > 1:
                self._flagged[index] = (key, line)
            n_lines = len(flagged.lines)
            yield from self._complete(
                index, [other for other, image in images.items() if len(image.lines) >= n_lines], uncombined
            )
        elif not images:
            yield from self._give(index, [], uncombined)

    def rest(self, uncombined: tuple[int, ...] = ()) -> Iterator[Slice]:
        """Give what waits for a flag."""
        for index, images in self._images.items():
            yield from self._complete(index, list(images), uncombined)
            yield from self._give(index, [], uncombined)

    def _complete(self, index: int, keys: list[Key], uncombined: tuple[int, ...]) -> Iterator[Slice]:
        for key in keys:
            yield from self._give(index, self._images[index].pop(key).acquisitions, uncombined)

    def _give(self, index: int, imaging: list[Acquisition], uncombined: tuple[int, ...]) -> Iterator[Slice]:
        """Give a slice of these readouts and the calibration that waits; none if there is neither."""
        acquisitions = self._calibration.pop(index, []) + imaging
        if acquisitions:
            self._nbytes -= sum(acquisition.data.nbytes for acquisition in acquisitions)
            self._n_complete += 1
            yield Slice(self._n_complete - 1, index, acquisitions, uncombined)


def _extent(header: IsmrmrdHeader | None) -> tuple[int, int]:
    """Give the number of lines that an image has at least, and the number of its last average."""
    if header is None or not header.encoding:
        return 1, 0
    encoding = header.encoding[0]
    limits = encoding.encodingLimits
    along_y = limits.kspace_encoding_step_1
    n_lines = along_y.size if along_y is not None else encoding.encodedSpace.matrixSize.y
    return max(1, n_lines // acceleration_of(encoding).e1), limits.average.maximum if limits.average is not None else 0


def slice_image(piece: Slice, grid: LineGrid) -> SliceImage | None:
    """Transform the imaging readouts of a slice to images of the single coils; None if it has none."""
    imaging = [acquisition for acquisition in piece.acquisitions if is_imaging(acquisition)]
    if not imaging:
        return None
    kspace, _ = grid.lay_out(imaging)
    return SliceImage(piece.number, piece.index, ifft(kspace, (2, 3)), imaging[0].head, imaging[-1].head)
