"""R15: a configuration's name that comes from the wire opens nothing but a configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gadgetron.configuration.packaged import stock_folder
from gadgetron.configuration.schema import preload
from gadgetron.configuration.search import ConfigurationSearch, load_configuration
from gadgetron.errors import ConfigurationError
from tests.configuration.documents import v1
from tests.reliability.audit import recorded

NAMES = [
    "../../etc/passwd", "../secret.xml", "../../secret.xml", "sub/../../secret.xml", "sub/../default.xml",
    "./default.xml", "..\\secret.xml", "..\\..\\etc\\passwd", "sub\\real.xml", "C:\\config\\default.xml",
    "/etc/passwd", "/etc/passwd.xml", "//etc/passwd.xml", "~/secret.xml", "~root/.profile", "$HOME/secret.xml",
    "${HOME}.xml", "%2e%2e/secret.xml", "%2e%2e%2fsecret.xml", "..%2fsecret.xml", "..%c0%afsecret.xml",
    "file:///etc/passwd", "file:secret.xml", "http://127.0.0.1/x.xml", "\\\\server\\share\\x.xml",
    "default.xml\0.txt", "\0", "default\0.xml", "default.xml\n", " default.xml", "default.xml/", "/", ".", "..", "",
    ".xml", ".hidden.xml", "-rf.xml", "fifo.xml", "folder.xml", "outside.xml", "outside_folder/secret.xml",
    "dangling.xml", "loop.xml", "schema/gadgetron.xsd", "gadgetron.xml.example", "PATH", "HOME", "SECRET_NAME",
    "a" * 1024, "a/" * 400 + "x.xml", "x.xml;id", "$(id).xml", "`id`.xml", "x|y.xml", "*.xml", "default.xm?",
    "dеfault.xml", "default.xml\u202e", "secret", "device.xml",
]  # fmt: skip


@pytest.fixture
def search(tmp_path):
    preload()
    folder = tmp_path / "config"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "real.xml").write_bytes(v1())
    (folder / "folder.xml").mkdir()
    (folder / ".hidden.xml").write_bytes(v1())
    outside = tmp_path / "outside"
    outside.mkdir()
    for secret in (tmp_path / "secret.xml", outside / "secret.xml", folder / "secret"):
        secret.write_bytes(v1())
    os.mkfifo(folder / "fifo.xml")
    (folder / "outside.xml").symlink_to(tmp_path / "secret.xml")
    (folder / "outside_folder").symlink_to(outside)
    (folder / "dangling.xml").symlink_to("nowhere.xml")
    (folder / "loop.xml").symlink_to("loop.xml")
    (folder / "device.xml").symlink_to("/dev/zero")
    environment = {"SECRET_NAME": str(tmp_path / "secret.xml"), "HOME": str(tmp_path)}
    return ConfigurationSearch(config_dir=folder, environment=environment)


def test_r15_there_are_enough_cases():
    assert len(NAMES) >= 40


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_r15_the_name_is_refused_and_nothing_is_opened(name, search, tmp_path):
    with (
        recorded("open", "os.system", "subprocess.Popen", "socket.connect") as events,
        pytest.raises(ConfigurationError) as caught,
    ):
        load_configuration(name, search)
    allowed = (str(stock_folder()), str(search.config_dir))
    assert [event for event in events if event[0] != "open"] == []
    assert [args[0] for _, args in events if not str(args[0]).startswith(allowed)] == []
    text = caught.value.client_text
    assert str(tmp_path) not in text
    assert str(stock_folder()) not in text
    assert str(Path.home()) not in text.replace(ascii(name), "") or str(Path.home()) == "/"
    assert "\n" not in text
    assert "\0" not in text
    assert len(text) < 4000


def test_r15_the_same_search_finds_what_it_should(search):
    assert load_configuration("sub/real.xml", search).nodes == ()
    assert load_configuration("default.xml", search).source == "default.xml"
