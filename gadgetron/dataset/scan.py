"""Read a scan, or images, from an ISMRMRD HDF5 file: thousands of readouts at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
from ismrmrd import AcquisitionHeader, ImageHeader, Meta, WaveformHeader
from numpy.typing import NDArray

from gadgetron.dataset.image_header import header_of_images
from gadgetron.dataset.images import read_headers, read_series, runs_in, series_of
from gadgetron.dataset.layout import (
    ACQUISITION_HEADER_DTYPE,
    WAVEFORM_HEADER_DTYPE,
    from_stored,
    to_header_layout,
)
from gadgetron.dataset.storage import open_for_reading, storage_errors
from gadgetron.errors import StorageError
from gadgetron.message import GadgetContainerMessage, make_message

DEFAULT_GROUP = "dataset"
HEADERS_AT_ONCE = 4096
BYTES_AT_ONCE = 8 * 1024 * 1024


class Acquisition(NamedTuple):
    """One readout: header, data (channels, samples) complex64, trajectory (samples, dimensions) float32 or None."""

    header: AcquisitionHeader
    data: NDArray[np.complex64]
    trajectory: NDArray[np.float32] | None


class Waveform(NamedTuple):
    """One piece of a physiological signal: header and data (channels, samples), uint32."""

    header: WaveformHeader
    data: NDArray[np.uint32]


class Image(NamedTuple):
    """An image: header, data (channels, z, y, x) of one of ISMRMRD's eight types, meta attributes or None."""

    header: ImageHeader
    data: NDArray[Any]
    meta: Meta | None


