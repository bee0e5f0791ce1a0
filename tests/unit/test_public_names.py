"""The public names, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gadgetron

ROOT = Path(gadgetron.__file__).parents[1]


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_no_public_name_is_a_modules() -> None:
    """Importing a submodule sets its name on the package: a function of the same name would then be a module."""
    modules = {path.stem for path in Path(gadgetron.__file__).parent.iterdir()}
    assert not modules & set(gadgetron.__all__)


def test_every_public_name_is_what_its_module_defines_whatever_was_imported_before() -> None:
    code = (
        "import importlib, pkgutil, gadgetron\n"
        "for name in sorted(set(gadgetron._MODULES)): importlib.import_module(f'gadgetron.{name}')\n"
        "for module, names in gadgetron._MODULES.items():\n"
        "    for name in names:\n"
        "        wanted = getattr(importlib.import_module(f'gadgetron.{module}'), name)\n"
        "        assert getattr(gadgetron, name) is wanted, name\n"
    )
    run(code)


def test_import_gadgetron_imports_nothing_heavy() -> None:
    loaded = run("import sys, gadgetron; print(*sorted(sys.modules))").split()
    assert not {"numpy", "scipy", "ismrmrd", "xmlschema", "pyfftw", "structlog", "h5py"} & set(loaded)
