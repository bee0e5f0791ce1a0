"""Write a scan as ISMRMRD HDF5, in batches, under its name only when it is complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from ismrmrd import AcquisitionHeader, WaveformHeader
from numpy.typing import NDArray

from gadgetron.dataset.layout import (
    ACQUISITION_DTYPE,
    ACQUISITION_HEADER_DTYPE,
    WAVEFORM_DTYPE,
    WAVEFORM_HEADER_DTYPE,
    to_stored,
)
from gadgetron.dataset.storage import publish, storage_errors
from gadgetron.dataset.temporary import TemporaryFile
from gadgetron.errors import StorageError

RECORDS_AT_ONCE = 256
BYTES_AT_ONCE = 8 * 1024 * 1024
RECORDS_PER_CHUNK = 64


class ScanWriter:
    """A scan being written; a context manager, which publishes the file when it ends well and discards it otherwise.

    Readouts are copied when they are appended, and written in batches.

    Parameters
    ----------
    path
        The file to be. Its folder must exist.
    group
        The group to hold the scan.
    overwrite
        Replace a file of that name; otherwise it is an error that there is one.

    Raises
    ------
    StorageError
        If the file exists already, or cannot be written.
    """

    def __init__(self, path: str | Path, group: str = "dataset", *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._check_free()
        with storage_errors(self.path, "creating it"):
            self._temporary = TemporaryFile(self.path)
            self._output = self._temporary.open()
            self._group = self._output.file.create_group(group.strip("/"))
        self._acquisitions = _RecordTable(self._group, "data", ACQUISITION_DTYPE)
        self._waveforms = _RecordTable(self._group, "waveforms", WAVEFORM_DTYPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_rest: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    @property
    def n_acquisitions(self) -> int:
        """Readouts appended so far."""
        return self._acquisitions.n_records

    def write_header(self, xml: bytes | str) -> None:
        """Store the ISMRMRD header."""
        with storage_errors(self.path, "writing the ISMRMRD header"):
            dataset = self._group.create_dataset("xml", (1,), maxshape=(1,), dtype=h5py.string_dtype("ascii"))
            dataset[0] = xml.encode() if isinstance(xml, str) else xml

    def append(
        self,
        header: AcquisitionHeader,
        data: NDArray[np.complex64],
        trajectory: NDArray[np.float32] | None = None,
    ) -> None:
        """Append a readout.

        Parameters
        ----------
        header
            Its counts of channels, samples and dimensions must agree with the arrays.
        data
            Shape (channels, samples).
        trajectory
            Shape (samples, dimensions), if there is one.
        """
        _check_shape(data.shape, (header.active_channels, header.number_of_samples), "readout")
        values = np.array(data, np.complex64).view(np.float32).reshape(-1)
        points = np.zeros(0, np.float32)
        if trajectory is not None:
            _check_shape(trajectory.shape, (header.number_of_samples, header.trajectory_dimensions), "trajectory")
            points = np.array(trajectory, np.float32).reshape(-1)
        head = np.frombuffer(bytes(header), ACQUISITION_HEADER_DTYPE)[0]
        with storage_errors(self.path, "writing readouts"):
            self._acquisitions.append((head, points, values), values.nbytes + points.nbytes)
            self._output.check()

    def append_waveform(self, header: WaveformHeader, data: NDArray[np.uint32]) -> None:
        """Append a piece of a waveform, shape (channels, samples)."""
        _check_shape(data.shape, (header.channels, header.number_of_samples), "waveform")
        values = np.array(data, np.uint32).reshape(-1)
        head = np.frombuffer(bytes(header), WAVEFORM_HEADER_DTYPE)[0]
        with storage_errors(self.path, "writing waveforms"):
            self._waveforms.append((head, values), values.nbytes)
            self._output.check()

    def write_array(self, name: str, array: NDArray[Any]) -> None:
        """Store an array beside the scan, as ISMRMRD does: a first axis that counts entries, of which there is one."""
        with storage_errors(self.path, f"writing the array {name!r}"):
            self._group.create_dataset(name, data=to_stored(array)[np.newaxis], maxshape=(None, *array.shape))

    def close(self) -> None:
        """Write what is left and put the file under its name. More calls do nothing.

        Raises
        ------
        StorageError
            If it cannot be written; nothing is left behind then.
        """
        if not self._output.is_open:
            return
        try:
            with storage_errors(self.path, "writing it"):
                self._acquisitions.flush()
                self._waveforms.flush()
                self._output.close()
                self._output.check()
                self._check_free()
                publish(self._temporary.path, self.path)
        finally:
            self.abort()

    def abort(self) -> None:
        """Discard everything that was written."""
        try:
            with storage_errors(self.path, "discarding it"):
                self._output.close()
        finally:
            self._temporary.discard()

    def _check_free(self) -> None:
        if not self._overwrite and self.path.exists():
            raise StorageError(f"{self.path.name}: exists already — nothing was overwritten")


class _RecordTable:
    """A growing dataset of records with a header and arrays of any length, written in batches."""

    def __init__(self, group: h5py.Group, name: str, dtype: np.dtype[Any]) -> None:
        self._group = group
        self._name = name
        self._dtype = dtype
        self._waiting: list[tuple[Any, ...]] = []
        self._waiting_bytes = 0
        self.n_records = 0

    def append(self, record: tuple[Any, ...], n_bytes: int) -> None:
        self._waiting.append(record)
        self._waiting_bytes += n_bytes
        self.n_records += 1
        if len(self._waiting) >= RECORDS_AT_ONCE or self._waiting_bytes >= BYTES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        batch = np.empty(len(self._waiting), self._dtype)
        for index, record in enumerate(self._waiting):
            batch[index] = record
        if self._name not in self._group:
            self._group.create_dataset(
                self._name, (0,), maxshape=(None,), chunks=(RECORDS_PER_CHUNK,), dtype=self._dtype
            )
        dataset = self._group[self._name]
        dataset.resize(self.n_records, axis=0)
        dataset[self.n_records - len(batch) :] = batch
        self._waiting.clear()
        self._waiting_bytes = 0


def _check_shape(shape: tuple[int, ...], expected: tuple[int, int], what: str) -> None:
    if shape != expected:
        raise StorageError(f"{what} of shape {shape} — its header says {expected}")
