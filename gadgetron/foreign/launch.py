"""Which command line starts a foreign module, and whether a configuration may have it started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gadgetron
from gadgetron.configuration.model import ConnectSpec, ExecuteSpec, ExternalSpec
from gadgetron.errors import ConfigurationError, GadgetronError, UnknownClassError
from gadgetron.foreign.settings import COMMAND, LANGUAGES, ForeignSettings, LanguageSettings
from gadgetron.loader import MAX_NAME_CHARACTERS, Loader, is_below
from gadgetron.property_types import nearest_name, quoted

PORT_VARIABLE = "GADGETRON_EXTERNAL_PORT"
MODULE_VARIABLE = "GADGETRON_EXTERNAL_MODULE"

WAIT = "-"  # instead of the port: what to run comes on standard input

QUESTION_S = 20.0

_OUR_RUNNER = (sys.executable, "-m", "gadgetron")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1")

_PACKAGE = Path(gadgetron.__file__).parent
MODULES_FOLDER = _PACKAGE / "examples" / "modules"
"""Folder of the modules that stock configurations name; they are top-level modules for the process that runs them."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started.

    Attributes
    ----------
    arguments
        Command line.
    environment
        All of it.
    folder
        In which it runs; None for the server's.
    ahead
        Command line, but for what follows its last word, of a process that can be started before it is known which
        module it is for; empty if there is none. That last word says that the rest is told on standard input.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]
    folder: Path | None = None
    ahead: tuple[str, ...] = ()


@cache
def shipped_modules() -> frozenset[str]:
    """Give the names of the modules in MODULES_FOLDER."""
    return frozenset(path.stem for path in MODULES_FOLDER.glob("*.py") if path.stem != "__init__")


def check_external(spec: ExternalSpec, loader: Loader, settings: ForeignSettings) -> None:
    """Refuse a node that this server may not run.

    Raises
    ------
    ConfigurationError
        If the type, the program, the module or the host is not known or not allowed; says which setting would allow it.
    """
    if isinstance(spec.action, ConnectSpec):
        _check_host(spec.action, settings)
    else:
        _check_execute(spec.action, loader, settings)


def _check_host(connect: ConnectSpec, settings: ForeignSettings) -> None:
    address = connect.address.lower()
    if not _LOOPBACK.fullmatch(address) and address not in {host.lower() for host in settings.hosts}:
        raise ConfigurationError(
            f"external node: connecting to {quoted(connect.address)} is not allowed: "
            "<externalHost> in gadgetron.xml would allow it"
        )
    if not 0 < connect.port < 65536:
        raise ConfigurationError(f"external node: port {connect.port} — expected 1 to 65535")


def _check_execute(execute: ExecuteSpec, loader: Loader, settings: ForeignSettings) -> None:
    if execute.kind == COMMAND:
        known = dict(settings.commands)
        if execute.name not in known:
            near = nearest_name(execute.name, known)
            hint = f"did you mean {near}?" if near else "<externalCommand> in gadgetron.xml would allow it"
            raise ConfigurationError(f"external node: command {quoted(execute.name)} is not known: {hint}")
    elif execute.kind in LANGUAGES:
        _check_module(execute.name, loader)
    else:
        known_types = ", ".join((*LANGUAGES, COMMAND))
        raise ConfigurationError(f"external node: type {quoted(execute.kind)} — known are {known_types}")
    if execute.target is not None:
        _check_name(execute.target, "target")
    if execute.kind == "julia" and execute.target is None:
        raise ConfigurationError(f"external node: module {quoted(execute.name)} in julia needs a target")


def _check_module(name: str, loader: Loader) -> None:
    _check_name(name, "module")
    if name not in shipped_modules() and not is_below(name, loader.allowed_prefixes):
        first = name.partition(".")[0]
        raise UnknownClassError(
            f"external node: module {quoted(name)} is not below an allowed prefix: "
            f"--allow {first}, or <allowedPrefix> in gadgetron.xml, would allow it"
        )


