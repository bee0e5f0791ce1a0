"""R20, the configuration's part: a folder that a client names stays below the working directory."""

from __future__ import annotations

import pytest

from gadgetron.errors import PropertyError
from gadgetron.gadget import Gadget
from gadgetron.properties import apply_properties, resolve_folder

HOSTILE = [
    "/", "/etc", "/tmp/gadgetron/", "//etc", "..", "../", "../x", "a/..", "a/../..", "a/../../etc", "a/b/../../../x",
    "./../x", "link_out", "link_out/x", "sub/link_up", "a\0b", "/proc/self/root", "/dev/shm", "../working_evil",
    "link_to_file/..",
]  # fmt: skip
HARMLESS = {
    "": "",
    "a": "a",
    "a/b": "a/b",
    "./a": "a",
    "a..b": "a..b",
    "...": "...",
    "~": "~",
    "$HOME": "$HOME",
    "a b": "a b",
}


class FolderGadget(Gadget):
    """Has folders."""


@pytest.fixture
def working(tmp_path):
    folder = tmp_path / "working"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "working_evil").mkdir()
    (folder / "link_out").symlink_to("/etc")
    (folder / "sub" / "link_up").symlink_to("../..")
    return folder


def test_r20_there_are_enough_cases():
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize("prop", ["debug_folder", "workingDirectory"])
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_r20_a_folder_outside_is_refused(value, prop, working):
    with pytest.raises(PropertyError) as caught:
        apply_properties(FolderGadget(), [(prop, value)], working_directory=working, from_client=True)
    assert str(working) not in caught.value.client_text


@pytest.mark.parametrize("value", HARMLESS)
def test_r20_a_folder_inside_is_accepted(value, working):
    gadget = FolderGadget()
    apply_properties(gadget, [("debug_folder", value)], working_directory=working, from_client=True)
    assert gadget.debug_folder == (str(working / HARMLESS[value]) if value else "")


def test_r20_what_the_server_itself_configures_may_lie_elsewhere(working):
    gadget = FolderGadget()
    apply_properties(
        gadget, [("debug_folder", "own")], [("debug_folder", "/srv/debug")], working_directory=working, from_client=True
    )
    assert gadget.debug_folder == "/srv/debug"


def test_r20_without_a_working_directory_nothing_leads_out_either():
    with pytest.raises(PropertyError):
        resolve_folder("debug_folder", "../x", None, from_client=True)
