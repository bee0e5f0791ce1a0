"""docs/getting-started.md: its commands and scripts are run, and the texts it explains are texts of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gadgetron.limits import LIMITS
from tests.docs.pages import DOCS, ROOT, run_page

PAGE = DOCS / "getting-started.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXPLAINED = re.findall(
    r"^\| (`[^|]+`) \|", TEXT.partition("## When something fails")[2].partition("\n## ")[0], re.MULTILINE
)


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    run_page(PAGE, folder)
    assert (folder / "images.png").stat().st_size > 0
    assert (folder / "images.mrd").stat().st_size > 2 * 128 * 128 * 4


@pytest.fixture(scope="module")
def sources() -> str:
    files = [path for room in ("gadgetron", "readers_writers") for path in (ROOT / room).rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("text", EXPLAINED)
def test_the_program_says_what_is_explained(text: str, sources: str) -> None:
    """The words between what varies (…, names, numbers) stand in the sources in this form."""
    parts = re.split(r"…|'x'|X: ValueError: |150000000| while ", text.strip("`"))
    for part in filter(None, (part.strip(" :,") for part in parts)):
        assert part in sources, part


def test_the_numbers_are_those_of_the_limits() -> None:
    assert f"{LIMITS.max_connections} connections and {LIMITS.max_sessions} running chains" in TEXT
    assert f"{LIMITS.max_session_bytes // 1024**3} GiB in what a gadget collects" in TEXT
    assert f"every {LIMITS.stack_log_interval_s:g} s" in TEXT
    assert f"{LIMITS.drain_deadline_s:g} s for running reconstructions" in TEXT
