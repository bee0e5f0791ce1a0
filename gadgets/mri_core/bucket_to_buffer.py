"""Placement of the readouts of a bucket on the k-space grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.header import Encoding, IsmrmrdHeader
from gadgetron.limits import LIMITS, check
from gadgetron.message import Container, GadgetContainerMessage, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import (
    COUNTERS,
    Acquisition,
    AcquisitionBucket,
    AcquisitionBucketStats,
    AcquisitionFields,
    ReconBit,
    ReconBuffer,
    ReconData,
    SamplingDescription,
    SamplingLimit,
    empty_objects,
)
from gadgetron.toolboxes.arrays import shared_pool
from gadgetron.toolboxes.kspace import (
    AxisGrid,
    ReadoutPlace,
    Received,
    phase_encoding_grid,
    place_readout,
    usable_center,
)
from gadgets.mri_core.left_out import LeftOutReadouts
from gadgets.mri_core.line_means import LineMeans

DIMENSIONS = ("average", "contrast", "phase", "repetition", "set", "segment", "slice", "none", "")
KEY = ("average", "slice", "contrast", "phase", "repetition", "set", "segment")
E1, E2, SLICE = (COUNTERS.index(name) for name in ("kspace_encode_step_1", "kspace_encode_step_2", "slice"))

Key = tuple[int, ...]


@dataclass(slots=True)
class _Layout:
    """Everything about a buffer but its data."""

    encoding: Encoding
    n_e0: int
    center_e0: int
    e1: AxisGrid
    e2: AxisGrid
    n_channels: int
    n_trajectory: int
    axes: dict[str, tuple[int | None, int, int]]  # LOC, S, N: counter, smallest value, size

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data: (LOC, S, N, CHA, E2, E1, E0)."""
        sizes = [self.axes[axis][2] for axis in ("LOC", "S", "N")]
        return (*sizes, self.n_channels, self.e2.size, self.e1.size, self.n_e0)


