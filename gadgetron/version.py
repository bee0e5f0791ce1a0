"""The version, under the names that modules know from the package `gadgetron` 1.4."""

from __future__ import annotations

import re

from gadgetron._version import __version__ as version

__all__ = ["build", "major", "minor", "version"]

major, minor, build = (int(number) for number in re.findall(r"\d+", version)[:3])