def _check_name(name: str, what: str) -> None:
    if len(name) > MAX_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise UnknownClassError(
            f"external node: {what} {quoted(name)} is no name: expected letters, digits and underscores, "
            "the first a letter, with dots between names"
        )


def make_launch(execute: ExecuteSpec, port: int, settings: ForeignSettings, default_folder: Path) -> Launch:
    """Give the command line, environment and folder that start a module.

    Parameters
    ----------
    execute
        Has been checked.
    port
        On this computer, where the module is expected to connect.
    default_folder
        Working folder where none is configured.
    """
    if execute.kind == COMMAND:
        command = dict(settings.commands)[execute.name]
        target = () if execute.target is None else (execute.target,)
        arguments = (command.executable, *command.arguments, str(port), execute.name, *target)
        language = settings.language(COMMAND)
    else:
        language = settings.language(execute.kind)
        arguments = _interpreter_arguments(execute, port, language)
    environment = dict(os.environ)
    environment |= {PORT_VARIABLE: str(port), MODULE_VARIABLE: execute.name}
    if execute.kind == "python":
        _set_python_variables(environment, language)
    environment |= dict(language.environment)
    if execute.kind == "python":
        _append_own_folders(environment, language, execute.name)
    folder = Path(language.working_folder) if language.working_folder else default_folder
    is_ours = execute.kind == "python" and language.executable is None
    return Launch(arguments, environment, folder, (*_OUR_RUNNER, WAIT) if is_ours else ())


def _interpreter_arguments(execute: ExecuteSpec, port: int, language: LanguageSettings) -> tuple[str, ...]:
    """Give the command lines that the C++ Gadgetron has."""
    target = () if execute.target is None else (execute.target,)
    if execute.kind == "python":
        _, *runner = _OUR_RUNNER
        return (language.executable or sys.executable, *runner, str(port), execute.name, *target)
    if execute.kind == "julia":
        start = "import Gadgetron; Gadgetron.External.main()"
        return (language.executable or "julia", "-e", start, str(port), execute.name, *target)
    return (language.executable or "matlab", "-batch", "gadgetron.external.main")


def _set_python_variables(environment: dict[str, str], language: LanguageSettings) -> None:
    """Say what holds for Python; another interpreter finds no package of ours by what is meant for us."""
    environment["PYTHONUNBUFFERED"] = "1"  # what a module prints is in the log when it prints it
    if language.working_folder is None:
        environment["PYTHONSAFEPATH"] = "1"  # gadgets write into the working directory: nothing is imported from there
    if language.executable is not None:
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)


def _append_own_folders(environment: dict[str, str], language: LanguageSettings, module: str) -> None:
    """Let the interpreter find what is ours, behind everything else in PYTHONPATH: nothing of ours shadows a module."""
    folders = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    if module in shipped_modules():
        folders.append(str(MODULES_FOLDER))
    if language.executable is None and not _is_installed():
        folders.append(str(_PACKAGE.parent))
    if folders:
        environment["PYTHONPATH"] = os.pathsep.join(folders)


@cache
def _is_installed() -> bool:
    """Tell whether our interpreter finds this package by itself: then PYTHONPATH need not name its folder.

    It is asked, once, because a package can be installed in many ways: a link to a checkout, for one.
    """
    question = "import importlib.util as util; print(util.find_spec('gadgetron').origin)"
    try:
        answer = subprocess.run(
            [sys.executable, "-E", "-P", "-c", question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=QUESTION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return os.fsdecode(answer.stdout).strip() == gadgetron.__file__


def find_executable_problem(error: OSError, launch: Launch) -> GadgetronError:
    """Say why a program could not be started, without its path."""
    name = Path(launch.arguments[0]).name
    if launch.folder is not None and not launch.folder.is_dir():
        return ConfigurationError(f"the folder in which {name} is to run is missing")
    return ConfigurationError(f"{name} cannot be started: {error.strerror or error}")
