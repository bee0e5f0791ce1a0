"""docs/foreign-language.md: the shortest way is walked, and the texts it explains are texts of the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.docs.pages import DOCS, ROOT, run_page

PAGE = DOCS / "foreign-language.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXPLAINED = re.findall(
    r"^\| ([^|]*`[^|`]+`) \|", TEXT.partition("## When something goes wrong")[2].partition("\n## ")[0], re.MULTILINE
)


def pixels(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        found: list[np.ndarray] = []
        file.visititems(lambda name, item: found.append(item[:]) if name.endswith("/data") else None)
    (images,) = found
    return images


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    run_page(PAGE, folder)
    without = folder / "without.xml"
    without.write_text(re.sub(r"<external>.*</external>", "", (folder / "doubling.xml").read_text(), flags=re.DOTALL))
    subprocess.run(
        [sys.executable, "-m", "gadgetron.cli.daemon", "--from_stream", "-c", without, "-i", "scan.h5", "-o", "one.h5"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "GADGETRON_WORKING_DIRECTORY": str(tmp_path / "work")},
        check=True,
        timeout=120,
    )
    single, doubled = pixels(folder / "one.h5"), pixels(folder / "doubled.h5")
    assert np.linalg.norm(single) > 0
    assert np.allclose(doubled, 2 * single, rtol=1e-4)


@pytest.fixture(scope="module")
def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "gadgetron").rglob("*.py"))


@pytest.mark.parametrize("text", EXPLAINED)
def test_the_program_says_what_is_explained(text: str, sources: str) -> None:
    """The words between what varies (…, names, numbers) stand in the sources in this form, or are Python's own."""
    words = re.sub(r"^[^`]*`|`$", "", text)
    varying = r"…|'x'|X\b|\w+Error:.*|a \\|b$|1 |9 \(SIGKILL\)|the module (?=ended|was)"
    for part in filter(None, (part.strip(" :,;|") for part in re.split(varying, words))):
        assert part in sources, part
