"""Files and folders that are hidden until they are complete, and do not outlive a process that was killed.

Whoever works on one holds a lock on it, which ends with the process, however that ends. So one that nobody holds a lock
on has been abandoned, and the next who writes the same thing removes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from gadgetron.dataset.storage import Hdf5Output, refuse_what_is_no_file

FOLDER_PREFIX, SUFFIX = ".gadgetron-", ".part"


class TemporaryFile:
    """An empty file in the same folder as `path`, so that a rename is enough to publish it.

    Parameters
    ----------
    path
        The file to be. Abandoned files of the same name to be are removed.

    Attributes
    ----------
    path
        Where it is.

    Raises
    ------
    StorageError
        If `path` is something that the rename must not replace.
    OSError
        If it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        refuse_what_is_no_file(path, "creating it")
        remove_abandoned(path.parent, rf"\.{re.escape(path.name)}\.[0-9a-f]{{12}}{re.escape(SUFFIX)}")
        while True:
            self.path = path.with_name(f".{path.name}.{secrets.token_hex(6)}{SUFFIX}")
            self._lock = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            if _hold(self.path, self._lock):
                return
            os.close(self._lock)

    def open(self) -> Hdf5Output:
        """Open it, as an empty HDF5 file; if that fails it is discarded."""
        try:
            return Hdf5Output(self.path, "w")
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove it, if it has not been renamed, and end the lock. More calls do nothing."""
        self.path.unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class TemporaryFolder:
    """An empty hidden folder in another one.

    Parameters
    ----------
    parent
        Where it is made. Abandoned ones in it are removed.

    Attributes
    ----------
    path
        Where it is.

    Raises
    ------
    OSError
        If it cannot be created.
    """

    def __init__(self, parent: Path) -> None:
        remove_abandoned(parent, rf"{re.escape(FOLDER_PREFIX)}\w{{8}}{re.escape(SUFFIX)}")
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, suffix=SUFFIX, dir=parent))
            try:
                self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # taken for abandoned before it was locked
                continue
            if _hold(self.path, self._lock):
                return
            os.close(self._lock)

    def discard(self) -> None:
        """Remove it with what is in it, and end the lock. More calls do nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _hold(path: Path, descriptor: int) -> bool:
    """Lock what a descriptor refers to; False if it has been removed in the meantime, as abandoned."""
    with suppress(OSError):  # a file system without locks: nothing in it is ever taken for abandoned
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # shared, as HDF5 locks what it reads
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove files and folders in a folder whose names are as in a pattern, and on which nobody holds a lock."""
    with suppress(OSError):  # whoever creates a file there says what is wrong with the folder
        for path in folder.iterdir():
            if re.fullmatch(pattern, path.name):
                _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    with suppress(OSError):  # locked, not ours to remove, or gone by now
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(descriptor)
