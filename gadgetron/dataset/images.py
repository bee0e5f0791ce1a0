"""Write images as the C++ client does, and read them back.

A run is a group. A series is a subgroup `image_<series>` with three datasets that grow together: `header`,
`attributes` (the meta XML, or nothing) and `data` [n, channel, z, y, x]. A dataset has one shape and one type; images
of the same series that differ from its first one go to `image_<series>_1`, `image_<series>_2` and so on, one for each
shape and type.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import h5py
import numpy as np
from ismrmrd import ImageHeader, Meta
from numpy.typing import NDArray

from gadgetron.dataset.layout import ATTRIBUTES_DTYPE, IMAGE_HEADER_DTYPE, from_stored, to_header_layout, to_stored
from gadgetron.dataset.storage import Hdf5Output, folder_lock, open_for_reading, publish, storage_errors
from gadgetron.dataset.temporary import TemporaryFile
from gadgetron.errors import StorageError
from gadgetron.meta import parse_meta

IMAGE_TYPES = frozenset(map(np.dtype, ("u2", "i2", "u4", "i4", "f4", "f8", "c8", "c16")))  # the eight of ISMRMRD


class StoredImage(NamedTuple):
    """An image that was read back.

    Attributes
    ----------
    header
        As it is in the file.
    data
        Shape (channels, z, y, x), one of ISMRMRD's eight types.
    attributes
        The meta attributes as XML; empty if there are none.
    series
        The subgroup's name, `image_0` for instance.
    """

    header: ImageHeader
    data: NDArray[Any]
    attributes: str
    series: str

    @property
    def meta(self) -> Meta:
        """The meta attributes, parsed; MalformedMessageError if they are none."""
        return parse_meta(self.attributes.encode(), "a stored image") if self.attributes else Meta()


class ImageFileWriter:
    """The images of one run, on their way into an HDF5 file; a context manager.

    They are written to a temporary file in the same folder. `close` puts them under the name: an existing file is
    copied, the run is added as a new group, and the copy takes the file's place; so a reader never sees half a run,
    runs never mix, and a crash leaves the file as it was. Without any image no file is made. Leaving the context by an
    exception discards the run; who wants to keep what did arrive calls `close`.

    Parameters
    ----------
    path
        The file to be, or to be added to.
    group
        The name of the run. By default the local time, made unique.

    Raises
    ------
    StorageError
        If the file has a group of the given name already, is no HDF5 file, or the folder cannot be written to.
    """

    def __init__(self, path: str | Path, group: str | None = None) -> None:
        self.path = Path(path)
        self.n_images = 0
        self.group = (group or datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")).strip("/")
        if not self.group:
            raise StorageError(f"{self.path.name}: group {group!r} — a name is needed")
        if self.path.exists():
            with open_for_reading(self.path) as existing:
                if group is not None and self.group in existing:
                    raise StorageError(
                        f"{self.path.name}: group {self.group!r} exists already — runs are not mixed: "
                        "name another group or another file"
                    )
        with storage_errors(self.path, "creating it"):
            self._temporary = TemporaryFile(self.path)
            self._output = self._temporary.open()
            self._run = self._output.file.create_group(self.group)
        self._tables: dict[tuple[int, tuple[int, ...], np.dtype[Any]], _ImageTable] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_rest: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def append(self, header: ImageHeader, data: NDArray[Any], attributes: str | bytes | Meta | None = None) -> None:
        """Append an image to its series.

        Parameters
        ----------
        header
            Stored as it is, but for `attribute_string_len`, which becomes the length of what is stored.
            `image_series_index` names the series.
        data
            Shape (channels, z, y, x), one of ISMRMRD's eight types.
        attributes
            Meta attributes, serialized or not.

        Raises
        ------
        StorageError
            If it cannot be written, or is not an image.
        """
        if data.ndim != 4 or data.dtype not in IMAGE_TYPES:
            raise StorageError(f"image of shape {data.shape} and type {data.dtype} — (channels, z, y, x) is expected")
        with storage_errors(self.path, "writing an image"):
            key = (header.image_series_index, data.shape, data.dtype)
            if key not in self._tables:
                self._tables[key] = _ImageTable(self._run.create_group(self._free_name(header)), data)
            self._tables[key].append(header, data, attribute_bytes(attributes))
            self._output.check()
        self.n_images += 1

    def _free_name(self, header: ImageHeader) -> str:
        siblings = sum(series == header.image_series_index for series, _shape, _dtype in self._tables)
        return f"image_{header.image_series_index}" + (f"_{siblings}" if siblings else "")

    def close(self) -> None:
        """Put the run into the file, under its name. More calls do nothing.

        Raises
        ------
        StorageError
            If that fails; the file is as it was before then.
        """
        if not self._output.is_open:
            return
        try:
            with storage_errors(self.path, "writing it"):
                for table in self._tables.values():
                    table.finish()
                self._output.close()
                self._output.check()
                if self.n_images:
                    with folder_lock(self.path.parent):
                        self._publish()
        finally:
            self.abort()

    def abort(self) -> None:
        """Discard the run."""
        try:
            with storage_errors(self.path, "discarding it"):
                self._output.close()
        finally:
            self._temporary.discard()

    def _publish(self) -> None:
        if not self.path.exists():
            publish(self._temporary.path, self.path)
            return
        merged = TemporaryFile(self.path)
        try:
            shutil.copyfile(self.path, merged.path)
            shutil.copymode(self.path, merged.path)
            target = Hdf5Output(merged.path, "r+")
            try:
                with h5py.File(self._temporary.path, "r") as source:
                    self._copy_run(source, target.file)
            finally:
                target.close()
            target.check()
            publish(merged.path, self.path)
        finally:
            merged.discard()

    def _copy_run(self, source: h5py.File, target: h5py.File) -> None:
        wanted, n_taken = self.group, 1
        while self.group in target:  # another run took the name in the meantime, or in the same second
            n_taken += 1
            self.group = f"{wanted} ({n_taken})"
        source.copy(wanted, target, self.group)


class _ImageTable:
    """The images of one series, shape and type. Headers wait until the end, pixels are written at once."""

    def __init__(self, group: h5py.Group, first: NDArray[Any]) -> None:
        self._group = group
        self._headers: list[bytes] = []
        self._attributes: list[bytes] = []
        self._data = group.create_dataset(
            "data",
            (0, *first.shape),
            maxshape=(None, *first.shape),
            chunks=(1, *(max(extent, 1) for extent in first.shape)),
            dtype=to_stored(first[:0]).dtype,
        )

    def append(self, header: ImageHeader, data: NDArray[Any], attributes: bytes) -> None:
        index = len(self._headers)
        self._data.resize(index + 1, axis=0)
        self._data[index] = to_stored(data)
        stored = ImageHeader.from_buffer_copy(header)
        stored.attribute_string_len = len(attributes)  # what was received counted the bytes on the wire
        self._headers.append(bytes(stored))
        self._attributes.append(attributes)

    def finish(self) -> None:
        headers = np.frombuffer(b"".join(self._headers), IMAGE_HEADER_DTYPE)
        attributes = np.array(self._attributes, object)
        self._group.create_dataset("header", data=headers, maxshape=(None,), chunks=(1,))
        self._group.create_dataset("attributes", data=attributes, maxshape=(None,), chunks=(1,), dtype=ATTRIBUTES_DTYPE)


def attribute_bytes(attributes: str | bytes | Meta | None) -> bytes:
    """Give what is stored of an image's attributes, XML without a final NUL; empty if there are none."""
    if attributes is None:
        return b""
    if isinstance(attributes, Meta):
        attributes = attributes.serialize()
    raw = attributes.encode() if isinstance(attributes, str) else bytes(attributes)
    return raw.partition(b"\0")[0]  # the wire counts a final NUL in; HDF5 ends a string at it


