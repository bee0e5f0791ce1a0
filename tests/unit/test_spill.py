"""Output on disk: first in, first out, whole messages, within a limit."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import replace

import pytest

from gadgetron.errors import StorageError
from gadgetron.limits import LIMITS
from gadgetron.spill import SpillFile


def take_all(spill: SpillFile, max_bytes: int) -> tuple[bytes, int]:
    data, n_messages = b"", 0
    while spill.n_messages:
        piece, count, _ = spill.take(max_bytes)
        data += piece
        n_messages += count
    return data, n_messages


@pytest.mark.parametrize("max_bytes", [1, 10, 1000, 1 << 20])
def test_what_goes_in_comes_out_in_order(max_bytes: int) -> None:
    rng = random.Random(max_bytes)
    spill = SpillFile()
    expected = b""
    found = b""
    for _ in range(20):
        for _ in range(rng.randint(1, 5)):
            message = rng.randbytes(rng.randint(1, 300))
            spill.write(message[:7], message[7:])
            spill.complete_message()
            expected += message
        data, _, _ = spill.take(max_bytes)
        found += data
    rest, _ = take_all(spill, max_bytes)
    assert found + rest == expected
    spill.close()


def test_take_tells_whether_it_ends_on_a_message() -> None:
    spill = SpillFile()
    for size in (10, 10, 25):
        spill.write(bytes(size))
        spill.complete_message()
    assert [spill.take(20)[1:] for _ in range(3)] == [(2, True), (0, False), (1, True)]
    assert spill.n_messages == 0
    spill.close()


def test_the_file_is_emptied_when_everything_has_been_taken() -> None:
    spill = SpillFile()
    for _ in range(3):
        spill.write(bytes(1000))
        spill.complete_message()
        spill.take(5000)
        assert os.fstat(spill._file.fileno()).st_size == 0
    spill.close()


def test_more_than_the_limit_is_refused() -> None:
    spill = SpillFile(replace(LIMITS, max_spill_bytes=100))
    spill.write(bytes(100))
    spill.complete_message()
    with pytest.raises(StorageError, match="takes too little"):
        spill.write(b"x")
    spill.take(100)
    spill.write(bytes(100))
    spill.close()


def test_an_unfinished_message_can_be_forgotten() -> None:
    spill = SpillFile()
    spill.write(b"first")
    spill.complete_message()
    spill.write(b"half of the sec")
    spill.forget_unfinished()
    spill.write(b"third")
    spill.complete_message()
    assert spill.take(100)[0] == b"firstthird"
    spill.forget_unfinished()
    spill.write(b"fourth")
    spill.complete_message()
    assert spill.take(100)[0] == b"fourth"
    spill.close()


def test_a_full_disk_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    spill = SpillFile()
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", fail)
        with pytest.raises(StorageError, match="cannot be stored"):
            spill.write(b"x")
    spill.write(b"y")
    spill.complete_message()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(StorageError, match="cannot be read back"):
            spill.take(10)
    os.ftruncate(spill._file.fileno(), 0)
    with pytest.raises(StorageError, match="too short"):
        spill.take(10)
    spill.close()


def test_no_temporary_folder_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(StorageError, match="no temporary file"):
        SpillFile()
