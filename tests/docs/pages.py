"""Run a page of the documentation: its files are written and its commands executed, as a reader would.

What the fenced code blocks of a page mean:

* a first line that names a file (`# package/module.py`, `<!-- chain.xml -->`) makes the block that file;
* ``python`` without a file's name is a script, and is run;
* ``console`` has commands behind `$ `, and below each what it prints, in which `…` stands for anything. Other lines may
  come between those that are shown;
* ``console background`` has one command, a daemon, that goes on while the page does, and is ended in order after it;
* ``text`` is shown to the reader, and nothing else.

One shell runs all of it, so `export` and `cd` have the effect that they have for a reader. The port that the page names
is replaced by a free one.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

PAGE_S = 240.0
PORT = "9002"
MARK = "--- block at line"

_FENCE = re.compile(r"^```(\w*)[ ]*(.*?)\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#|<!--) ([\w./-]+\.[a-z]+)(?: -->)?\n")

# What a page installs must not get into the environment that runs the tests, and building it would need packages from
# the network: this gives a package the metadata that `pip install -e .` gives it.
_PIP = """\
import os, pathlib, sys, tomllib
if sys.argv[1:] != ["install", "-e", "."]:
    sys.exit(f"pip {sys.argv[1:]}: no page has needed that yet")
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
folder = pathlib.Path(os.environ["DOCS_SITE"], f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
folder.mkdir()
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n")
with (folder / "entry_points.txt").open("w") as file:
    for group, points in project.get("entry-points", {}).items():
        print(f"[{group}]", *(f"{name} = {where}" for name, where in points.items()), sep="\\n", file=file)
"""

# Waits until something listens on the port, or the daemon has ended.
_WAIT_FOR_DAEMON = """\
daemon=$!
until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do kill -0 $daemon; sleep 0.05; done"""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page: `language`, the rest of its first line, its text, and where it begins."""

    language: str
    info: str
    text: str
    line: int

    @property
    def file_name(self) -> str:
        """The file that the block is the content of; empty if it is none."""
        match = _FILE.match(self.text)
        return match[1] if match else ""

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Commands of a console block, and the lines that each is said to print."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and found[-1][0].endswith("\\"):
                found[-1] = (f"{found[-1][0]}\n{line}", [])
            elif line.strip():
                found[-1][1].append(line)
        return found


def read_blocks(page: Path) -> list[Block]:
    """Give the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], match[3], text.count("\n", 0, match.start()) + 1) for match in _FENCE.finditer(text)
    ]


def run_page(page: Path, folder: Path) -> str:
    """Run everything on a page in an empty folder, and compare what it prints with what the page says it prints.

    Returns
    -------
        What was printed.
    """
    port = free_port()
    blocks = read_blocks(page)
    script = folder.parent / f"{folder.name}.sh"
    script.write_text("\n".join(_script(blocks, folder)).replace(PORT, port), encoding="utf-8")
    shell = subprocess.Popen(
        ["bash", script],
        cwd=folder,
        env=reader_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=PAGE_S)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
    assert shell.returncode == 0, f"{page.name}: exit status {shell.returncode}\n{output}"
    _compare(page, blocks, output, port)
    return output


def free_port() -> str:
    """Give a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def reader_environment(folder: Path) -> dict[str, str]:
    """Give the environment of a reader who has installed the Gadgetron: its programs, and `pip`, are on the path."""
    programs = folder.parent / f"{folder.name}-bin"
    site = folder.parent / f"{folder.name}-site"
    programs.mkdir()
    site.mkdir()
    pip = programs / "pip"
    pip.write_text(f"#!{sys.executable}\n{_PIP}", encoding="utf-8")
    pip.chmod(0o755)
    kept = ("HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
    path = [str(programs), str(ROOT / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]),
        "DOCS_SITE": str(site),
        "PYTHONWARNINGS": "ignore:h5py is running against HDF5:UserWarning",
        "GADGETRON_WORKING_DIRECTORY": str(folder.parent / f"{folder.name}-work"),
        "XDG_CONFIG_HOME": str(folder.parent / f"{folder.name}-user"),
    }


def _script(blocks: list[Block], folder: Path) -> list[str]:
    lines = ["set -eu -o pipefail", 'daemon=""', "trap '[ -z \"$daemon\" ] || kill $daemon' EXIT"]
    n_scripts = 0
    for block in blocks:
        lines.append(f"echo {shlex.quote(f'{MARK} {block.line}')}")
        if block.file_name:
            path = shlex.quote(block.file_name)
            lines += [f"mkdir -p $(dirname {path})", f"cat > {path} <<'END_OF_FILE'", block.text + "END_OF_FILE"]
        elif block.language == "python":
            n_scripts += 1
            script = shlex.quote(str(folder.parent / f"{folder.name}-script-{n_scripts}.py"))
            lines += [f"cat > {script} <<'END_OF_FILE'", block.text + "END_OF_FILE", f"python {script}"]
        elif block.language == "console" and block.info == "background":
            ((command, _),) = block.commands
            lines += [f"{command} &", _WAIT_FOR_DAEMON.format(port=PORT)]
        elif block.language == "console":
            lines += [command for command, _ in block.commands]
    lines += ['if [ -n "$daemon" ]; then kill $daemon; wait $daemon; daemon=""; fi', ""]
    return lines


def _compare(page: Path, blocks: list[Block], output: str, port: str) -> None:
    printed: dict[int, list[str]] = {}
    line = 0
    for text in output.splitlines():
        if text.startswith(MARK):
            line = int(text.removeprefix(MARK))
        else:
            printed.setdefault(line, []).append(text.rstrip())
    for block in blocks:
        if block.language != "console" or block.info == "background":
            continue
        expected = [text.replace(PORT, port) for _, lines in block.commands for text in lines]
        rest = iter(printed.get(block.line, []))
        for text in expected:
            if text.strip() == "…":
                continue
            pattern = ".*".join(re.escape(part) for part in text.rstrip().split("…"))
            assert any(re.fullmatch(pattern, candidate) for candidate in rest), (
                f"{page.name}, block at line {block.line}: not printed, or not in this order: {text}\n"
                "What was printed:\n" + "\n".join(printed.get(block.line, []))
            )
