"""docs/first-gadget.md is run from top to bottom: a package outside the tree, reconstruct(), the daemon, its tests."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, read_blocks, run_page

PAGE = DOCS / "first-gadget.md"


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    run_page(PAGE, folder)


def test_the_first_gadget_has_twenty_lines() -> None:
    (gadget,) = (block for block in read_blocks(PAGE) if block.file_name == "my_package/invert.py")
    code = [line for line in gadget.text.splitlines()[1:] if line.strip()]
    assert len(code) <= 20


def test_every_block_is_run_or_is_a_file() -> None:
    for block in read_blocks(PAGE):
        assert block.language in ("python", "console") or block.file_name, f"line {block.line}: nothing runs it"
