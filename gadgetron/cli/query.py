"""gt_query: ask a Gadgetron which earlier measurements it has, noise scans for instance."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import ismrmrd

from gadgetron.cli.progress import printable
from gadgetron.connector import DEFAULT_PORT, GadgetronConnector
from gadgetron.errors import GadgetronError, RemoteError, StorageError
from gadgetron.message import as_container_message

DEFAULT_QUERY_CONFIG = "gtquery.xml"
ANSWER_TIMEOUT_S = 60.0


def ask_for_dependencies(
    host: str, port: int | str, config: str, connect_timeout_s: float = 10.0, *, script: bytes | None = None
) -> ismrmrd.Meta:
    """Run a configuration that takes no data and answers with meta attributes, and give the answer.

    Parameters
    ----------
    config
        The name of a configuration of the server; with `script`, what to call that in messages.
    script
        A configuration to send along.

    Raises
    ------
    ConnectionLost, PeerTimeout
        If the server is not there, or does not answer.
    RemoteError
        If it answers something else: an error, or nothing.
    """
    connector = GadgetronConnector().open(host, port, connect_timeout_s)
    try:
        if script is None:
            connector.send_gadgetron_configuration_file(config)
        else:
            connector.send_gadgetron_configuration_script(script)
        connector.close(ANSWER_TIMEOUT_S)
        for _message_id, message in connector:
            answer = as_container_message(message, ismrmrd.Meta)
            if answer is not None:
                return answer.object
    finally:
        connector.abort()
    raise RemoteError(f"{host}:{port} sent no answer: {config} is no query, it takes data")


def show_dependencies(answer: ismrmrd.Meta, path: Path | None) -> None:
    """Write an answer to a file as ISMRMRD meta attributes (XML), or print it."""
    xml = answer.serialize() or '<?xml version="1.0" encoding="UTF-8"?>\n<ismrmrdMeta/>'
    if path is None:
        print(printable(xml))
        return
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(xml, encoding="utf-8")
        temporary.replace(path)
    except OSError as err:
        raise StorageError(f"{path}: {err.strerror} — writing the answer") from err
    finally:
        temporary.unlink(missing_ok=True)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line; -h is the host, as it always was in this program."""
    parser = argparse.ArgumentParser(
        prog="gt_query",
        description="Ask a Gadgetron which earlier measurements it has, noise scans for instance.",
        add_help=False,
    )
    parser.add_argument("--help", action="help", help="show this message and exit")
    parser.add_argument("-h", "--host", default="localhost", help="host (%(default)s)")
    parser.add_argument("-p", "--port", type=int, default=DEFAULT_PORT, help="port (%(default)s)")
    parser.add_argument("-o", "--outfile", type=Path, metavar="FILE", help="file for the answer (standard output)")
    parser.add_argument("-c", "--config", default=DEFAULT_QUERY_CONFIG, help="configuration that answers (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Ask and show; 1 if there was no answer."""
    options = make_parser().parse_args(argv)
    try:
        answer = ask_for_dependencies(options.host, options.port, options.config)
        show_dependencies(answer, options.outfile)
    except GadgetronError as error:
        print(f"gt_query: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
