"""Temporary files and folders: hidden, gone when they are discarded, and removed by the next when their owner died."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gadgetron.dataset import temporary as module
from gadgetron.dataset.temporary import TemporaryFile, TemporaryFolder
from gadgetron.errors import StorageError

GUARD_S = 30
WORK_AND_WAIT = """\
import sys, time
from pathlib import Path
from gadgetron.dataset.temporary import TemporaryFile, TemporaryFolder
file = TemporaryFile(Path(sys.argv[1]))
folder = TemporaryFolder(Path(sys.argv[1]).parent)
(folder.path / "image.hdr").write_bytes(b"header")
print("ready", flush=True)
sys.stdin.read()
"""


class Worker:
    """A process that has a temporary file and a temporary folder until it is killed."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", WORK_AND_WAIT, str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=GUARD_S)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_what_a_killed_process_has_left_is_removed_by_the_next_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    killed, living = Worker(path), Worker(path)
    try:
        killed.kill()
        assert len(names(tmp_path)) == 4
        TemporaryFolder(tmp_path).discard()
        TemporaryFile(path).discard()
        assert len(names(tmp_path)) == 2
    finally:
        living.kill()
    TemporaryFolder(tmp_path).discard()
    assert [name.startswith(".out.h5.") for name in names(tmp_path)] == [True]
    TemporaryFile(path).discard()
    assert names(tmp_path) == []


def test_those_of_this_process_are_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    file, folder = TemporaryFile(path), TemporaryFolder(tmp_path)
    others = TemporaryFile(path), TemporaryFolder(tmp_path)
    assert file.path.exists()
    assert folder.path.exists()
    for each in (file, folder, *others):
        each.discard()
        each.discard()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        ".other.h5.0123456789ab.part",
        ".out.h5.part",
        ".out.h5.0123456789ab",
        "out.h5.0123456789ab.part",
        "out.h5",
        ".x.part",
    ],
)
def test_files_of_other_names_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"kept")
    TemporaryFile(tmp_path / "out.h5").discard()
    TemporaryFolder(tmp_path).discard()
    assert names(tmp_path) == [name]


def test_a_link_that_looks_like_one_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "data").write_bytes(b"kept")
    (tmp_path / ".gadgetron-abcdefgh.part").symlink_to(target)
    TemporaryFolder(tmp_path).discard()
    assert (target / "data").exists()


@pytest.mark.parametrize("make", [lambda folder: TemporaryFile(folder / "out.h5"), TemporaryFolder])
def test_one_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make
) -> None:
    flock, removed = fcntl.flock, []

    def removed_first(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_SH and not removed:
            (path,) = tmp_path.iterdir()
            path.rmdir() if path.is_dir() else path.unlink()
            removed.append(path)
        flock(descriptor, operation)

    monkeypatch.setattr(module.fcntl, "flock", removed_first)
    made = make(tmp_path)
    assert removed
    assert removed[0] != made.path
    assert made.path.exists()
    made.discard()
    assert names(tmp_path) == []


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(module.fcntl, "flock", unsupported)
    first, second = TemporaryFile(tmp_path / "out.h5"), TemporaryFile(tmp_path / "out.h5")
    assert first.path.exists()
    first.discard()
    second.discard()


def test_a_file_that_cannot_be_opened_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TemporaryFile(tmp_path / "out.h5")

    def broken(*_arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "Hdf5Output", broken)
    with pytest.raises(OSError, match="No space"):
        file.open()
    assert names(tmp_path) == []


def test_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="a folder"):
        TemporaryFile(tmp_path)
