"""All pages: links lead somewhere, names of modules and files exist, numbers are those of the program."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from gadgetron.limits import GIB, LIMITS, MIB
from gadgetron.server import MAX_REFUSALS
from gadgetron.writer_task import SPILL_PATIENCE_S
from tests.docs.pages import DOCS, ROOT

PAGES = sorted(DOCS.glob("*.md"))
OURS = [page for page in PAGES if page.name not in ("configuration.md", "performance.md")]
NO_MODULES = ("gadgetron.xml", "gadgetron.xml.example", "gadgetron.gadgets")  # files, and a group of entry points
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.name)
def test_modules_and_files_exist(page: Path) -> None:
    for name in re.findall(r"`([\w./]+)`", prose(page)):
        if re.match(r"(gadgetron|gadgets|readers_writers|config|tests|docs|examples|bin)/", name):
            assert (ROOT / name).exists(), name
        elif re.match(r"(gadgetron|gadgets|readers_writers)\.[a-z_]", name) and name not in NO_MODULES:
            pkgutil.resolve_name(name)


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        assert len(line) <= 120, f"line {number}"


def test_every_page_is_on_the_first() -> None:
    first = (DOCS / "index.md").read_text(encoding="utf-8")
    assert not [page.name for page in PAGES if page.name != "index.md" and f"({page.name})" not in first]


def test_the_numbers_of_the_architecture_are_those_of_the_program() -> None:
    text = " ".join((DOCS / "architecture.md").read_text(encoding="utf-8").split())
    for words in (
        f"bounded in messages ({LIMITS.queue_messages})",
        f"or after {LIMITS.queue_messages} messages",
        f"| what a gadget collects | {LIMITS.max_session_bytes // GIB} GiB",
        f"| what waits in a merge | {LIMITS.max_session_bytes // GIB} GiB",
        f"outlive a session | {LIMITS.max_stored_bytes // MIB} MiB each, {LIMITS.max_stored_files} of a kind",
        f"| output in memory | {LIMITS.writer_queue_bytes // MIB} MiB",
        f"| output on disk | {LIMITS.max_spill_bytes // GIB} GiB",
        f"files of a debug folder | {LIMITS.max_debug_bytes // GIB} GiB",
        f"| chains at once | {LIMITS.max_sessions} |",
        f"| connections | {LIMITS.max_connections} |",
        f"takes nothing for {SPILL_PATIENCE_S:g} s",
        f"for {LIMITS.stall_s:g} s while output waits",
        f"read and dropped, for at most {LIMITS.linger_s:g} s",
        f"logged after {LIMITS.abort_deadline_s:g} s, and every {LIMITS.stack_log_interval_s:g} s",
        f"one of the {LIMITS.max_sessions} places",
        f"| a refusal | at most {MAX_REFUSALS} |",
        f"the others have {LIMITS.drain_deadline_s:g} s",
    ):
        assert words in text, words
    table = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## Memory")[2].partition("\n## ")[0]
    names = re.findall(r"`(\w+_\w+)`", table.partition("When a gadget")[0])
    assert len(names) == 13
    assert all(hasattr(LIMITS, name) for name in names)