def list_image_groups(path: str | Path) -> list[str]:
    """Give the groups of a file that hold images, one for each run, by name.

    Raises
    ------
    StorageError
        If the file cannot be read.
    """
    path = Path(path)
    with open_for_reading(path) as file, storage_errors(path, "looking for images"):
        return runs_in(file)


def runs_in(file: h5py.File) -> list[str]:
    """Give the groups of an open file that hold images, by name."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if _is_run(item) else None)
    return found


def _is_run(item: Any) -> bool:
    return isinstance(item, h5py.Group) and bool(series_of(item))


def series_of(run: h5py.Group) -> list[str]:
    """Give the names of the series of a run, by number."""
    names = [
        name
        for name, item in run.items()
        if name.startswith("image_") and isinstance(item, h5py.Group) and {"header", "data"} <= set(item)
    ]
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else -1 for part in name.split("_")])


def load_images(path: str | Path, group: str | None = None) -> list[StoredImage]:
    """Read the images of a run, series after series.

    Parameters
    ----------
    path
        A file that a client wrote, this one or the C++ one.
    group
        The name of the run; may be left out if there is only one.

    Raises
    ------
    StorageError
        If the file cannot be read, has no images, has several runs and none is named, or not the one that is named.
    """
    path = Path(path)
    if group is None:
        runs = list_image_groups(path)
        if len(runs) != 1:
            which = ", ".join(map(repr, runs))
            raise StorageError(
                f"{path.name}: " + (f"several runs — name one of {which}" if runs else "no images in it")
            )
        group = runs[0]
    with open_for_reading(path) as file, storage_errors(path, f"reading the images of {group!r}"):
        run = file.get(group.strip("/"))
        if not _is_run(run):
            raise StorageError(f"{path.name}: no images in group {group!r}")
        return [image for name in series_of(run) for image in read_series(run[name], name)]


def read_headers(group: h5py.Group) -> NDArray[np.void]:
    """Give the headers of a series, a structured array whose fields have the names of `ismrmrd.ImageHeader`."""
    return to_header_layout(group["header"][:], IMAGE_HEADER_DTYPE)


def read_series(group: h5py.Group, name: str) -> Iterator[StoredImage]:
    """Read the images of a series one by one."""
    headers = read_headers(group).tobytes()
    n_images = group["header"].shape[0]
    attributes = group["attributes"][:] if "attributes" in group else [b""] * n_images
    for index in range(n_images):
        raw = attributes[index]
        text = raw if isinstance(raw, str) else bytes(raw).decode("utf-8", errors="replace")
        header = ImageHeader.from_buffer_copy(headers, index * IMAGE_HEADER_DTYPE.itemsize)
        yield StoredImage(header, from_stored(group["data"][index]), text, name)
