"""Where the reference files are, if they are there: recorded images, measured scans. No part of the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOLDEN_INPUTS = SHARED / "golden" / "inputs"
GOLDEN_IMAGES = SHARED / "golden" / "images"
SCANS = SHARED / "data"

needs_reference = pytest.mark.skipif(not SHARED.is_dir(), reason="no reference files beside this checkout (../shared)")


def reference_file(*parts: str) -> Path:
    """Give a reference file, or skip the test with a reason."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no reference file {'/'.join(parts)} beside this checkout (../shared)")
    return path


def reference_files(folder: str, pattern: str = "*.h5") -> list[object]:
    """Give the files of a reference folder for `pytest.mark.parametrize`; one skipped entry when there are none."""
    files = sorted((SHARED / folder).glob(pattern))
    if not files:
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=f"no ../shared/{folder}/{pattern}"))]
    return [pytest.param(file, id=file.stem) for file in files]
