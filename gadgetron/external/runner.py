"""`python -m gadgetron PORT MODULE [TARGET]`: the active mode, the Gadgetron has started this process."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import gadgetron
from gadgetron._version import __version__

USAGE = "usage: python -m gadgetron PORT MODULE [TARGET]"
WAIT = "-"
DEFAULT_TARGET = "handle_connection"
CONNECT_TIMEOUT_S = 30.0
LOG_LEVEL_VARIABLE = "GADGETRON_EXTERNAL_LOG_LEVEL"
LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s [{module}] %(message)s"

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Run a module, and give the exit status: 0 if it returned, 1 if it raised, 2 for arguments that make no sense.

    Without arguments say what this is, and end at once: programs probe for it that way. With a lone "-" get ready, and
    wait on standard input for what to run.
    """
    if list(arguments) == [WAIT]:
        arguments = _wait_for_work()
        if not arguments:
            return 0
    if not arguments:
        sys.stdout.write(f"Gadgetron {__version__}: foreign modules in Python. {USAGE}\n")
        return 0
    if not 2 <= len(arguments) <= 3 or not arguments[0].isdecimal():
        sys.stderr.write(f"{USAGE}\n")
        return EXIT_USAGE
    port, module, *target = arguments
    _configure_logging(module)
    offer_legacy_names()
    return _run(int(port), module, target[0] if target else None)


def _wait_for_work() -> list[str]:
    """Import what every module needs; then read arguments, environment variables and folder, as a line of JSON.

    Gives no arguments if standard input ends before: nobody needs this process any more. If something that has been
    imported, or a folder to import from, has changed in the meantime, the interpreter begins anew.
    """
    import gadgetron.external.connection
    import gadgetron.legacy  # noqa: F401  # so that they are there

    before = _what_counts()
    line = sys.stdin.buffer.readline()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, sys.stdin.fileno())
    os.close(null)
    if not line.endswith(b"\n"):
        return []
    work = json.loads(line)
    os.environ.update(work["environment"])
    if work["folder"] is not None:
        os.chdir(work["folder"])  # it may be another one by that name
    arguments: list[str] = work["arguments"]
    if _what_counts() != before:
        os.execv(sys.executable, [sys.executable, "-m", "gadgetron", *arguments])  # noqa: S606  # that is the point
    importlib.invalidate_caches()
    sys.argv[1:] = arguments
    return arguments


def _what_counts() -> dict[str, tuple[int, int, int] | None]:
    """Give what tells that files are the same as before: those imported, folders to import from, the current folder."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    found: dict[str, tuple[int, int, int] | None] = {}
    for path in filter(None, (*files, *sys.path)):
        try:
            status = Path(path).stat()
        except OSError:
            found[path] = None
        else:
            found[path] = status.st_mtime_ns, status.st_dev, status.st_ino
    here = Path().stat()  # what is written there does not count, only which folder it is
    found["."] = 0, here.st_dev, here.st_ino
    return found


def offer_legacy_names() -> None:
    """Let `from gadgetron import Gadget` mean the plain class of foreign modules, in this process."""
    from gadgetron.legacy import Gadget

    gadgetron.Gadget = Gadget  # type: ignore[assignment,misc]  # on purpose: that is the name it had


def load_target(module_name: str, target_name: str | None) -> Callable[[Any], Any]:
    """Import a module, and give what is to be called with the connection.

    Parameters
    ----------
    target_name
        A function that takes a connection, or a class with a method `handle` that does. None for `handle_connection`,
        or the module's only gadget of the old style, or the only handler that it has registered.

    Raises
    ------
    TypeError
        If there is no such function or class.
    """
    module = importlib.import_module(module_name)
    target: Any = getattr(module, target_name or DEFAULT_TARGET, None)
    if target is None and target_name is None:
        target = _only_gadget(module) or _only_registered()
    if inspect.isclass(target) and callable(getattr(target, "handle", None)):
        instance: Any = target()
        handler: Callable[[Any], Any] = instance.handle
        return handler
    if target is not None and callable(target) and not inspect.isclass(target):
        function: Callable[[Any], Any] = target
        return function
    raise TypeError(
        f"module {module_name} has no {target_name or DEFAULT_TARGET} that takes a connection, and no class of that "
        "name with a method handle"
    )


def _only_gadget(module: ModuleType) -> Any:
    from gadgetron.legacy import Gadget

    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Gadget) and value.__module__ == module.__name__
    ]
    return own[0] if len(own) == 1 else None


def _only_registered() -> Any:
    from gadgetron.external.handlers import registered

    return registered[0] if len(registered) == 1 else None


def _run(port: int, module: str, target: str | None) -> int:
    from gadgetron.external.channel import Channel
    from gadgetron.external.connection import Connection, describe_failure, is_regular_end

    is_printed = False
    channel = Channel(socket.create_connection(("localhost", port), CONNECT_TIMEOUT_S))
    try:
        # Connected before the import, which may take long: the Gadgetron knows that somebody is there.
        handler = load_target(module, target)
        with Connection(channel) as connection:
            try:
                handler(connection)
            except BaseException as error:
                if not is_regular_end(error):
                    _print_stack(error)
                    is_printed = True
                raise
    except BaseException as error:  # noqa: BLE001  # the module's: whatever it raises is told, and ends this process
        if is_regular_end(error):
            return 0
        if not is_printed:
            _print_stack(error)
        channel.report(describe_failure(error))
        return EXIT_FAILED
    finally:
        channel.close()
    return 0


def _print_stack(error: BaseException) -> None:
    """Print an exception's traceback before the Gadgetron is told: it may end this process then."""
    sys.stdout.flush()
    traceback.print_exception(error)


def _configure_logging(module: str) -> None:
    """Log to standard error, from where the Gadgetron takes it into its own log."""
    name = os.environ.get(LOG_LEVEL_VARIABLE, "INFO").upper()
    level = logging.getLevelNamesMapping().get(name, logging.INFO)
    logging.basicConfig(format=LOG_FORMAT.format(module=module), level=level, datefmt="%m-%d %H:%M:%S")
