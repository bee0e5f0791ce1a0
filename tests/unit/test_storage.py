"""Storage: files that outlive a session."""

from __future__ import annotations

import os
import stat
import threading
from datetime import UTC, datetime

import pytest

from gadgetron.errors import LimitExceeded, StorageError
from gadgetron.limits import LIMITS
from gadgetron.storage import MAX_NAME_CHARACTERS, Storage, safe_name

HOUR_S = 3600.0

HOSTILE = [
    "", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\nb", "~", "$HOME", "%2e%2e",
    "a" * 5000, "ä" * 300, "\ud800", "-rf", "*", "a b", "\u202egnp.exe", "x\r", "|sh", "`id`", ";",
]  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def age(folder, name, age_h):
    changed = datetime.now(UTC).timestamp() - age_h * HOUR_S
    os.utime(folder / name, (changed, changed))


def test_what_was_put_is_there_for_the_user_alone(tmp_path):
    storage = Storage(tmp_path / "new" / "folder")
    storage.put("a", b"1")
    storage.put("a", b"22")
    assert storage.get("a") == b"22"
    assert names(storage.folder) == ["a"]
    assert stat.S_IMODE((storage.folder / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE(storage.folder.stat().st_mode) == 0o700


def test_what_is_not_there_is_none(tmp_path):
    assert Storage(tmp_path).get("a") is None
    assert Storage(tmp_path / "nowhere").get("a") is None
    assert Storage(tmp_path / "nowhere").files("") == []


def test_links_and_folders_are_no_files(tmp_path):
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    storage = Storage(tmp_path)
    assert [file.name for file in storage.files("")] == ["target"]
    with pytest.raises(StorageError):
        storage.get("link")
    assert storage.get("pipe") is None
    storage.put("link", b"own")
    assert (tmp_path / "target").read_bytes() == b"secret"
    assert not (tmp_path / "link").is_symlink()


def test_what_is_too_old_is_gone(tmp_path):
    storage = Storage(tmp_path, 48 * HOUR_S)
    for name, age_h in (("a_old", 49), ("a_new", 47), ("b_old", 49)):
        storage.put(name, b"x")
        age(tmp_path, name, age_h)
    assert storage.get("a_old") is None
    assert [file.name for file in storage.files("a")] == ["a_new"]
    assert storage.clean("a") == ["a_old"]
    assert names(tmp_path) == ["a_new", "b_old"]


def test_the_oldest_make_room(tmp_path):
    storage = Storage(tmp_path)
    for number in range(5):
        storage.put(f"a{number}", b"x")
        age(tmp_path, f"a{number}", number)
    storage.clean("a", 2)
    assert [file.name for file in storage.files("a")] == ["a0", "a1"]


def test_what_a_killed_writer_left_is_deleted(tmp_path):
    for name, age_h in ((".a.1234.part", 2), (".a.5678.part", 0), (".other", 2)):
        (tmp_path / name).write_bytes(b"x")
        age(tmp_path, name, age_h)
    Storage(tmp_path).clean("a")
    assert names(tmp_path) == [".a.5678.part", ".other"]


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    storage = Storage(tmp_path)
    contents = [bytes([number]) * 50_000 for number in range(4)]
    storage.put("a", contents[0])
    stop = threading.Event()

    def write(content):
        while not stop.is_set():
            storage.put("a", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    try:
        found = {storage.get("a") for _ in range(200)}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found <= set(contents)
    assert names(tmp_path) == ["a"]


def test_what_cannot_be_written_is_an_error_without_a_path(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError) as raised:
        Storage(tmp_path / "file").put("a", b"x")
    assert str(tmp_path) not in raised.value.client_text
    with pytest.raises(StorageError):
        Storage(tmp_path).put("a", b"x")
    assert names(tmp_path) == ["a", "file"]


def test_what_is_too_large_is_refused(tmp_path):
    class Large(bytes):
        def __len__(self):
            return LIMITS.max_stored_bytes + 1

    with pytest.raises(LimitExceeded):
        Storage(tmp_path).put("a", Large())
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(LIMITS.max_stored_bytes + 1)
    with pytest.raises(LimitExceeded):
        Storage(tmp_path).get("sparse")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_r20_a_name_from_the_wire_is_a_file_of_the_folder(text, tmp_path):
    folder = tmp_path / "folder"
    for parts in ((text,), ("prefix", text), (text, text)):
        name = safe_name(*parts)
        assert len(name) <= MAX_NAME_CHARACTERS
        if name:
            Storage(folder).put(name, b"x")
            assert Storage(folder).get(name) == b"x"
    assert names(tmp_path) == ["folder"]
    assert all(path.is_file() for path in folder.iterdir())


def test_different_texts_have_different_names():
    texts = [*HOSTILE, "a" * 5001, "%2E", "a%2Fb", "a_b"]
    assert len({safe_name(text) for text in texts}) == len(set(texts))
    assert safe_name("Noise", "66016_73398538_73398547_19") == "Noise_66016_73398538_73398547_19"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0"])
def test_a_name_that_is_none_is_refused(name, tmp_path):
    with pytest.raises(StorageError):
        Storage(tmp_path).put(name, b"x")
    with pytest.raises(StorageError):
        Storage(tmp_path).get(name)
