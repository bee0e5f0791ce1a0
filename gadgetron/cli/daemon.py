"""`gadgetron`: the daemon, and one reconstruction over pipes or files with `--from_stream`."""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

import structlog

from gadgetron import __version__
from gadgetron.configuration.global_config import GlobalConfiguration, load_global_configuration
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.environment import DEFAULT_CONFIGURATION, Environment, default_working_directory
from gadgetron.errors import GadgetronError
from gadgetron.foreign.spares import SPARES
from gadgetron.loader import Loader
from gadgetron.log import LEVELS, configure_logging
from gadgetron.protocol.detection import Protocols
from gadgetron.server import GadgetServerAcceptor
from gadgetron.warm_up import PlanAhead, tune_process, warm_up

log = structlog.get_logger()

DEFAULT_PORT = 9002

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

_EPILOG = """\
Options on the command line win over environment variables, which win over gadgetron.xml.

signals:
  SIGTERM   take no new connections, let running reconstructions finish for 30 s, exit 0; a second SIGTERM aborts them
  SIGINT    abort at once, exit 1 (Ctrl-C)
  SIGUSR1   write the stacks of all threads and the state of all sessions to standard error

examples:
  gadgetron                                            serve on localhost, port 9002
  gadgetron -p 9010 --log-json                         another port, logs for machines
  gadgetron --from_stream -c default.xml -i scan.h5 -o images.h5
  gadgetron --from_stream -c default.xml < scan.mrd > images.mrd
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the command line parser."""
    parser = argparse.ArgumentParser(
        prog="gadgetron",
        description="A streaming MRI reconstruction server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gadgetron {__version__}")
    parser.add_argument("--info", action="store_true", help="show versions and the environment, and exit")
    server = parser.add_argument_group("server")
    server.add_argument(
        "-p", "--port", type=_port, help=f"port to listen on; 0 for any free one [GADGETRON_PORT, {DEFAULT_PORT}]"
    )
    server.add_argument("--host", help="address to listen on [GADGETRON_HOST, 127.0.0.1]")
    server.add_argument(
        "--allow-remote",
        action="store_true",
        help="needed with a --host that other machines can reach: there is no authentication",
    )
    server.add_argument(
        "--protocol",
        choices=[protocols.value for protocols in Protocols],
        default=Protocols.BOTH.value,
        help="what clients may speak: classic, entity (the framed protocol), or both (%(default)s)",
    )
    server.add_argument(
        "--spare-modules",
        type=int,
        choices=range(9),
        default=1,
        metavar="N",
        help="Python interpreters that wait for the next foreign module, once there was one; 0 to 8 (%(default)s)",
    )
    server.add_argument("--port-file", type=Path, metavar="FILE", help="write the port to FILE once the server listens")
    both = parser.add_argument_group("both")
    both.add_argument("-W", "--dir", type=Path, metavar="DIR", help="working directory [GADGETRON_WORKING_DIRECTORY]")
    both.add_argument("-G", "--home", type=Path, metavar="DIR", help="home, with config/ in it [GADGETRON_HOME]")
    both.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="look here first for configurations [GADGETRON_CONFIG_DIR]"
    )
    both.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PREFIX",
        help="also load classes from modules below PREFIX (repeatable)",
    )
    both.add_argument(
        "--legacy-images", action="store_true", help="MRIImageWriterCPLX, FLOAT, USHORT send messages 1009 to 1011"
    )
    both.add_argument("--log-level", choices=LEVELS, help="least level to log [GADGETRON_LOG_LEVEL, info]")
    both.add_argument("--log-json", action="store_true", help="log one JSON object a line")
    stream = parser.add_argument_group("one reconstruction without a server")
    stream.add_argument("--from_stream", action="store_true", help="read messages from -i, write to -o, and exit")
    stream.add_argument("-c", "--config_name", metavar="CONFIG", help="configuration to run: a stock name, or a file")
    stream.add_argument("-i", "--input_path", metavar="FILE", help="messages, or an ISMRMRD HDF5 file [standard input]")
    stream.add_argument(
        "-o", "--output_path", metavar="FILE", help="messages; HDF5 if it ends in .h5 [standard output]"
    )
    stream.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="free parameter for gadgets (repeatable)"
    )
    compatibility = parser.add_argument_group("accepted for compatibility, without effect")
    compatibility.add_argument(
        "-d", "--disable_storage", action="store_true", help="there is no storage server to disable"
    )
    for flags in (
        ("-E", "--storage_address"),
        ("-s", "--storage_port"),
        ("-D", "--database_dir"),
        ("-S", "--storage_dir"),
    ):
        compatibility.add_argument(*flags, help="there is no storage server")
    return parser


