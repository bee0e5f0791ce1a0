"""What travels between gadgets besides readouts and images: buckets, buffered k-space, image arrays.

Axes are C-ordered, slowest first, as DESIGN.md has them: a buffer is (LOC, S, N, CHA, E2, E1, E0) where the C++
Gadgetron writes [E0, E1, E2, CHA, N, S, LOC]. Names without the C++ trailing underscore.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.acquisition import (
    COUNTERS,
    FLAG_CALIBRATION,
    FLAG_CALIBRATION_AND_IMAGING,
    FLAG_LAST_IN_SLICE,
    FLAG_NOISE,
    FLAG_PHASE_CORRECTION,
    FLAG_REVERSE,
    FLAGS_NOT_IMAGING,
    AcquisitionFields,
    acquisition_fields,
    make_image_header,
)
from gadgetron.message_types import Array
from gadgetron.parallel_imaging import Acceleration

POLL_S = 0.1

__all__ = [
    "COUNTERS",
    "FLAGS_NOT_IMAGING",
    "FLAG_CALIBRATION",
    "FLAG_CALIBRATION_AND_IMAGING",
    "FLAG_LAST_IN_SLICE",
    "FLAG_NOISE",
    "FLAG_PHASE_CORRECTION",
    "FLAG_REVERSE",
    "Acquisition",
    "AcquisitionBucket",
    "AcquisitionBucketStats",
    "AcquisitionFields",
    "CalibrationResult",
    "ImageArray",
    "ReconBit",
    "ReconBuffer",
    "ReconData",
    "SamplingDescription",
    "SamplingLimit",
    "Waveform",
    "acquisition_fields",
    "empty_objects",
    "make_image_header",
]


@dataclass(slots=True)
class Acquisition:
    """One readout in a bucket.

    Attributes
    ----------
    head
        Its header.
    data
        Samples, shape (coils, samples), complex64.
    trajectory
        Shape (samples, dimensions), float32, or None.
    fields
        The header's numbers that buffering needs, read once.
    """

    head: ismrmrd.AcquisitionHeader
    data: Array[np.complex64]
    trajectory: Array[np.float32] | None
    fields: AcquisitionFields


@dataclass(slots=True)
class Waveform:
    """A piece of physiological waveform: header, and data of shape (channels, samples), uint32."""

    head: ismrmrd.WaveformHeader
    data: Array[np.uint32]


class AcquisitionBucketStats:
    """Which values each encoding counter takes among the readouts of one encoding space.

    Every counter is an attribute: a sorted tuple of the values that occur, `stats.slice == (0, 1, 2)`.

    Attributes
    ----------
    n_acquisitions
        Number of readouts.
    """

    def __init__(self, acquisitions: list[Acquisition]) -> None:
        self.n_acquisitions = len(acquisitions)
        columns = zip(*(acquisition.fields.idx for acquisition in acquisitions), strict=True)
        self._values = {name: tuple(sorted(set(column))) for name, column in zip(COUNTERS, columns, strict=False)}

    def __getattr__(self, name: str) -> tuple[int, ...]:
        try:
            values: tuple[int, ...] = self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"no counter is called {name!r}") from None
        return values

    def span(self, counter: str) -> int:
        """Give the number of values from the smallest to the largest received."""
        values: tuple[int, ...] = self._values[counter]
        return values[-1] - values[0] + 1

    def __repr__(self) -> str:
        spans = ", ".join(f"{name}={v[0]}..{v[-1]}" for name, v in self._values.items() if v[-1] > 0)
        return f"<AcquisitionBucketStats {spans}>"


class AcquisitionBucket:
    """Readouts that belong together, between two triggers.

    Attributes
    ----------
    data, reference
        Imaging readouts and parallel imaging calibration readouts; a readout may be in both.
    waveforms
        What was recorded meanwhile.
    """

    def __init__(self) -> None:
        self.data: list[Acquisition] = []
        self.reference: list[Acquisition] = []
        self.waveforms: list[Waveform] = []
        self.nbytes = 0

    def add(self, acquisition: Acquisition, *, is_data: bool, is_reference: bool) -> None:
        """Add a readout to the imaging data, the calibration data, or both."""
        if is_data:
            self.data.append(acquisition)
        if is_reference:
            self.reference.append(acquisition)
        self.nbytes += acquisition.data.nbytes

    @cached_property
    def data_stats(self) -> dict[int, AcquisitionBucketStats]:
        """Statistics of the imaging data by encoding space; to be asked for when the bucket is complete."""
        return _stats(self.data)

    @cached_property
    def reference_stats(self) -> dict[int, AcquisitionBucketStats]:
        """Statistics of the calibration data by encoding space; to be asked for when the bucket is complete."""
        return _stats(self.reference)

    def __repr__(self) -> str:
        counts = f"{len(self.data)} data, {len(self.reference)} reference, {len(self.waveforms)} waveforms"
        return f"<AcquisitionBucket {counts}>"


def _stats(acquisitions: list[Acquisition]) -> dict[int, AcquisitionBucketStats]:
    by_space: dict[int, list[Acquisition]] = {}
    for acquisition in acquisitions:
        by_space.setdefault(acquisition.fields.encoding_space_ref, []).append(acquisition)
    return {space: AcquisitionBucketStats(members) for space, members in by_space.items()}


@dataclass(slots=True)
class SamplingLimit:
    """First and last sampled position along one axis of a buffer, and where k-space center is."""

    min: int
    center: int
    max: int


@dataclass(slots=True)
class SamplingDescription:
    """Geometry of a buffer: fields of view [mm], matrices and sampled ranges along (x, y, z), that is (E0, E1, E2)."""

    encoded_FOV: tuple[float, float, float]
    recon_FOV: tuple[float, float, float]
    encoded_matrix: tuple[int, int, int]
    recon_matrix: tuple[int, int, int]
    sampling_limits: tuple[SamplingLimit, SamplingLimit, SamplingLimit]


@dataclass(slots=True)
class ReconBuffer:
    """K-space on a grid.

    Attributes
    ----------
    data
        Shape (LOC, S, N, CHA, E2, E1, E0), complex64; zero where nothing was acquired.
    headers
        Shape (LOC, S, N, E2, E1): AcquisitionHeader objects, None where nothing was acquired.
    sampling
        Geometry and sampled ranges.
    trajectory
        Shape (LOC, S, N, E2, E1, E0, dimensions), float32, or None.
    density
        Weights of the samples, shape (LOC, S, N, E2, E1, E0), float32, or None.
    averages
        How many readouts each line is the mean of, shape (LOC, S, N, E2, E1), uint16; None if no line came more than
        once.
    """

    data: Array[np.complex64]
    headers: Array[np.object_]
    sampling: SamplingDescription
    trajectory: Array[np.float32] | None = None
    density: Array[np.float32] | None = None
    averages: Array[np.uint16] | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the arrays [bytes]."""
        arrays = (self.data, self.headers, self.trajectory, self.density, self.averages)
        return sum(int(array.nbytes) for array in arrays if array is not None)

    def center_header(self, loc: int, s: int, n: int) -> ismrmrd.AcquisitionHeader | None:
        """Give the header of the acquired line nearest to k-space center, or None if no line was acquired.

        The C++ Gadgetron takes the line at the center, acquired or not; where it was not, the image's geometry is zero.
        """
        lines = self.headers[loc, s, n]
        n_e2, n_e1 = lines.shape
        center_e1 = min(self.sampling.sampling_limits[1].center, n_e1 - 1)
        center_e2 = min(self.sampling.sampling_limits[2].center, n_e2 - 1)
        header = lines[center_e2, center_e1]
        if header is not None:
            return header
        acquired_e2, acquired_e1 = np.nonzero(lines)  # a header is true, None is not
        if acquired_e1.size == 0:
            return None
        nearest = int(np.argmin((acquired_e2 - center_e2) ** 2 + (acquired_e1 - center_e1) ** 2))
        return lines[acquired_e2[nearest], acquired_e1[nearest]]


