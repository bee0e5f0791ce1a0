"""Buckets as foreign modules see them."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.errors import MalformedMessageError
from gadgetron.external import constants
from gadgetron.external.readers import Source, read, read_acquisition_header, read_vector, read_waveform_header
from gadgetron.external.writers import Destination
from gadgetron.limits import LIMITS, check

COUNTERS: Final = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "slice",
    "phase",
    "contrast",
    "repetition",
    "set",
    "segment",
    "average",
)
MAX_ENCODING_SPACES = 1024


class bundle_meta(ctypes.LittleEndianStructure):  # noqa: N801 - the names of these are those that modules may import
    """Sizes of the readouts of a bucket: imaging, or calibration."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("count", "header_bytes", "data_bytes", "trajectory_bytes"))


class stats_meta(ctypes.LittleEndianStructure):  # noqa: N801
    """Size of the statistics of a bucket."""

    _fields_ = (("nbytes", ctypes.c_uint64),)


class waveform_meta(ctypes.LittleEndianStructure):  # noqa: N801
    """Sizes of the waveforms of a bucket."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("count", "header_bytes", "data_bytes"))


class bucket_meta(ctypes.LittleEndianStructure):  # noqa: N801
    """What a bucket begins with: the sizes of its parts."""

    _fields_ = (
        ("data", bundle_meta),
        ("reference", bundle_meta),
        ("data_stats", stats_meta),
        ("reference_stats", stats_meta),
        ("waveforms", waveform_meta),
    )


class AcquisitionBucketStats:
    """Which values each counter takes in one encoding space: a set for each, `stats.slice == {0, 1}`."""

    def __init__(self, *values: Iterable[int], **named: Iterable[int]) -> None:
        by_name = dict(zip(COUNTERS, values, strict=False)) | named
        for name in COUNTERS:
            setattr(self, name, set(by_name.get(name, ())))

    def __getattr__(self, name: str) -> set[int]:
        raise AttributeError(f"no counter is called {name!r}")


class AcquisitionBucket:
    """Readouts that belong together.

    Attributes
    ----------
    data, ref
        Lists of Acquisition objects: imaging readouts, and calibration readouts.
    datastats, refstats
        Lists of AcquisitionBucketStats, one for each encoding space.
    waveforms
        List of Waveform objects.
    """

    def __init__(
        self,
        data: Sequence[ismrmrd.Acquisition],
        datastats: Sequence[AcquisitionBucketStats],
        ref: Sequence[ismrmrd.Acquisition],
        refstats: Sequence[AcquisitionBucketStats],
        waveforms: Sequence[ismrmrd.Waveform],
    ) -> None:
        self.data = list(data)
        self.datastats = list(datastats)
        self.ref = list(ref)
        self.refstats = list(refstats)
        self.waveforms = list(waveforms)


def read_acquisition_bucket(source: Source) -> AcquisitionBucket:
    """Read a bucket."""
    sizes = bucket_meta.from_buffer_copy(source.read(ctypes.sizeof(bucket_meta)))
    n_bytes = sum(
        bundle.header_bytes + bundle.data_bytes + getattr(bundle, "trajectory_bytes", 0)
        for bundle in (sizes.data, sizes.reference, sizes.waveforms)
    )
    check("bytes of a bucket", n_bytes, LIMITS.max_recon_data_bytes)
    return AcquisitionBucket(
        read_acquisitions(source, sizes.data),
        read_bucketstats(source),
        read_acquisitions(source, sizes.reference),
        read_bucketstats(source),
        read_waveforms(source, sizes.waveforms),
    )


def read_acquisitions(source: Source, sizes: bundle_meta) -> list[ismrmrd.Acquisition]:
    """Read readouts: all headers, all trajectories, all data."""
    _check_size("headers of readouts", sizes.header_bytes, 340 * sizes.count)
    heads = [read_acquisition_header(source) for _ in range(sizes.count)]
    paths = [(head.number_of_samples, head.trajectory_dimensions) for head in heads]
    shapes = [(head.active_channels, head.number_of_samples) for head in heads]
    _check_size("trajectories", sizes.trajectory_bytes, 4 * sum(rows * columns for rows, columns in paths))
    _check_size("readouts", sizes.data_bytes, 8 * sum(rows * columns for rows, columns in shapes))
    trajectories = [read_data_as_array(source, "<f4", shape) for shape in paths]
    return [
        ismrmrd.Acquisition(head, read_data_as_array(source, "<c8", shape), trajectory)
        for head, shape, trajectory in zip(heads, shapes, trajectories, strict=True)
    ]


def read_waveforms(source: Source, sizes: waveform_meta) -> list[ismrmrd.Waveform]:
    """Read waveforms: all headers, all data."""
    _check_size("headers of waveforms", sizes.header_bytes, 40 * sizes.count)
    heads = [read_waveform_header(source) for _ in range(sizes.count)]
    _check_size("waveforms", sizes.data_bytes, 4 * sum(head.channels * head.number_of_samples for head in heads))
    return [
        ismrmrd.Waveform(head, read_data_as_array(source, "<u4", (head.channels, head.number_of_samples)))
        for head in heads
    ]


def _check_size(what: str, n_bytes: int, expected: int) -> None:
    if n_bytes != expected:
        raise MalformedMessageError(f"{what} in a bucket: {n_bytes} bytes — expected {expected}")


def read_data_as_array(source: Source, data_type: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read an array without its dimensions."""
    n_bytes = math.prod(shape) * np.dtype(data_type).itemsize
    view = getattr(source, "read_view", source.read)(n_bytes)
    return np.frombuffer(view, data_type).reshape(shape).copy()


