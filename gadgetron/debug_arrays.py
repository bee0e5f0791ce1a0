"""Intermediate results of a gadget, as files that NumPy reads: what the property `debug_folder` asks for."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.errors import StorageError
from gadgetron.limits import LIMITS, check
from gadgetron.storage import safe_name

__all__ = ["DebugArrays"]


class DebugArrays:
    """Writes arrays into a folder, numbered in the order in which they come.

    All files of the folder together are bounded, whoever wrote them before. Those of an earlier session of the same
    name are replaced.

    Notes
    -----
    For any number of threads.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # guards the next one
        self._sizes: dict[Path, tuple[int, int]] = {}  # bytes and files of each folder

    def save(self, folder: Path, names: tuple[str, ...], array: NDArray[Any]) -> Path:
        """Write an array, and give the file that it is in.

        Parameters
        ----------
        folder
            Made if it is not there.
        names
            What the file's name has before and behind the number: session and gadget, and last what the array is.
        array
            What to write.

        Raises
        ------
        StorageError
            If it cannot be written.
        LimitExceeded
            If the folder would become too large, or have too many files.
        """
        path = folder / f"{safe_name(*names[:-1], f'{next(self._numbers):04d}', names[-1])}.npy"
        temporary = folder / f".{secrets.token_hex(8)}.part"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._count(folder, array.nbytes)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    np.save(file, array, allow_pickle=False)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(f"{path.name} cannot be written: {error.strerror}") from error
        return path

    def _count(self, folder: Path, n_bytes: int) -> None:
        """Count a file before it is written. The folder is looked at once, for what has been in it before."""
        with self._lock:
            n_bytes_before, n_files_before = self._sizes.get(folder) or _content(folder)
            check("bytes of a debug_folder", n_bytes_before + n_bytes, LIMITS.max_debug_bytes)
            check("files of a debug_folder", n_files_before + 1, LIMITS.max_debug_files)
            self._sizes[folder] = n_bytes_before + n_bytes, n_files_before + 1


def _content(folder: Path) -> tuple[int, int]:
    """Give bytes and number of files in a folder."""
    n_bytes = n_files = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another thread has given it its name meanwhile
            status = entry.stat(follow_symlinks=False)
            n_bytes += status.st_size if S_ISREG(status.st_mode) else 0
            n_files += 1
    return n_bytes, n_files