def _refuse_stream_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for flag, value in (
        ("-c", options.config_name),
        ("-i", options.input_path),
        ("-o", options.output_path),
        ("--parameter", options.parameter),
    ):
        if value:
            parser.error(f"{flag} needs --from_stream")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    level = options.log_level or os.environ.get("GADGETRON_LOG_LEVEL", "info").lower()
    if level not in LEVELS:
        parser.error(f"GADGETRON_LOG_LEVEL is {level!r}: expected one of {', '.join(LEVELS)}")
    if options.info:
        from gadgetron.cli.info import main as info

        return info([])
    output_fd = -1
    if options.from_stream and options.output_path in (None, "-"):
        # Whatever a library prints must not end up among the messages.
        output_fd = os.dup(1)
        os.dup2(2, 1)
    configure_logging(level, as_json=options.log_json)
    if options.from_stream and options.protocol == Protocols.ENTITY.value:
        parser.error("--from_stream reads and writes the classic protocol: leave --protocol out")
    if not options.from_stream:
        _refuse_stream_options(parser, options)
    try:
        if options.home is not None:
            os.environ["GADGETRON_HOME"] = str(options.home.resolve())
        search = ConfigurationSearch(config_dir=_config_dir(options))
        global_configuration = load_global_configuration(search.global_file())
        search = replace(search, aliases=dict(global_configuration.aliases))
        environment = _make_environment(options, global_configuration, search)
        if options.from_stream:
            from gadgetron.cli.from_stream import run_from_stream

            if not options.config_name:
                parser.error("--from_stream needs a configuration: -c NAME")
            return run_from_stream(environment, options.config_name, options.input_path, options.output_path, output_fd)
        return _serve(parser, options, global_configuration, environment)
    except GadgetronError as error:
        print(f"gadgetron: {error}", file=sys.stderr)
        return EXIT_USAGE


def _config_dir(options: argparse.Namespace) -> Path | None:
    text = options.config_dir or os.environ.get("GADGETRON_CONFIG_DIR")
    return Path(text).resolve() if text else None


def _make_environment(
    options: argparse.Namespace, global_configuration: GlobalConfiguration, search: ConfigurationSearch
) -> Environment:
    parameters = {}
    for text in options.parameter:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise GadgetronError(f"--parameter {text!r}: expected NAME=VALUE")
        parameters[name] = value
    working_directory = options.dir or default_working_directory()
    return Environment(
        loader=Loader([*global_configuration.allowed_prefixes, *options.allow]),
        search=search,
        working_directory=Path(working_directory).resolve(),
        global_parameters=global_configuration.global_parameters,
        parameters=parameters,
        legacy_images=options.legacy_images,
        foreign=global_configuration.foreign,
        default_configuration=global_configuration.default_configuration or DEFAULT_CONFIGURATION,
        known_clients=global_configuration.clients,
    )