def read_bucketstats(source: Source) -> list[AcquisitionBucketStats]:
    """Read the statistics of all encoding spaces."""
    count = read(source, constants.uint64)
    check("encoding spaces in the statistics of a bucket", count, MAX_ENCODING_SPACES)
    return [
        AcquisitionBucketStats(*[set(read_vector(source, np.uint16).tolist()) for _ in COUNTERS]) for _ in range(count)
    ]


def write_acquisition_bucket(destination: Destination, bucket: AcquisitionBucket) -> None:
    """Write a bucket."""
    pieces: list[list[bytes]] = []
    sizes: list[int] = []  # in the order of bucket_meta
    for acquisitions in (bucket.data, bucket.ref):
        blocks = [
            b"".join(bytes(acquisition._head) for acquisition in acquisitions),
            b"".join(np.ascontiguousarray(acquisition.traj, "<f4").tobytes() for acquisition in acquisitions),
            b"".join(np.ascontiguousarray(acquisition.data, "<c8").tobytes() for acquisition in acquisitions),
        ]
        pieces.append(blocks)
        sizes += [len(acquisitions), len(blocks[0]), len(blocks[2]), len(blocks[1])]
    statistics = [_statistics_bytes(stats) for stats in (bucket.datastats, bucket.refstats)]
    waves = [
        b"".join(bytes(waveform._head) for waveform in bucket.waveforms),
        b"".join(np.ascontiguousarray(waveform.data, "<u4").tobytes() for waveform in bucket.waveforms),
    ]
    sizes += [*map(len, statistics), len(bucket.waveforms), *map(len, waves)]
    destination.write(
        constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_BUCKET) + struct.pack("<13Q", *sizes)
    )
    for block in (*pieces[0], statistics[0], *pieces[1], statistics[1], *waves):
        if block:
            destination.write(block)


def _statistics_bytes(stats: Sequence[AcquisitionBucketStats]) -> bytes:
    blocks = [constants.uint64.pack(len(stats))]
    for space in stats:
        for name in COUNTERS:
            values = sorted(getattr(space, name))
            blocks.append(struct.pack(f"<Q{len(values)}H", len(values), *values))
    return b"".join(blocks)
