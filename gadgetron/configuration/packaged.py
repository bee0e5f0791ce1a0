"""Where the configurations that come with the program are: package data when installed, ../config in a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gadgetron.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def stock_folder() -> Path:
    """Give the folder of the stock configurations.

    Raises
    ------
    ConfigurationError
        If the installation is incomplete.
    """
    for folder in (_PACKAGE / "_config", _PACKAGE.parent / "config"):
        if (folder / "schema" / "gadgetron.xsd").is_file():
            return folder
    raise ConfigurationError("the stock configurations are missing: the installation is incomplete, install it again")


def schema_folder() -> Path:
    """Give the folder of the XSD files."""
    return stock_folder() / "schema"
