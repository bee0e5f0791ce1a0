"""`gadgetron_validate`: everything that is wrong with a configuration, all at once, before any data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gadgetron import __version__
from gadgetron.cli.lookup import Lookup, add_lookup_options, make_lookup
from gadgetron.configuration.global_config import ROOT, parse_global_configuration
from gadgetron.configuration.parse import read_document
from gadgetron.configuration.validate import ValidationReport, validate
from gadgetron.configuration.xml_safe import local_name, parse_xml
from gadgetron.errors import ConfigurationError, GadgetronError, ProtocolError
from gadgetron.limits import LIMITS
from gadgetron.preflight import Chain, Scan, check_scan, load_scan

EXIT_VALID = 0
EXIT_INVALID = 1
EXIT_USAGE = 2

_EPILOG = """\
what is checked:
  the document           well-formed, no DTD, valid against the schema of its dialect
  names                  every gadget, reader and writer can be loaded from an allowed module
  properties             known (or the nearest known name), of the right type, within their limits
  references             property@gadget leads to a gadget and a property, and not in a circle
  the chain              what one gadget emits, the next one takes

with --data SCAN.h5 also
  the scan               header and readouts: noise scan, calibration, k-space center, limits, navigators, coils, sizes

  error    a session with this configuration would be refused
  warning  allowed, but probably not what is meant
  notice   good to know

exit status: 0 all valid; 1 at least one error (or warning, with --strict); 2 a configuration that is not there

examples:
  gadgetron_validate default.xml                     a stock configuration, by name
  gadgetron_validate ./mine.xml --allow my_gadgets   a file, with gadgets of your own
  gadgetron_validate epi.xml --data scan.h5          what would go wrong with this scan
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the command line parser."""
    parser = argparse.ArgumentParser(
        prog="gadgetron_validate",
        description="Check configurations: everything that is wrong with them, all at once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "configurations", nargs="+", metavar="CONFIG", help="a file, or a name as a client would send it"
    )
    parser.add_argument(
        "--from-client", action="store_true", help="judge as if a client sent the document itself, not its name"
    )
    parser.add_argument(
        "--data", type=Path, metavar="SCAN", help="an ISMRMRD HDF5 file to check with the configurations"
    )
    parser.add_argument("--in-group", default="dataset", metavar="GROUP", help="its group (%(default)s)")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    parser.add_argument("-q", "--quiet", action="store_true", help="show errors only")
    parser.add_argument("--version", action="version", version=f"gadgetron {__version__}")
    add_lookup_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        lookup = make_lookup(options)
    except ConfigurationError as err:
        print(f"gadgetron_validate: {err}", file=sys.stderr)
        return EXIT_USAGE
    scan = None
    if options.data is not None:
        try:
            scan = load_scan(options.data, options.in_group)
        except GadgetronError as err:
            print(f"gadgetron_validate: {err}", file=sys.stderr)
            return EXIT_INVALID if isinstance(err, ProtocolError) else EXIT_USAGE
    status = EXIT_VALID
    for target in options.configurations:
        try:
            name, document = lookup.read(target)
        except GadgetronError as err:
            print(f"gadgetron_validate: {err}", file=sys.stderr)
            status = EXIT_USAGE
            continue
        summary, report = check(name, document, lookup, from_client=options.from_client, scan=scan)
        _show(target, summary, report, quiet=options.quiet)
        if report.errors or (options.strict and report.warnings):
            status = max(status, EXIT_INVALID)
    return status


def check(
    name: str, document: bytes, lookup: Lookup, *, from_client: bool = False, scan: Scan | None = None
) -> tuple[str, ValidationReport]:
    """Check one document: a stream configuration, with a scan if there is one, or a gadgetron.xml.

    Returns
    -------
        What it is, in a few words, and what is wrong with it.
    """
    report = ValidationReport()
    try:
        root = parse_xml(document, max_bytes=LIMITS.max_config_bytes, what=name)
        if local_name(root) == ROOT:
            report.notices += parse_global_configuration(document, name).notices
            return "global configuration", report
        read = read_document(document, name)
    except GadgetronError as err:
        report.errors.append(str(err))
        return "", report
    report.errors += read.problems
    configuration = replace(read.configuration, from_client=from_client)
    if not configuration.version:
        return "", report
    found = validate(
        configuration,
        lookup.loader,
        lookup.global_configuration.global_parameters,
        lookup.global_configuration.foreign,
    )
    report.errors = list(dict.fromkeys([*report.errors, *found.errors]))
    report.warnings += found.warnings
    report.notices += found.notices
    if scan is not None:
        judged = check_scan(Chain.of(configuration, lookup.loader), scan)
        report.errors += judged.errors
        report.warnings += judged.warnings
        report.notices += judged.notices
    parts = (
        _count(len(configuration.readers), "reader"),
        _count(len(configuration.writers), "writer"),
        _count(len(configuration.gadgets), "gadget"),
    )
    return f"dialect {configuration.version}; {', '.join(parts)}", report


def _show(target: str, summary: str, report: ValidationReport, *, quiet: bool) -> None:
    counts = [_count(len(report.errors), "error"), _count(len(report.warnings), "warning")]
    verdict = (
        "valid" if report.is_valid and not report.warnings else ", ".join(text for text in counts if text[0] != "0")
    )
    if not (quiet and report.is_valid):
        print(f"{target}: {verdict}{f' ({summary})' if summary else ''}")
    kinds = [("error", report.errors)]
    if not quiet:
        kinds += [("warning", report.warnings), ("notice", report.notices)]
    for kind, texts in kinds:
        for text in texts:
            print(f"  {kind}: {text}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
