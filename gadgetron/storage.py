"""Files that outlive a session: written whole or not at all, kept for a time. Noise measurements, for instance.

No other process is needed for it: a folder below the working directory, which belongs to the user and is closed to
others. Names come from the wire (measurement IDs), so whatever they hold, a file lies directly in its folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from gadgetron.errors import StorageError
from gadgetron.limits import LIMITS, check

__all__ = ["Storage", "StoredFile", "safe_name"]

MAX_NAME_CHARACTERS = 200  # file systems take 255 bytes; a temporary name is longer than the final one
ABANDONED_AFTER_S = 3600.0  # a temporary file whose writer was killed

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+=,@-]")


class StoredFile(NamedTuple):
    """What is known about a stored file: its name, and when it was written [s since 1970]."""

    name: str
    changed_s: float


def safe_name(*parts: str) -> str:
    """Make a file's name of texts that may come from a peer: letters, digits and _.+=,@- stay, others become %XX.

    Different texts give different names. What would be too long is cut, and told apart by a hash.
    """
    text = "_".join(parts)
    name = _UNSAFE.sub(_percent, text)
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > MAX_NAME_CHARACTERS:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        name = f"{name[: MAX_NAME_CHARACTERS - 33]}~{digest}"
    return name


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


class Storage:
    """Small files of one folder, by name.

    A file is there whole or not at all, whoever reads while it is written; readable and writable for the user alone.
    Links are neither followed nor listed.

    Parameters
    ----------
    folder
        Made on first use, with mode 0700.
    time_limit_s
        Files older than this are as good as gone, and are deleted when another one is written; 0 for no limit.
    """

    def __init__(self, folder: Path, time_limit_s: float = 0.0) -> None:
        self.folder = folder
        self.time_limit_s = time_limit_s

    def put(self, name: str, data: bytes) -> None:
        """Write a file, in place of one of the same name.

        Parameters
        ----------
        name
            As `safe_name` makes it.
        data
            Its content.

        Raises
        ------
        StorageError
            If it cannot be written. A file that was there stays.
        LimitExceeded
            If it is too large.
        """
        check(f"bytes to be stored as {name}", len(data), LIMITS.max_stored_bytes)
        temporary = self._path(f".{name}.{secrets.token_hex(4)}.part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                temporary.replace(self._path(name))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(f"{name} cannot be stored: {error.strerror}") from error

    def get(self, name: str) -> bytes | None:
        """Read a file; None if there is none, or it is too old.

        Raises
        ------
        StorageError
            If it is there and cannot be read.
        LimitExceeded
            If it is larger than what may be stored.
        """
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not S_ISREG(status.st_mode) or self._is_expired(status.st_mtime):
                    return None
                check(f"bytes stored as {name}", status.st_size, LIMITS.max_stored_bytes)
                return file.read(LIMITS.max_stored_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{name} cannot be read: {error.strerror}") from error

    def files(self, prefix: str) -> list[StoredFile]:
        """List the files whose names begin with a prefix, sorted; expired ones are left out."""
        return sorted(file for file in self._all(prefix) if not self._is_expired(file.changed_s))

    def clean(self, prefix: str, max_files: int = 0) -> list[str]:
        """Delete the expired files whose names begin with a prefix, and the oldest above a number; give their names.

        What a killed writer has left behind is deleted, too.
        """
        files = sorted(self._all(prefix), key=lambda file: file.changed_s, reverse=True)
        gone = [
            file.name for rank, file in enumerate(files) if self._is_expired(file.changed_s) or 0 < max_files <= rank
        ]
        gone += [
            file.name
            for file in self._all(f".{prefix}")
            if file.name.endswith(".part") and _now_s() - file.changed_s > ABANDONED_AFTER_S
        ]
        for name in gone:
            with suppress(OSError):  # another session has deleted it, or it is not ours: it is no use either way
                self._path(name).unlink()
        return gone

    def _all(self, prefix: str) -> Iterator[StoredFile]:
        """Give regular files; what vanishes meanwhile is not stored any more."""
        try:
            entries = list(os.scandir(self.folder))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if S_ISREG(status.st_mode):
                        yield StoredFile(entry.name, status.st_mtime)

    def _is_expired(self, changed_s: float) -> bool:
        return 0.0 < self.time_limit_s < _now_s() - changed_s

    def _path(self, name: str) -> Path:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise StorageError(f"{name!r} is no name for a stored file")
        return self.folder / name


def _now_s() -> float:
    return datetime.now(UTC).timestamp()
