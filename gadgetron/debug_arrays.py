"""Intermediate results of a gadget, as files that NumPy reads: what the property `debug_folder` asks for."""

from __future__ import annotations

import itertools
import os
import secrets
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.errors import LimitExceeded, StorageError
from gadgetron.limits import LIMITS
from gadgetron.storage import safe_name

__all__ = ["DebugArrays"]


class DebugArrays:
    """Writes arrays into a folder, numbered in the order in which they come.

    All files of the folder together are bounded, whoever wrote them. Those of an earlier session of the same name are
    replaced.

    Notes
    -----
    For any number of threads.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

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
            If the folder would become too large.
        """
        path = folder / f"{safe_name(*names[:-1], f'{next(self._numbers):04d}', names[-1])}.npy"
        temporary = folder / f".{secrets.token_hex(8)}.part"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            n_bytes = _nbytes(folder) + array.nbytes
            if n_bytes > LIMITS.max_debug_bytes:
                raise LimitExceeded("bytes of a debug_folder", n_bytes, LIMITS.max_debug_bytes)
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


def _nbytes(folder: Path) -> int:
    n_bytes = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another thread has given it its name meanwhile
            status = entry.stat(follow_symlinks=False)
            n_bytes += status.st_size if S_ISREG(status.st_mode) else 0
    return n_bytes