class ScanFile:
    """A scan in an ISMRMRD HDF5 file, open for reading; a context manager.

    A group with images and no readouts, as a client writes it, is read, too: its items are the images, for chains that
    go on from there.

    Every array that comes out of it is new and belongs to the caller. About 8 MiB of readouts are read at once, so
    memory is bounded however long the scan is.

    Parameters
    ----------
    path
        The HDF5 file.
    group
        The group that holds `xml`, `data` and perhaps `waveforms`; or `image_0` and its kin. If there is no group
        `dataset`, and one run of images, that is what "dataset" means.

    Raises
    ------
    StorageError
        If the file is missing or not readable, or has no such group.
    """

    def __init__(self, path: str | Path, group: str = DEFAULT_GROUP) -> None:
        self.path = Path(path)
        self._file = open_for_reading(self.path)
        try:
            name = self._resolved(group.strip("/"))
        except StorageError:
            self._file.close()
            raise
        found = self._file.get(name) if name else self._file
        if not isinstance(found, h5py.Group):
            groups = ", ".join(repr(key) for key in self._file) or "none"
            self._file.close()
            raise StorageError(f"{self.path.name}: no group {name!r} — groups in the file: {groups}")
        self.group = name
        self._group = found

    def _resolved(self, name: str) -> str:
        if name != DEFAULT_GROUP or name in self._file:
            return name
        with storage_errors(self.path, "looking for images"):
            runs = runs_in(self._file)
        return runs[0] if len(runs) == 1 else name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Iterators over it end with an error."""
        self._file.close()

    @property
    def header_xml(self) -> bytes:
        """The ISMRMRD header as it was written; of images without one, a header that is made of theirs.

        Raises
        ------
        StorageError
            If the scan has none.
        """
        with storage_errors(self.path, "reading the ISMRMRD header"):
            if "xml" not in self._group and self.n_images:
                return header_of_images(np.concatenate([read_headers(group) for group in self._image_series.values()]))
            if "xml" not in self._group:
                raise StorageError(f"{self.path.name}: no ISMRMRD header (xml) in group {self.group!r}")
            value = self._group["xml"][()]
            text = value.flat[0] if isinstance(value, np.ndarray) else value
            return text.encode() if isinstance(text, str) else bytes(text)

    @property
    def n_acquisitions(self) -> int:
        """Number of readouts, noise and calibration included."""
        return self._count("data")

    @property
    def n_waveforms(self) -> int:
        """Number of waveform messages."""
        return self._count("waveforms")

    @property
    def n_images(self) -> int:
        """Number of images, if there are no readouts: 0 for a scan, whatever is stored beside it."""
        if self.n_acquisitions or self.n_waveforms:
            return 0
        return sum(int(group["header"].shape[0]) for group in self._image_series.values())

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.n_acquisitions + self.n_waveforms + self.n_images

    @property
    def image_types(self) -> tuple[str, ...]:
        """Names of the pixels' types, each once, of what `n_images` counts: float32, complex64, for instance."""
        with storage_errors(self.path, "reading images"):
            groups = [group for group in self._image_series.values() if self.n_images and group["header"].shape[0]]
            return tuple(sorted({from_stored(group["data"][0]).dtype.name for group in groups}))

    @property
    def _image_series(self) -> dict[str, h5py.Group]:
        return {name: self._group[name] for name in series_of(self._group)}

    def readout_headers(self, limit: int) -> NDArray[np.void]:
        """Give the headers of the first readouts, at most `limit` of them, without reading any data.

        Returns
        -------
            Structured array; the fields have the names of `ismrmrd.AcquisitionHeader`.
        """
        parts = []
        for start, heads in self._headers("data", ACQUISITION_HEADER_DTYPE):
            parts.append(heads[: limit - start])
            if start + len(heads) >= limit:
                break
        return np.concatenate(parts) if parts else np.zeros(0, ACQUISITION_HEADER_DTYPE)

    def acquisitions(self) -> Iterator[Acquisition]:
        """Iterate over the readouts in the order of the file.

        Raises
        ------
        StorageError
            If the file is damaged, or a readout contradicts its header.
        """
        for start, heads in self._headers("data", ACQUISITION_HEADER_DTYPE):
            samples = heads["number_of_samples"].astype(np.int64)
            data_sizes = 8 * samples * heads["active_channels"]
            trajectory_sizes = 4 * samples * heads["trajectory_dimensions"]
            buffer = heads.tobytes()
            for first, last in _runs(data_sizes + trajectory_sizes + heads.itemsize, BYTES_AT_ONCE):
                fields = ("data", "traj") if trajectory_sizes[first:last].any() else ("data",)
                records = self._records("data", fields, start + first, start + last)
                for index in range(first, last):
                    header = AcquisitionHeader.from_buffer_copy(buffer, index * heads.itemsize)
                    yield self._acquisition(
                        header, {name: records[name][index - first] for name in fields}, start + index
                    )

    def _acquisition(self, header: AcquisitionHeader, record: dict[str, NDArray[Any]], index: int) -> Acquisition:
        n_samples, n_coils, n_dimensions = (
            header.number_of_samples,
            header.active_channels,
            header.trajectory_dimensions,
        )
        where = f"readout {index}"
        data = self._checked(record["data"], np.float32, 2 * n_samples * n_coils, where)
        trajectory = None
        if n_dimensions and "traj" in record:
            numbers = self._checked(record["traj"], np.float32, n_samples * n_dimensions, f"{where}, trajectory")
            trajectory = numbers.reshape(n_samples, n_dimensions)
        return Acquisition(header, data.view(np.complex64).reshape(n_coils, n_samples), trajectory)

    def waveforms(self) -> Iterator[Waveform]:
        """Iterate over the waveforms in the order of the file; none if the scan has none."""
        for start, heads in self._headers("waveforms", WAVEFORM_HEADER_DTYPE):
            sizes = 4 * heads["number_of_samples"].astype(np.int64) * heads["channels"]
            buffer = heads.tobytes()
            for first, last in _runs(sizes + heads.itemsize, BYTES_AT_ONCE):
                records = self._records("waveforms", ("data",), start + first, start + last)
                for index in range(first, last):
                    header = WaveformHeader.from_buffer_copy(buffer, index * heads.itemsize)
                    shape = (header.channels, header.number_of_samples)
                    where = f"waveform {start + index}"
                    numbers = self._checked(records["data"][index - first], np.uint32, shape[0] * shape[1], where)
                    yield Waveform(header, numbers.reshape(shape))

    def images(self) -> Iterator[Image]:
        """Iterate over the images, series after series; there need not be any."""
        for name, group in self._image_series.items():
            with storage_errors(self.path, f"reading images of {name}"):
                for image in read_series(group, name):
                    yield Image(image.header, image.data, image.meta if image.attributes else None)

    def items(self) -> Iterator[Acquisition | Waveform | Image]:
        """Iterate over everything, merged by time: a waveform comes first while its stamp is smaller.

        Where there are no readouts and no waveforms, the items are the images.
        """
        if self.n_images:
            yield from self.images()
            return
        waveforms = self.waveforms()
        waveform = next(waveforms, None)
        for acquisition in self.acquisitions():
            stamp = acquisition.header.acquisition_time_stamp
            while waveform is not None and waveform.header.time_stamp < stamp:
                yield waveform
                waveform = next(waveforms, None)
            yield acquisition
        if waveform is not None:
            yield waveform
            yield from waveforms

    def messages(self) -> Iterator[GadgetContainerMessage[Any]]:
        """Iterate over `items` as messages: header, data and, if there is one, trajectory or meta attributes."""
        for item in self.items():
            yield make_message(*(part for part in item if part is not None))

    def read_array(self, name: str) -> NDArray[Any]:
        """Read an array that was stored beside the scan, such as the phantom's `csm`; the first axis counts entries."""
        with storage_errors(self.path, f"reading the array {name!r}"):
            return from_stored(self._group[name][()])

    def _count(self, name: str) -> int:
        if name not in self._group:
            return 0
        with storage_errors(self.path, f"counting {name}"):
            return int(self._group[name].shape[0])

    def _headers(self, name: str, wanted: np.dtype[Any]) -> Iterator[tuple[int, NDArray[np.void]]]:
        for start in range(0, self._count(name), HEADERS_AT_ONCE):
            with storage_errors(self.path, f"reading headers of {name}"):
                heads = self._group[name].fields("head")[start : start + HEADERS_AT_ONCE]
                heads = to_header_layout(heads, wanted)
            yield start, heads

    def _records(self, name: str, fields: tuple[str, ...], start: int, stop: int) -> NDArray[np.void]:
        with storage_errors(self.path, f"reading {name} {start} to {stop - 1}"):
            records: NDArray[np.void] = self._group[name].fields(list(fields))[start:stop]
            return records

    def _checked(self, numbers: NDArray[Any], dtype: type, n_expected: int, where: str) -> NDArray[Any]:
        if numbers.size != n_expected:
            raise StorageError(
                f"{self.path.name}: {numbers.size} numbers stored — its header says {n_expected} — {where}"
            )
        return np.ascontiguousarray(numbers, dtype)


def _runs(sizes: NDArray[np.int64], limit_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut a sequence of sizes [bytes] into runs of at most `limit_bytes`, at least one item each."""
    first, total = 0, 0
    for index, size in enumerate(sizes.tolist()):
        if index > first and total + size > limit_bytes:
            yield first, index
            first, total = index, 0
        total += size
    if len(sizes) > first:
        yield first, len(sizes)
