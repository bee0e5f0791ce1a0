"""Buckets as foreign modules see them."""

from __future__ import annotations

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

_META = struct.Struct("<13Q")


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
    sizes = _META.unpack(source.read(_META.size))
    check("bytes of a bucket", sum((*sizes[1:4], *sizes[5:8], *sizes[11:])), LIMITS.max_recon_data_bytes)
    return AcquisitionBucket(
        _read_acquisitions(source, sizes[0:4]),
        _read_statistics(source),
        _read_acquisitions(source, sizes[4:8]),
        _read_statistics(source),
        _read_waveforms(source, sizes[10:13]),
    )


def _read_acquisitions(source: Source, sizes: tuple[int, ...]) -> list[ismrmrd.Acquisition]:
    count, header_bytes, data_bytes, trajectory_bytes = sizes
    _check_size("headers of readouts", header_bytes, 340 * count)
    heads = [read_acquisition_header(source) for _ in range(count)]
    paths = [(head.number_of_samples, head.trajectory_dimensions) for head in heads]
    shapes = [(head.active_channels, head.number_of_samples) for head in heads]
    _check_size("trajectories", trajectory_bytes, 4 * sum(rows * columns for rows, columns in paths))
    _check_size("readouts", data_bytes, 8 * sum(rows * columns for rows, columns in shapes))
    trajectories = [_read_block(source, "<f4", shape) for shape in paths]
    return [
        ismrmrd.Acquisition(head, _read_block(source, "<c8", shape), trajectory)
        for head, shape, trajectory in zip(heads, shapes, trajectories, strict=True)
    ]


def _read_waveforms(source: Source, sizes: tuple[int, ...]) -> list[ismrmrd.Waveform]:
    count, header_bytes, data_bytes = sizes
    _check_size("headers of waveforms", header_bytes, 40 * count)
    heads = [read_waveform_header(source) for _ in range(count)]
    _check_size("waveforms", data_bytes, 4 * sum(head.channels * head.number_of_samples for head in heads))
    return [
        ismrmrd.Waveform(head, _read_block(source, "<u4", (head.channels, head.number_of_samples))) for head in heads
    ]


def _check_size(what: str, n_bytes: int, expected: int) -> None:
    if n_bytes != expected:
        raise MalformedMessageError(f"{what} in a bucket: {n_bytes} bytes — expected {expected}")


def _read_block(source: Source, dtype: str, shape: tuple[int, int]) -> NDArray[Any]:
    n_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
    view = getattr(source, "read_view", source.read)(n_bytes)
    return np.frombuffer(view, dtype).reshape(shape).copy()


def _read_statistics(source: Source) -> list[AcquisitionBucketStats]:
    count = read(source, constants.uint64)
    check("encoding spaces in the statistics of a bucket", count, MAX_ENCODING_SPACES)
    return [
        AcquisitionBucketStats(*[set(read_vector(source, np.uint16).tolist()) for _ in COUNTERS]) for _ in range(count)
    ]


def write_acquisition_bucket(destination: Destination, bucket: AcquisitionBucket) -> None:
    """Write a bucket."""
    pieces: list[list[bytes]] = []
    sizes: list[int] = []
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
    destination.write(constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_BUCKET) + _META.pack(*sizes))
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
