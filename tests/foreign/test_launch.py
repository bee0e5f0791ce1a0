"""How modules are started: exact command lines, environment and bytes, with programs that stand in for others."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gadgetron.configuration.global_config import parse_global_configuration
from gadgetron.configuration.model import ExecuteSpec
from gadgetron.errors import ConfigurationError
from gadgetron.foreign.launch import MODULES_FOLDER, make_launch, shipped_modules
from gadgetron.foreign.settings import ForeignSettings, LanguageSettings
from tests import raw_client as raw
from tests.foreign.support import chain, readouts
from tests.servers import InProcessServer

FOLDER = Path("/some/folder")

STAND_IN = """#!{python}
import os, socket, struct, sys
names = ("GADGETRON_EXTERNAL_PORT", "GADGETRON_EXTERNAL_MODULE")
port, module = (os.environ[name] for name in names)
print("arguments", sys.argv[1:], flush=True)
print("module", module, "folder", os.getcwd(), "variable", os.environ.get("RECON"), flush=True)
connection = socket.create_connection(("localhost", int(port)))
received = b""
while not received.endswith(b"\\4\\0"):
    received += connection.recv(65536)
print("received", received.hex(), flush=True)
connection.sendall(received[{start}:])
"""


def test_the_command_lines_of_the_languages() -> None:
    settings = ForeignSettings()
    python = make_launch(ExecuteSpec("python", "a.b", "f"), 1234, settings, FOLDER)
    assert python.arguments == (sys.executable, "-m", "gadgetron", "1234", "a.b", "f")
    assert python.folder == FOLDER
    assert python.environment["PYTHONSAFEPATH"] == "1"
    julia = make_launch(ExecuteSpec("julia", "A", "f"), 1234, settings, FOLDER)
    assert julia.arguments == ("julia", "-e", "import Gadgetron; Gadgetron.External.main()", "1234", "A", "f")
    matlab = make_launch(ExecuteSpec("matlab", "a.b"), 1234, settings, FOLDER)
    assert matlab.arguments == ("matlab", "-batch", "gadgetron.external.main")
    for launch in (python, julia, matlab):
        assert launch.environment["GADGETRON_EXTERNAL_PORT"] == "1234"
    assert matlab.environment["GADGETRON_EXTERNAL_MODULE"] == "a.b"


def test_another_interpreter_gets_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    monkeypatch.setenv("KEPT", "1")
    own = LanguageSettings("/theirs/bin/python", "/their/folder", (("OMP_NUM_THREADS", "2"),))
    settings = ForeignSettings(languages=(("python", own),))
    launch = make_launch(ExecuteSpec("python", "m"), 1, settings, FOLDER)
    assert launch.arguments == ("/theirs/bin/python", "-m", "gadgetron", "1", "m")
    assert launch.folder == Path("/their/folder")
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONSAFEPATH"} & set(launch.environment)
    assert launch.environment["KEPT"] == "1"
    assert launch.environment["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("is_installed", [True, False])
def test_nothing_of_ours_is_found_before_what_is_theirs(monkeypatch: pytest.MonkeyPatch, is_installed: bool) -> None:
    monkeypatch.setattr("gadgetron.foreign.launch._is_installed", lambda: is_installed)
    root = [] if is_installed else [str(MODULES_FOLDER.parents[2])]
    for inherited in ("/theirs", "/theirs:", ""):
        monkeypatch.setenv("PYTHONPATH", inherited)
        own = make_launch(ExecuteSpec("python", "theirs"), 1, ForeignSettings(), FOLDER)
        folders = ["/theirs"] if inherited else []
        assert own.environment.get("PYTHONPATH", "") == (":".join(folders + root) or inherited)
        shipped = make_launch(ExecuteSpec("python", "passthrough"), 1, ForeignSettings(), FOLDER)
        assert shipped.environment["PYTHONPATH"] == ":".join([*folders, str(MODULES_FOLDER), *root])


@pytest.mark.parametrize("executable", [None, "/their/python"])
def test_modules_of_stock_configurations_are_found_however_python_is_configured(
    monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    monkeypatch.setattr("gadgetron.foreign.launch._is_installed", lambda: True)
    monkeypatch.setenv("PYTHONPATH", "/ours")
    for variables, expected in (((("PYTHONPATH", "/their/modules"),), "/their/modules:"), ((), "/ours:")):
        settings = ForeignSettings(languages=(("python", LanguageSettings(executable, None, variables)),))
        launch = make_launch(ExecuteSpec("python", "passthrough"), 1, settings, FOLDER)
        expected = "" if executable and not variables else expected
        assert launch.environment["PYTHONPATH"] == f"{expected}{MODULES_FOLDER}"


@pytest.mark.slow
def test_whether_we_are_installed_is_what_the_interpreter_finds(tmp_path: Path) -> None:
    code = "from gadgetron.foreign.launch import _is_installed; print(_is_installed())"
    copy = tmp_path / "gadgetron"
    shutil.copytree(MODULES_FOLDER.parents[1], copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for folder, expected in ((None, "True"), (tmp_path, "False")):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        if folder is not None:
            environment["PYTHONPATH"] = str(folder)
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], env=environment, cwd="/", capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected


@pytest.mark.slow
@pytest.mark.parametrize("own_path", [True, False])
def test_a_stock_configuration_runs_with_a_configured_interpreter(server: InProcessServer, own_path: bool) -> None:
    variables = (("PYTHONPATH", "/no/such/folder"),)
    language = LanguageSettings(None, None, variables) if own_path else LanguageSettings(sys.executable)
    server.environment.foreign = ForeignSettings(languages=(("python", language),))
    reply = raw.exchange(
        server.port, raw.config_file("python_passthrough.xml"), raw.header(), raw.image_slice(), raw.close()
    )
    server.wait_for_summaries(1)
    assert reply.is_complete, reply.error
    assert 1022 in reply.ids


def test_settings_come_from_gadgetron_xml() -> None:
    xml = b"""<gadgetronConfiguration><externalHost>recon2</externalHost>
    <externalLanguage><type>Matlab</type><executable>/opt/matlab</executable><workingFolder>/w</workingFolder><timeout>2.5</timeout>
      <environment><name>A</name><value>1</value></environment></externalLanguage>
    <externalCommand><name>tool</name><executable>/bin/tool</executable><argument>-x</argument><argument>y z</argument>
    </externalCommand></gadgetronConfiguration>"""
    settings = parse_global_configuration(xml, "gadgetron.xml").foreign
    assert settings.hosts == ("recon2",)
    assert settings.language("matlab") == LanguageSettings("/opt/matlab", "/w", (("A", "1"),), 2.5)
    launch = make_launch(ExecuteSpec("command", "tool", "t"), 7, settings, FOLDER)
    assert launch.arguments == ("/bin/tool", "-x", "y z", "7", "tool", "t")


def test_a_time_limit_is_a_number_of_seconds() -> None:
    for text in ("0", "-1", "soon"):
        language = f"<externalLanguage><type>julia</type><timeout>{text}</timeout></externalLanguage>"
        xml = f"<gadgetronConfiguration>{language}</gadgetronConfiguration>"
        with pytest.raises(ConfigurationError, match=f"'{text}', expected a number of seconds above 0"):
            parse_global_configuration(xml.encode(), "gadgetron.xml")


def test_the_modules_of_stock_configurations_are_allowed() -> None:
    assert {"passthrough", "accumulate_and_recon", "rms_coil_combine"} <= shipped_modules()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "target", "arguments"),
    [
        ("matlab", "", "['-batch', 'gadgetron.external.main']"),
        ("julia", "f", "['-e', 'import Gadgetron; Gadgetron.External.main()', '{port}', 'tests.recon', 'f']"),
    ],
)
def test_what_a_module_in_another_language_gets(
    server: InProcessServer, tmp_path: Path, kind: str, target: str, arguments: str
) -> None:
    configuration = b'<configuration><property name="a" value="1" /></configuration>'
    start = raw.config_script(configuration) + raw.header()
    program = tmp_path / "stand-in"
    program.write_text(STAND_IN.format(python=sys.executable, start=len(start)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "folder"
    folder.mkdir()
    language = LanguageSettings(str(program), str(folder), (("RECON", "yes"),))
    server.environment.foreign = ForeignSettings(languages=((kind, language),))
    node = f'<external><execute type="{kind}" name="tests.recon" target="{target}"/>{configuration.decode()}</external>'
    data = readouts(2)
    reply = raw.exchange(server.port, raw.config_script(chain(node)), raw.header(), data, raw.close())
    assert reply.scan_counters == [1, 2], reply
    lines = [record["line"] for record in server.records.wait_for("module.output", 3)]
    expected = arguments.replace("'{port}'", "") if kind == "matlab" else arguments
    before, _, after = expected.partition("{port}")
    assert lines[0].startswith(f"arguments {before}")
    assert lines[0].endswith(after)
    assert lines[1] == f"module tests.recon folder {folder} variable yes"
    assert server.records.wait_for("session.summary")[0]["error"] is None
    if len(lines[2]) < 1000:  # a line of the log is cut there
        assert lines[2] == "received " + (start + data + raw.close()).hex()