def _serve(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    global_configuration: GlobalConfiguration,
    environment: Environment,
) -> int:
    host = options.host or os.environ.get("GADGETRON_HOST") or "127.0.0.1"
    if not is_loopback(host):
        if not options.allow_remote:
            parser.error(
                f"--host {host} can be reached from other machines and nothing is authenticated: "
                "add --allow-remote if you mean it"
            )
        log.warning("server.exposed", host=host, advice="anyone who can connect can run reconstructions here")
    port = options.port
    if port is None and os.environ.get("GADGETRON_PORT"):
        try:
            port = _port(os.environ["GADGETRON_PORT"])
        except (ValueError, argparse.ArgumentTypeError):
            parser.error(f"GADGETRON_PORT is {os.environ['GADGETRON_PORT']!r}: expected a number from 0 to 65535")
    if port is None:
        port = global_configuration.port if global_configuration.port is not None else DEFAULT_PORT
    for notice in global_configuration.notices:
        log.warning("configuration.notice", text=notice)
    tune_process()
    warm_up(environment)
    acceptor = GadgetServerAcceptor(environment, host, port, Protocols(options.protocol))
    SPARES.keep(options.spare_modules)
    try:
        return _run_until_signal(acceptor, options.port_file)
    finally:
        SPARES.keep(0)


class SignalPipe:
    """Signals, in the order in which they arrive, for a thread that waits for them.

    The handlers themselves do nothing: a handler that sets an Event or takes a lock runs between any two instructions
    of the main thread, which may hold that very lock.
    """

    def __init__(self, *numbers: int) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, _do_nothing)

    def get(self) -> int:
        """Wait for the next signal."""
        return os.read(self._read_end, 1)[0]

    def ignore_from_now_on(self) -> None:
        """Take no more signals: the interpreter's end restores default actions, and one that comes then would kill."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)

    def post(self, number: int) -> None:
        """Append a number as if it were a signal. From any thread."""
        os.write(self._write_end, bytes([number]))


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Stand in for the default action: the signal's number is in the pipe by now."""


DRAINED = 0  # no signal has this number


def _run_until_signal(acceptor: GadgetServerAcceptor, port_file: Path | None) -> int:
    """Serve until a signal ends it. The main thread does nothing else, so that signals are heard at once."""
    signals = SignalPipe(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    acceptor.open()
    if port_file is not None:
        temporary = port_file.with_name(port_file.name + ".part")
        temporary.write_text(f"{acceptor.port}\n")
        temporary.replace(port_file)
    plan_ahead = PlanAhead()
    plan_ahead.start()
    drained_in_order: list[bool] = []
    drainer: threading.Thread | None = None

    def drain() -> None:
        drained_in_order.append(acceptor.close(acceptor.environment.limits.drain_deadline_s))
        signals.post(DRAINED)

    while True:
        number = signals.get()
        if number == signal.SIGUSR1:
            dump_stacks(acceptor)
        elif number == signal.SIGTERM and drainer is None:
            limits = acceptor.environment.limits
            log.info("server.draining", sessions=len(acceptor.sessions), deadline_s=limits.drain_deadline_s)
            drainer = threading.Thread(target=drain, name="drain", daemon=True)
            drainer.start()
        elif number == DRAINED and drainer is not None:
            drainer.join()
            plan_ahead.end()
            signals.ignore_from_now_on()
            log.info("server.ended", clean=drained_in_order[0])
            return EXIT_OK if drained_in_order[0] else EXIT_FAILED
        else:
            log.warning("server.aborting", sessions=len(acceptor.sessions))
            acceptor.close(0.0)
            plan_ahead.end()
            signals.ignore_from_now_on()
            return EXIT_FAILED


def dump_stacks(acceptor: GadgetServerAcceptor) -> None:
    """Write every thread's stack, and every session's queues, to standard error."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = ["--- stacks of all threads ---"]
    for ident, frame in sys._current_frames().items():
        lines.append(f"Thread {names.get(ident, ident)}:")
        lines.extend(line.rstrip() for line in traceback.format_stack(frame))
    lines.append("--- sessions ---")
    lines.extend(session.controller.status() for session in acceptor.sessions)
    print("\n".join(lines), file=sys.stderr, flush=True)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port: expected 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
