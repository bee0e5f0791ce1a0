"""gt_alive: see whether a Gadgetron runs, and runs chains."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gadgetron.cli.progress import printable
from gadgetron.connector import DEFAULT_PORT, GadgetronConnector
from gadgetron.errors import GadgetronError

ALIVE_CONFIG = "isalive.xml"


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog="gt_alive", description="See whether a Gadgetron runs, and runs chains.")
    parser.add_argument("host", nargs="?", default="localhost", help="host (%(default)s)")
    parser.add_argument("port", nargs="?", type=int, default=DEFAULT_PORT, help="port (%(default)s)")
    parser.add_argument("-t", "--timeout", type=float, default=10.0, metavar="S", help="to answer in [s] (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run an empty chain there; 0 if that went well."""
    options = make_parser().parse_args(argv)
    connector = GadgetronConnector()
    try:
        connector.open(options.host, options.port, options.timeout)
        connector.send_gadgetron_configuration_file(ALIVE_CONFIG)
        connector.close(options.timeout)
    except GadgetronError as error:
        print(f"gt_alive: {printable(str(error))}", file=sys.stderr)
        return 1
    finally:
        connector.abort()
    print(f"Gadgetron is alive at {options.host}:{options.port}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
