"""docs/first-gadget.md is run from top to bottom: a package outside the tree, reconstruct(), the daemon, its tests."""

import enum
import re
from pathlib import Path

import pytest

from gadgetron import Gadget, Property
from gadgetron.gadget_controller import GadgetController
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


class Mode(enum.Enum):
    FAST = "fast"
    GOOD = "good"


def test_the_table_of_properties_is_right() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Properties")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(Property\(.*?\))`(?:, an `enum.Enum`)? \| ([^|]+) \| (\w+)", section, re.MULTILINE)
    assert len(rows) == 7
    for declaration, values, kind in rows:
        found = eval(declaration, {"Property": Property, "Mode": Mode})
        parsed = [found.parse(value) for value in re.findall(r"`([^`]+)`", values)] or [found.parse("fast")]
        for value in parsed:
            assert type(value).__name__ == {"a": "Mode"}.get(kind, kind), declaration
    assert Property(Mode.FAST).parse("GOOD") is Mode.GOOD


def test_what_else_a_gadget_can_use_is_there() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## What else")[2].partition("\n## ")[0]
    for name in re.findall(r"`self\.controller\.(\w+)", section):
        assert hasattr(GadgetController, name), name
    for name in re.findall(r"`self\.(\w+)", section):
        assert name == "controller" or hasattr(Gadget, name), name