class BucketToBufferGadget(Gadget1[AcquisitionBucket]):
    """Put the readouts of a bucket on the k-space grid.

    Takes buckets, emits recon data: one for each slice, contrast, phase, repetition, set and segment that occurs, in
    the order of these numbers, the first most significant. The N and S dimensions are axes of the buffer instead;
    slices are axes unless split_slices, and segments are one with ignore_segment.

    A line that arrives more than once is averaged, and averages meet in the same lines, unless they are the N or S
    dimension: the mean of n lines has the signal of one, and its noise divided by sqrt(n). Of the headers that of the
    first average stays. Spokes and spirals are not averaged, one that comes again may have another trajectory; nor are
    averages that parallel imaging interleaves.

    Readouts with samples that are not finite are left out, with a warning: in an image they would be everywhere.

    A center of k-space that the header has where it would move lines out of the matrix, which have room otherwise, is
    taken for the middle of the matrix, and the client is told; in C++ these lines are lost.

    Mended against the C++ Gadgetron: see toolboxes.kspace for the grid; N or S dimension `segment` has the size of the
    segments' range and not of the averages', `slice` has an index; of the slices received only some make no gap; there
    the last of equal lines replaces those before, and each average has a buffer of its own.
    """

    N_dimension = Property("", doc="counter along the buffer's N axis", choices=DIMENSIONS)
    S_dimension = Property("", doc="counter along the buffer's S axis", choices=DIMENSIONS)
    split_slices = Property(False, doc="one buffer for each slice")
    averages = Property(
        "auto",
        doc="averages are averaged, or each is kept for itself; auto averages unless they are N or S dimension",
        choices=("auto", "average", "separate"),
    )
    ignore_segment = Property(False, doc="put all segments into one buffer")
    repeated_lines = Property(
        "average",
        doc="what becomes of a line that arrives again: the mean of all, or the last one",
        choices=("average", "replace"),
    )

    emits = ((ReconData,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._header: IsmrmrdHeader | None = None
        self._centers: dict[tuple[int, int], int] = {}  # by encoding space and axis, where the header's is no use
        self._left_out = LeftOutReadouts(self)

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the encodings."""
        self._header = parameters.header

    def process(self, message: Container[AcquisitionBucket]) -> None:
        """Send the buffers of one bucket."""
        for data in self._buffers(message):
            self.put_next(GadgetContainerMessage(data))

    def close(self, _flags: int) -> None:
        """Say how many readouts were left out."""
        self._left_out.summarize()

    def _buffers(self, message: Container[AcquisitionBucket]) -> list[ReconData]:
        """Make the buffers of one bucket. Its readouts go when they are copied, before the buffers are put."""
        bucket = message.object
        message.object = AcquisitionBucket()
        self._leave_out(bucket)
        for space, received in bucket.data_stats.items():
            self._check_centers(space, received)
        recon_data: dict[Key, ReconData] = {}
        for is_reference in (True, False):
            acquisitions = bucket.reference if is_reference else bucket.data
            stats = bucket.reference_stats if is_reference else bucket.data_stats
            for (key, space), members in self._grouped(acquisitions).items():
                buffer = self._fill(members, stats[space], space, for_reference=is_reference)
                bits = recon_data.setdefault(key, ReconData(waveforms=bucket.waveforms)).bits
                bits.extend(ReconBit() for _ in range(space + 1 - len(bits)))
                if is_reference:
                    bits[space].reference = buffer
                else:
                    bits[space].data = buffer
        return [data for _, data in sorted(recon_data.items(), key=lambda item: item[0])]

    def _check_centers(self, space: int, stats: AcquisitionBucketStats) -> None:
        """Do not believe in a center that would move lines out of the matrix, from the first of them on."""
        if self._header is None:
            return
        encoding = self._header.encoding_space(space)
        limits, size = encoding.encodingLimits, encoding.encodedSpace.matrixSize
        axes: Any = (
            (1, stats.kspace_encode_step_1, limits.kspace_encoding_step_1, size.y),
            (2, stats.kspace_encode_step_2, limits.kspace_encoding_step_2, size.z),
        )
        for axis, steps, limit, matrix in axes:
            center = usable_center(encoding, axis, Received(steps[0], steps[-1]))
            if center is None or (space, axis) in self._centers:
                continue
            self._centers[space, axis] = center
            self.warn_once(
                "center.not_believed",
                f"kspace_encoding_step_{axis}: with the header's center, {limit.center}, in the middle, "
                f"lines {steps[0]} to {steps[-1]} do not fit the encoded matrix of {matrix}: the center is taken for "
                f"{center}",
            )

    def _leave_out(self, bucket: AcquisitionBucket) -> None:
        """Take readouts out of a bucket that are not finite."""
        distinct = {id(acquisition): acquisition for acquisition in (*bucket.data, *bucket.reference)}
        unusable = {
            number
            for number, acquisition in distinct.items()
            if not self._left_out.is_usable(acquisition.data, acquisition.fields.scan_counter)
        }
        if unusable:
            bucket.data = [acquisition for acquisition in bucket.data if id(acquisition) not in unusable]
            bucket.reference = [acquisition for acquisition in bucket.reference if id(acquisition) not in unusable]

    def _grouped(self, acquisitions: list[Acquisition]) -> dict[tuple[Key, int], list[Acquisition]]:
        """Sort readouts by what makes separate buffers, and by encoding space."""
        columns_of: dict[int, list[int | None]] = {}
        groups: dict[tuple[Key, int], list[Acquisition]] = {}
        for acquisition in acquisitions:
            idx, space = acquisition.fields.idx, acquisition.fields.encoding_space_ref
            columns = columns_of.get(space)
            if columns is None:
                columns = columns_of[space] = self._columns(space)
            key = tuple(0 if column is None else idx[column] for column in columns)
            groups.setdefault((key, space), []).append(acquisition)
        return groups

    def _columns(self, space: int) -> list[int | None]:
        """Give the counters of KEY that make separate buffers of an encoding space, None for those that do not."""
        joined = {self.N_dimension, self.S_dimension}
        if not self.split_slices:
            joined.add("slice")
        if self._joins_averages(self._encoding(space)):
            joined.add("average")
        if self.ignore_segment:
            joined.add("segment")
        return [None if name in joined else COUNTERS.index(name) for name in KEY]

    def _joins_averages(self, encoding: Encoding) -> bool:
        """Tell whether averages become one."""
        if self.averages == "separate" or not encoding.is_cartesian:
            return False
        if self.averages == "auto" and "average" in (self.N_dimension, self.S_dimension):
            return False
        parallel = encoding.parallelImaging
        return (
            parallel is None or parallel.calibrationMode != "interleaved" or parallel.interleavingDimension != "average"
        )

    def _encoding(self, space: int) -> Encoding:
        if self._header is None:
            raise MalformedMessageError("readouts arrived before an ISMRMRD header: the encoding is not known")
        return self._header.encoding_space(space)

    def _layout(
        self, fields: AcquisitionFields, stats: AcquisitionBucketStats, space: int, *, for_reference: bool
    ) -> _Layout:
        """Plan the buffer that begins with a readout of these fields."""
        encoding = self._encoding(space)
        steps_1, steps_2 = stats.kspace_encode_step_1, stats.kspace_encode_step_2
        n_e0 = fields.number_of_samples
        if not (encoding.is_cartesian and encoding.parallelImaging):
            n_e0 -= fields.discard_pre + fields.discard_post
        if n_e0 <= 0:
            raise MalformedMessageError(
                f"discard_pre ({fields.discard_pre}) and discard_post ({fields.discard_post}): nothing is left of "
                f"number_of_samples ({fields.number_of_samples}) — scan_counter {fields.scan_counter}"
            )
        center_e0 = fields.number_of_samples // 2 if encoding.is_cartesian else encoding.encodedSpace.matrixSize.x // 2
        return _Layout(
            encoding=encoding,
            n_e0=n_e0,
            center_e0=center_e0,
            e1=self._grid(space, 1, Received(steps_1[0], steps_1[-1]), for_reference=for_reference),
            e2=self._grid(space, 2, Received(steps_2[0], steps_2[-1]), for_reference=for_reference),
            n_channels=fields.active_channels,
            n_trajectory=fields.trajectory_dimensions,
            axes={
                "LOC": self._slice_axis(encoding, stats),
                "S": self._axis(self.S_dimension, encoding, stats),
                "N": self._axis(self.N_dimension, encoding, stats),
            },
        )

    def _grid(self, space: int, axis: Literal[1, 2], received: Received, *, for_reference: bool) -> AxisGrid:
        header: Any = self._header
        encoding, center = header.encoding_space(space), self._centers.get((space, axis))
        return phase_encoding_grid(encoding, axis, received, for_reference=for_reference, center=center)

    def _axis(self, dimension: str, encoding: Encoding, stats: AcquisitionBucketStats) -> tuple[int | None, int, int]:
        is_joined = dimension == "average" and self._joins_averages(encoding)
        return _counter_axis("" if is_joined else dimension, stats)

    def _slice_axis(self, encoding: Encoding, stats: AcquisitionBucketStats) -> tuple[int | None, int, int]:
        if self.split_slices or "slice" in (self.N_dimension, self.S_dimension):
            return None, 0, 1
        received, limit = Received(stats.slice[0], stats.slice[-1]), encoding.encodingLimits.slice
        if limit is None or received.span < limit.size or received.maximum >= limit.size:
            return _counter_axis("slice", stats)
        return SLICE, 0, limit.size

    def _fill(
        self, acquisitions: list[Acquisition], stats: AcquisitionBucketStats, space: int, *, for_reference: bool
    ) -> ReconBuffer:
        """Make one buffer of its readouts."""
        layout = self._layout(acquisitions[0].fields, stats, space, for_reference=for_reference)
        shape = layout.shape
        n_loc, n_s, n_n, _, n_e2, n_e1, n_e0 = shape
        check("bytes of a k-space buffer", math.prod(shape) * np.dtype(np.complex64).itemsize, LIMITS.max_session_bytes)
        trajectory_shape = (n_loc, n_s, n_n, n_e2, n_e1, n_e0, layout.n_trajectory)
        check("bytes of a trajectory buffer", math.prod(trajectory_shape) * 4, LIMITS.max_session_bytes)
        acquisitions, places = self._places(acquisitions, layout)
        readouts = [_readout_place(acquisition.fields, layout) for acquisition in acquisitions]

        data = shared_pool.take(shape, np.complex64)
        lines_shape = (n_loc, n_s, n_n, n_e2, n_e1)
        is_full = len(set(places)) == math.prod(lines_shape) and all(place.n == n_e0 for place in set(readouts))
        if not is_full:
            data[...] = 0
        headers = empty_objects(lines_shape)
        trajectory = np.zeros(trajectory_shape, np.float32) if layout.n_trajectory else None
        means = LineMeans(places if self.repeated_lines == "average" and layout.encoding.is_cartesian else (), data)
        for acquisition, where, (start, skip, count) in zip(acquisitions, places, readouts, strict=True):
            loc, s, n, e2, e1 = where
            if where in means:
                means.add(acquisition, where, ReadoutPlace(start, skip, count))
            else:
                data[loc, s, n, :, e2, e1, start : start + count] = acquisition.data[:, skip : skip + count]
                headers[where] = acquisition.head
            if trajectory is not None and acquisition.trajectory is not None:
                trajectory[loc, s, n, e2, e1, start : start + count] = acquisition.trajectory[skip : skip + count]
        averages = means.finish(headers)
        return ReconBuffer(data, headers, _sampling(layout, acquisitions), trajectory, averages=averages)

    def _places(
        self, acquisitions: list[Acquisition], layout: _Layout
    ) -> tuple[list[Acquisition], list[tuple[int, int, int, int, int]]]:
        """Find (loc, s, n, e2, e1) of each readout that lies in the buffer, and check that they belong together."""
        for acquisition in acquisitions:
            fields = acquisition.fields
            if fields.active_channels != layout.n_channels:
                raise MalformedMessageError(
                    f"active_channels ({fields.active_channels}): {layout.n_channels} expected, as in the first line — "
                    f"scan_counter {fields.scan_counter}"
                )
            if fields.trajectory_dimensions != layout.n_trajectory:
                raise MalformedMessageError(
                    f"trajectory_dimensions ({fields.trajectory_dimensions}): {layout.n_trajectory} expected, as in "
                    f"the first line — scan_counter {fields.scan_counter}"
                )
        idx = np.array([acquisition.fields.idx for acquisition in acquisitions], np.int64)
        columns = [
            np.zeros(len(idx), np.int64) if counter is None else idx[:, counter] - first
            for counter, first, _ in (layout.axes[axis] for axis in ("LOC", "S", "N"))
        ]
        columns += [idx[:, E2] + layout.e2.offset, idx[:, E1] + layout.e1.offset]
        inside = (columns[3] >= 0) & (columns[3] < layout.e2.size) & (columns[4] >= 0) & (columns[4] < layout.e1.size)
        if not inside.all():
            self._check_outside([a for a, is_inside in zip(acquisitions, inside, strict=True) if not is_inside], layout)
            acquisitions = [a for a, is_inside in zip(acquisitions, inside, strict=True) if is_inside]
            columns = [column[inside] for column in columns]
        places: list[Any] = list(zip(*(column.tolist() for column in columns), strict=True))
        return acquisitions, places

    def _check_outside(self, acquisitions: list[Acquisition], layout: _Layout) -> None:
        """Warn of lines beyond the matrix that the limits allow, refuse those that contradict the header."""
        limits = layout.encoding.encodingLimits
        for acquisition in acquisitions:
            fields = acquisition.fields
            for name, column, grid, limit in (
                ("kspace_encode_step_1", E1, layout.e1, limits.kspace_encoding_step_1),
                ("kspace_encode_step_2", E2, layout.e2, limits.kspace_encoding_step_2),
            ):
                step = fields.idx[column]
                if 0 <= step + grid.offset < grid.size:
                    continue
                if limit is None or not limit.minimum <= step <= limit.maximum:
                    allowed = f"0 to {grid.size - 1}" if limit is None else f"{limit.minimum} to {limit.maximum}"
                    raise MalformedMessageError(
                        f"{name} ({step}): {allowed} expected — scan_counter {fields.scan_counter}"
                    )
        self.log.warning("readouts.outside_matrix", n_readouts=len(acquisitions))


def _counter_axis(dimension: str, stats: AcquisitionBucketStats) -> tuple[int | None, int, int]:
    if dimension in ("", "none"):
        return None, 0, 1
    size = stats.span(dimension)
    if size > stats.n_acquisitions:
        last = getattr(stats, dimension)[-1]
        raise MalformedMessageError(
            f"{dimension} ({last}): {stats.n_acquisitions} readouts cannot fill a range of {size}"
        )
    return COUNTERS.index(dimension), getattr(stats, dimension)[0], size


def _readout_place(fields: AcquisitionFields, layout: _Layout) -> ReadoutPlace:
    place = place_readout(
        layout.n_e0,
        layout.center_e0,
        fields.number_of_samples,
        fields.discard_pre,
        fields.discard_post,
        fields.center_sample,
        is_cartesian=layout.encoding.is_cartesian,
    )
    if place is None:
        raise MalformedMessageError(
            f"number_of_samples ({fields.number_of_samples}) with center_sample {fields.center_sample}, discard_pre "
            f"{fields.discard_pre}, discard_post {fields.discard_post}: do not fit {layout.n_e0} samples — "
            f"scan_counter {fields.scan_counter}"
        )
    return place


def _sampling(layout: _Layout, acquisitions: list[Acquisition]) -> SamplingDescription:
    encoding = layout.encoding
    encoded, recon = encoding.encodedSpace, encoding.reconSpace
    # Cartesian readouts have had their oversampling removed when they come here.
    # So have echo planar ones, which EPIReconXGadget grids to the recon matrix.
    is_gridded = encoding.trajectory == "epi" and layout.n_e0 == recon.matrixSize.x
    along_x = recon if encoding.trajectory == "cartesian" or is_gridded else encoded
    if encoding.is_cartesian and acquisitions:
        first = acquisitions[0].fields
        e0 = SamplingLimit(
            first.discard_pre, first.number_of_samples // 2, first.number_of_samples - first.discard_post - 1
        )
    else:
        e0 = SamplingLimit(0, encoded.matrixSize.x // 2, encoded.matrixSize.x - 1)
    return SamplingDescription(
        encoded_FOV=(along_x.fieldOfView_mm.x, encoded.fieldOfView_mm.y, encoded.fieldOfView_mm.z),
        recon_FOV=(recon.fieldOfView_mm.x, recon.fieldOfView_mm.y, recon.fieldOfView_mm.z),
        encoded_matrix=(along_x.matrixSize.x, encoded.matrixSize.y, encoded.matrixSize.z),
        recon_matrix=(recon.matrixSize.x, recon.matrixSize.y, recon.matrixSize.z),
        sampling_limits=(
            e0,
            SamplingLimit(layout.e1.first, layout.e1.center, layout.e1.last),
            SamplingLimit(layout.e2.first, layout.e2.center, layout.e2.last),
        ),
    )
