"""Files that are there complete or not at all, and storage failures in words."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any, Literal

import h5py

from gadgetron.errors import StorageError


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn what HDF5 and the operating system raise into StorageError.

    The message names the file without its folder: it may reach a client.
    """
    try:
        yield
    except FileNotFoundError as err:
        raise StorageError(f"{path.name}: no such file or folder — {doing}") from err
    except OSError as err:
        reason = err.strerror or _first_line(err).replace(str(path.parent), "…")
        raise StorageError(f"{path.name}: {reason} — {doing}") from err
    except (KeyError, RuntimeError, ValueError, TypeError) as err:
        raise StorageError(f"{path.name}: {_first_line(err)} — {doing}") from err


def _first_line(err: BaseException) -> str:
    text = str(err.args[0]) if err.args else ""
    return text.splitlines()[0] if text.strip() else type(err).__name__


def refuse_what_is_no_file(path: Path, doing: str) -> None:
    """Refuse a folder, a device or a pipe: reading could wait for ever, and publishing would replace it.

    Raises
    ------
    StorageError
        If there is something of that name that is no file.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a device or a pipe"
        raise StorageError(f"{path.name or path}: {what}, not a file — {doing}")


def open_for_reading(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    StorageError
        If it is missing, is no HDF5 file, or may not be read.
    """
    refuse_what_is_no_file(path, "opening it for reading")
    with storage_errors(path, "opening it for reading"):
        if path.is_file() and not h5py.is_hdf5(path):
            os.close(os.open(path, os.O_RDONLY))  # a file that may not be read says so itself
            raise StorageError(f"{path.name}: not an HDF5 file, or one that was never closed — opening it for reading")
        return h5py.File(path, "r", locking="best-effort")


class Hdf5Output:
    """An HDF5 file being written, whose failures are Python's.

    HDF5 cannot close a file whose last writes fail: the handles stay open and the process dies of them at its exit, by
    SIGSEGV. So HDF5 writes through a file object that does not fail. It keeps the error, and in memory what could no
    longer be written; `check` raises the error.

    Parameters
    ----------
    path
        The file, which exists.
    mode
        `w` empties it, `r+` adds to it.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path, mode: Literal["w", "r+"]) -> None:
        self._below = _PatientFile(path.open("r+b", buffering=0))
        try:
            self.file = h5py.File(self._below, mode)
        except BaseException:
            self._below.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return bool(self.file)

    def check(self) -> None:
        """Raise what went wrong so far.

        Raises
        ------
        OSError
            If a write has failed.
        """
        if self._below.error is not None:
            raise self._below.error

    def close(self) -> None:
        """Close the file; `check` afterwards tells whether everything was written."""
        self.file.close()
        self._below.close()


class _PatientFile(RawIOBase):
    """The file object below HDF5: it does as if every write succeeded."""

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self._position = 0
        self._unwritten: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset if whence == os.SEEK_SET else self._raw.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        start, stop = self._position, self._position + len(view)
        n_read = os.preadv(self._raw.fileno(), [view], start)
        for offset, piece in self._unwritten:
            first, last = max(offset, start), min(offset + len(piece), stop)
            if first < last:
                view[first - start : last - start] = piece[first - offset : last - offset]
                n_read = max(n_read, last - start)
        self._position += n_read
        return n_read

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        n_written = 0
        try:
            while n_written < len(view) and self.error is None:
                n_written += os.pwrite(self._raw.fileno(), view[n_written:], self._position + n_written)
        except OSError as err:
            self.error = err
        if n_written < len(view):
            self._unwritten.append((self._position + n_written, bytes(view[n_written:])))
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                self._raw.truncate(size)
        except OSError as err:
            self.error = err
        return self._position if size is None else size

    def close(self) -> None:
        self._raw.close()
        super().close()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other writers of this project out of a folder while a file in it is exchanged."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def publish(temporary: Path, path: Path) -> None:
    """Put a finished, closed file under its name, durably: fsync, rename, fsync of the folder."""
    _sync(temporary, os.O_RDONLY)
    temporary.replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