class CalibrationResult:
    """What a reconstruction computes from calibration data, for all recon data that is to use the same.

    The gadget that prepares calibration data gives each its own, and later recon data without calibration data that of
    the last. So several threads can reconstruct at once: who has the calibration data sets the result, the others wait.

    Parameters
    ----------
    previous
        The last one of the same slice: it takes the place of a result that could not be computed.
    """

    def __init__(self, previous: CalibrationResult | None = None) -> None:
        self._is_set = threading.Event()
        self._value: object = None
        self._previous = previous

    def set(self, value: object) -> None:
        """Set the result; None if it could not be computed."""
        self._value = value
        if value is not None:
            self._previous = None
        self._is_set.set()

    def wait(self, should_stop: Callable[[], bool]) -> Any:
        """Give the result, or the previous one if it could not be computed; None if the session ends before.

        Who computes it took its recon data before. It may yet never be computed, if that thread fails first: so the
        session's end is looked for while waiting.
        """
        result = self
        while True:
            while not result._is_set.wait(POLL_S):
                if should_stop():
                    return None
            previous = result._previous
            if previous is None:
                break
            result = previous
        if self._value is None:
            self._value, self._previous = result._value, None  # or the chain would grow with each that fails
        return result._value


@dataclass(slots=True)
class ReconBit:
    """Imaging data and calibration data of one encoding space; either may be absent.

    `calibration` is there once calibration data was prepared, for this bit or for one before it; `acceleration` where
    the lines tell it, and the header does not.
    """

    data: ReconBuffer | None = None
    reference: ReconBuffer | None = None
    calibration: CalibrationResult | None = None
    acceleration: Acceleration | None = None


@dataclass(slots=True)
class ReconData:
    """Everything that is reconstructed together: one bit for each encoding space, by its number."""

    bits: list[ReconBit] = field(default_factory=list)
    waveforms: list[Waveform] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Memory of all buffers [bytes]."""
        buffers = (buffer for bit in self.bits for buffer in (bit.data, bit.reference))
        return sum(buffer.nbytes for buffer in buffers if buffer is not None)


@dataclass(slots=True)
class ImageArray:
    """Images of one reconstruction.

    Attributes
    ----------
    data
        Shape (LOC, S, N, CHA, z, y, x), complex64.
    headers
        Shape (LOC, S, N): ImageHeader objects.
    meta
        Shape (LOC, S, N): ismrmrd.Meta objects, or None where an image has none.
    waveforms, acquisition_headers
        What the images were made of, for who asks; acquisition_headers as in ReconBuffer.
    """

    data: Array[np.complex64]
    headers: Array[np.object_]
    meta: Array[np.object_]
    waveforms: list[Waveform] = field(default_factory=list)
    acquisition_headers: Array[np.object_] | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the pixels [bytes]."""
        return int(self.data.nbytes)


def empty_objects(shape: tuple[int, ...]) -> Any:
    """Make an object array full of None."""
    return np.full(shape, None, dtype=object)
