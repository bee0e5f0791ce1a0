"""What packaging relies on: folders are packages, programs exist, laws and scans can find something."""

import ast
import configparser
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gadgetron import __version__
from tests.import_laws import _matches
from tests.source_scan import scan_folders, scan_source

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gadgetron", "gadgets", "readers_writers")
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg")
PROGRAMS = dict(
    line.replace(" ", "").split("=") for line in SETUP["options.entry_points"]["console_scripts"].split("\n") if line
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_modules_is_a_package(package):
    folders = {file.parent for file in (ROOT / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_a_main_and_a_launcher(program):
    module, function = PROGRAMS[program].split(":")
    assert callable(getattr(importlib.import_module(module), function))
    launcher = ROOT / "bin" / program
    assert os.access(launcher, os.X_OK)
    lines = launcher.read_text(encoding="ascii").splitlines()
    assert len(lines) == 5
    assert f"from {module} import {function}" in lines


def test_every_launcher_is_a_program():
    assert {file.name for file in (ROOT / "bin").iterdir()} == set(PROGRAMS)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_launchers_work_from_another_folder(program, tmp_path):
    command = [sys.executable, str(ROOT / "bin" / program), "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage:")


def test_the_version_can_be_read_without_importing():
    assert SETUP["metadata"]["version"] == "attr: gadgetron._version.__version__"
    tree = ast.parse((ROOT / "gadgetron" / "_version.py").read_text(encoding="utf-8"))
    assert [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)] == [__version__]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import json, marshal",
        "from pickle import loads",
        "from shelve import open",
        "eval(text)",
        "exec(text)",
        "os.system('ls')",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run('ls', shell=True)",
        "np.prod(dims)",
        "time.time()",
        "def f(x):\n    assert x",
        "try:\n    f()\nexcept:\n    g()",
    ],
)
def test_r19_the_scan_finds_what_is_not_allowed(source):
    assert len(scan_source(source, "module.py")) == 1


@pytest.mark.parametrize(
    "source",
    ["np.load(path, allow_pickle=False)", "model.eval()", "import json", "time.monotonic()", "yaml.safe_load(x)"],
)
def test_r19_the_scan_leaves_the_rest_alone(source):
    assert scan_source(source, "module.py") == []


def test_r19_nothing_that_runs_what_a_peer_sent():
    assert scan_folders([ROOT / package for package in PACKAGES]) == []


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b.c", "a.b", False),
        ("a.b.c", "a.b.*", True),
        ("a.b", "a.b.*", True),
        ("a.bc", "a.b.*", False),
    ],
)
def test_patterns_of_the_import_laws(name, pattern, expected):
    assert _matches(name, pattern) is expected


LAWS = """\
[importlinter]
root_packages =
    gadgetron
include_external_packages = true
contract_types =
    only_imports: tests.import_laws.OnlyImports

[importlinter:contract:room]
name = The room
type = only_imports
room = gadgetron.toolboxes
ours =
    gadgetron.errors
theirs =
    numpy
not_these =
    socket
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("import numpy, math", True),
        ("from gadgetron.errors import Failure", True),
        ("from gadgetron.toolboxes import other", True),
        ("import socket", False),
        ("import h5py", False),
        ("from gadgetron.server import Server", False),
        ("from gadgetron import server", False),
    ],
)
def test_the_import_law_lets_in_what_is_listed_and_nothing_else(tmp_path, statement, kept):
    for name, text in {
        "__init__": "",
        "errors": "Failure = 1",
        "server": "Server = 1",
        "toolboxes/__init__": "",
        "toolboxes/other": "",
        "toolboxes/room": statement,
    }.items():
        file = tmp_path / "gadgetron" / f"{name}.py"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text, encoding="ascii")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "laws.cfg").write_text(textwrap.dedent(LAWS), encoding="ascii")
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports('laws.cfg'))"
    done = subprocess.run(
        [sys.executable, "-c", lint], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ("1 kept, 0 broken" if kept else "0 kept, 1 broken") in done.stdout, done.stdout + done.stderr
    assert done.returncode == (0 if kept else 1)
