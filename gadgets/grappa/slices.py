"""What travels between the gadgets of this folder, and how lines are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.header import EncodingSpace, IsmrmrdHeader
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array
from gadgetron.recon_types import COUNTERS, FLAG_CALIBRATION, Acquisition
from gadgetron.toolboxes.grappa_lines import WrapCorrection

SLICE = COUNTERS.index("slice")
E1 = COUNTERS.index("kspace_encode_step_1")
E2 = COUNTERS.index("kspace_encode_step_2")
ROUNDING = 1e-3  # fields of view come as decimal numbers


@dataclass(frozen=True, slots=True)
class ChannelAnnotation:
    """Which coils get images of their own: a further block of an acquisition message."""

    uncombined: tuple[int, ...]


@dataclass(slots=True)
class Slice:
    """The readouts of one image of one slice. Whoever gets it reads it only: streams share it.

    Attributes
    ----------
    number
        Counts the slices that came, from 0.
    index
        Which slice of the volume.
    acquisitions
        Those for calibration alone, then the others, in the order in which they came; never empty.
    uncombined
        Coils that get images of their own.
    """

    number: int
    index: int
    acquisitions: Sequence[Acquisition]
    uncombined: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory of the samples [bytes]."""
        return sum(acquisition.data.nbytes for acquisition in self.acquisitions)


@dataclass(slots=True)
class SliceImage:
    """Aliased images of the coils, from the imaging readouts of one slice.

    Attributes
    ----------
    number, index
        Those of the Slice.
    data
        Shape (coils, 1, y, x), complex64.
    first, last
        Headers of the first and of the last readout.
    """

    number: int
    index: int
    data: Array[np.complex64]
    first: ismrmrd.AcquisitionHeader
    last: ismrmrd.AcquisitionHeader

    @property
    def nbytes(self) -> int:
        """Memory of the pixels [bytes]."""
        return int(self.data.nbytes)


@dataclass(slots=True)
class SliceWeights:
    """What is known about unmixing behind a slice.

    Attributes
    ----------
    number, index
        Those of the Slice.
    unmixing
        New coefficients, shape (images, coils, 1, y, x), complex64; None if there are no new ones.
    correction
        What else images need, where the number of lines is no multiple of the acceleration.
    reason
        Why there are none at all yet; empty if there are.
    """

    number: int
    index: int
    unmixing: Array[np.complex64] | None = None
    reason: str = ""
    correction: WrapCorrection | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the coefficients [bytes]."""
        maps = self.correction.maps if self.correction is not None else None
        return sum(int(array.nbytes) for array in (self.unmixing, maps) if array is not None)


class LineGrid:
    """Where lines belong: the grid of the header's only encoding space.

    Attributes
    ----------
    n_y
        Number of encoded lines.
    center
        The value of kspace_encode_step_1 at the center of k-space.
    acceleration
        As the header says; None if it does not.
    """

    def __init__(self, header: IsmrmrdHeader) -> None:
        encoding = header.encoding[0]
        if len(header.encoding) > 1:
            raise MalformedMessageError(f"encoding: the header has {len(header.encoding)}, this reconstruction takes 1")
        encoded, recon = encoding.encodedSpace, encoding.reconSpace
        if encoded.matrixSize.z > 1 or recon.matrixSize.z > 1:
            raise MalformedMessageError(f"matrixSize.z ({encoded.matrixSize.z}): slices expected, no volumes")
        limit, parallel = encoding.encodingLimits.kspace_encoding_step_1, encoding.parallelImaging
        self.n_y = encoded.matrixSize.y
        self._lengths = sorted({recon.matrixSize.x, encoded.matrixSize.x, cropped_length(encoded, recon)})
        self.center = limit.center if limit is not None else self.n_y // 2
        self.acceleration = parallel.accelerationFactor.kspace_encoding_step_1 if parallel is not None else None
        self._offset = self.n_y // 2 - self.center

    def row(self, line: int) -> int:
        """Give the row of a line."""
        return line + self._offset

    def lay_out(self, acquisitions: Sequence[Acquisition]) -> tuple[Array[np.complex64], set[int]]:
        """Give k-space (coils, 1, y, x), zero where nothing was acquired, and the lines that were.

        A line that came more than once is averaged.

        Raises
        ------
        MalformedMessageError
            If a readout does not fit the grid, or has another number of coils than the first.
        """
        n_coils, n_x = acquisitions[0].data.shape
        check("bytes of a slice", n_coils * self.n_y * n_x * 8, LIMITS.max_session_bytes)
        kspace = np.zeros((n_coils, 1, self.n_y, n_x), np.complex64)
        counts: dict[int, int] = {}
        for acquisition in acquisitions:
            line = self._checked(acquisition, n_coils, n_x)
            counts[line] = counts.get(line, 0) + 1
            kspace[:, 0, self.row(line)] += acquisition.data
        for line, count in counts.items():
            if count > 1:
                kspace[:, 0, self.row(line)] /= count
        return kspace, set(counts)

    def _checked(self, acquisition: Acquisition, n_coils: int, n_x: int) -> int:
        fields = acquisition.fields
        line = fields.idx[E1]
        where = f"scan_counter {fields.scan_counter}"
        if fields.idx[E2]:
            raise MalformedMessageError(f"kspace_encode_step_2 ({fields.idx[E2]}): 0 expected, no volumes — {where}")
        if not 0 <= self.row(line) < self.n_y:
            raise MalformedMessageError(
                f"kspace_encode_step_1 ({line}): outside of the {self.n_y} encoded lines, with the header's center, "
                f"{self.center}, in the middle — {where}"
            )
        shape = acquisition.data.shape
        if shape != (n_coils, n_x):
            raise MalformedMessageError(
                f"number_of_samples, active_channels {shape[::-1]}: {n_x, n_coils} expected, as in the first line — "
                f"{where}"
            )
        if n_x not in self._lengths:
            lengths = " or ".join(str(length) for length in self._lengths)
            raise MalformedMessageError(
                f"number_of_samples ({n_x}): {lengths} expected, from the matrices' sizes along x, with or without "
                f"oversampling — {where}"
            )
        return line


def cropped_length(encoded: EncodingSpace, recon: EncodingSpace) -> int:
    """Give the samples of a line that are left when it is cropped to the field of view of the image."""
    view, whole = recon.fieldOfView_mm.x, encoded.fieldOfView_mm.x
    n_x = encoded.matrixSize.x
    return max(1, int(n_x / (whole / view) + ROUNDING)) if 0 < view < whole else n_x


def is_imaging(acquisition: Acquisition) -> bool:
    """Tell whether a readout belongs into the image, or into the calibration alone."""
    return not acquisition.fields.flags & FLAG_CALIBRATION
