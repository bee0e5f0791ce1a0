"""gadgetron_ismrmrd_client: send a scan to a Gadgetron, and write what comes back."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from gadgetron.cli.compression import add_compression_options, check_compression_options, compressing_writer
from gadgetron.cli.progress import Progress, printable
from gadgetron.cli.query import DEFAULT_QUERY_CONFIG, ask_for_dependencies, show_dependencies
from gadgetron.cli.results import Results
from gadgetron.configuration.search import read_file
from gadgetron.connector import DEFAULT_PORT, GadgetronConnector
from gadgetron.dataset import ScanFile
from gadgetron.errors import GadgetronError, RemoteError
from gadgetron.message import MessageBlock
from gadgetron.protocol.message_ids import MessageID

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

DEFAULT_CONFIG = "default.xml"
BATCH_ITEMS = 64
QUERY_TIMEOUT_S = 10.0

_EPILOG = """\
exit status:
  0  the reconstruction ended well, and its results are in the output
  1  it failed, or nothing came back; the output is as it was (but see --keep-partial)
  2  the command line is wrong

examples:
  gadgetron_ismrmrd_client -f scan.h5                      default.xml on this machine, images to out.h5
  gadgetron_ismrmrd_client -f scan.h5 -c default_short.xml -a recon.local -o images.h5 -G first
  gadgetron_ismrmrd_client -f scan.h5 -C my_chain.xml      a chain of your own, sent along
  gadgetron_ismrmrd_client -f images.h5 -c stream_complex_to_float.xml       images of an earlier run, to go on from
  gadgetron_ismrmrd_client -Q gadgetron::info              what runs there
  gadgetron_ismrmrd_client -C NoiseSummary.xml             what takes no data, and answers with attributes
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line: the C++ client's options, and a few more."""
    parser = argparse.ArgumentParser(
        prog="gadgetron_ismrmrd_client",
        description="Send an ISMRMRD scan to a Gadgetron, and write the images that come back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    server = parser.add_argument_group("server")
    server.add_argument("-a", "--address", default="localhost", help="host (%(default)s)")
    server.add_argument("-p", "--port", type=int, default=DEFAULT_PORT, help="port (%(default)s)")
    server.add_argument("-t", "--timeout", type=int, default=10000, metavar="MS", help="to connect (%(default)s)")
    server.add_argument(
        "--protocol", choices=["classic", "entity"], default="classic", help="entity is the framed one (%(default)s)"
    )
    scan = parser.add_argument_group("scan")
    scan.add_argument(
        "-f", "--filename", type=Path, metavar="FILE", help="ISMRMRD HDF5 file to send: a scan, or images"
    )
    scan.add_argument(
        "-g", "--in-group", default="/dataset", metavar="GROUP", help="its group (%(default)s, or the only run)"
    )
    what = parser.add_argument_group("reconstruction").add_mutually_exclusive_group()
    what.add_argument("-c", "--config", metavar="NAME", help=f"configuration of the server ({DEFAULT_CONFIG})")
    what.add_argument("-C", "--config-local", type=Path, metavar="FILE", help="configuration to send along")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--outfile", type=Path, metavar="FILE", help="file for the images (out.h5)")
    output.add_argument("-G", "--out-group", metavar="GROUP", help="group in it (the local time)")
    output.add_argument(
        "-F", "--outformat", choices=["h5", "hdr"], default="h5", help="HDF5, or Analyze files (%(default)s)"
    )
    output.add_argument("--allow-empty", action="store_true", help="nothing coming back is no failure")
    output.add_argument("--keep-partial", action="store_true", help="keep what came back before a failure")
    other = parser.add_argument_group("instead of a scan")
    other.add_argument("-Q", "--info", metavar="QUERY", help="ask the server, gadgetron::version for instance")
    other.add_argument("-q", "--query", action="store_true", help="ask which earlier measurements the server has")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    add_compression_options(parser)
    parser.add_argument("-l", "--loops", type=float, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the client; the exit status is as its help says."""
    parser = make_parser()
    options = parser.parse_args(argv)
    complaint = check_compression_options(options)
    if complaint:
        parser.error(complaint)
    has_configuration = options.config is not None or options.config_local is not None
    asks = options.info is not None or options.query or (options.filename is None and has_configuration)
    if options.protocol != "classic" and asks:
        parser.error("only the classic protocol has queries, without a scan (-f FILE): leave --protocol out")
    if options.filename is None and not asks:
        parser.error("nothing to do: give a scan (-f FILE), or ask something (-Q, -q, or -c with what takes no data)")
    try:
        with _terminated_like_interrupted():
            return _run(options)
    except RemoteError as error:
        text = printable(str(error)).removeprefix("ERROR ")
        _complain(f"the reconstruction failed — {options.address}:{options.port} says: {text}")
    except GadgetronError as error:
        _complain(printable(str(error)))
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    return EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    if options.info is not None:
        return _ask(options)
    if options.query or options.filename is None:
        return _ask_for_dependencies(options)
    return _reconstruct(options)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C does: end the program in order, with its temporary files removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(text: str) -> None:
    print(f"gadgetron_ismrmrd_client: {text}", file=sys.stderr)


def _reconstruct(options: argparse.Namespace) -> int:
    began = monotonic()
    with ScanFile(options.filename, options.in_group) as scan:
        header = scan.header_xml
        script = None if options.config_local is None else read_file(options.config_local, str(options.config_local))
        results = Results(options.outfile or Path("out.h5"), options.out_group, options.outformat)
        try:
            n_sent = _stream(options, scan, header, script, results)
        except BaseException:
            _keep_or_discard(results, keep=options.keep_partial)
            raise
    if not results.counts and n_sent and not options.allow_empty:
        results.discard()
        name = options.config_local or options.config or DEFAULT_CONFIG
        _complain(f"nothing came back: {n_sent} messages were sent through {name} (--allow-empty if that is meant)")
        return EXIT_FAILED
    results.publish()
    where = f" -> {results.place}" if results.n_kept else ""
    print(f"{n_sent} messages sent, {results.summary()} received in {monotonic() - began:.2f} s{where}")
    return EXIT_OK


def _stream(options: argparse.Namespace, scan: ScanFile, header: bytes, script: bytes | None, results: Results) -> int:
    """Send everything, wait for the end; give the number of messages sent."""
    with Progress(scan.n_items, is_verbose=options.verbose) as progress:

        def take(message_id: int, message: MessageBlock) -> None:
            results.take(message_id, message)
            progress.received()

        compressed = compressing_writer(options, header)
        connector = GadgetronConnector(on_message=take, on_text=progress.say, protocol=options.protocol)
        if compressed is not None:
            connector.register_writer(MessageID.ISMRMRD_ACQUISITION, compressed)
        progress.remark(f"connecting to {options.address}:{options.port}")
        with connector.open(options.address, options.port, options.timeout / 1000):
            if script is not None:
                progress.remark(f"sending the configuration {options.config_local}")
                connector.send_gadgetron_configuration_script(script)
            else:
                progress.remark(f"configuration {options.config or DEFAULT_CONFIG}")
                connector.send_gadgetron_configuration_file(options.config or DEFAULT_CONFIG)
            connector.send_gadgetron_parameters(header)
            n_sent = _send_items(connector, scan, progress)
            connector.send_close()
            progress.remark("everything is queued; waiting for the rest of the results")
            connector.wait()
    return n_sent


def _send_items(connector: GadgetronConnector, scan: ScanFile, progress: Progress) -> int:
    n_sent = 0
    batch = []
    n_at_once = 1 if scan.n_images else BATCH_ITEMS  # an image may be large
    for item in scan.items():
        batch.append(item)
        if len(batch) == n_at_once:
            connector.put_many(batch)
            n_sent += len(batch)
            progress.sent(len(batch))
            batch = []
    connector.put_many(batch)
    progress.sent(len(batch))
    return n_sent + len(batch)


def _keep_or_discard(results: Results, *, keep: bool) -> None:
    what, n_kept = results.summary(), results.n_kept
    if keep and n_kept:
        results.publish()
        _complain(f"what came back before the failure ({what}) is in {results.place}")
        return
    results.discard()
    if n_kept:
        _complain(f"what came back before the failure ({what}) was dropped; --keep-partial keeps it")


def _ask(options: argparse.Namespace) -> int:
    connector = GadgetronConnector(on_message=lambda _id, _message: None)
    connector.open(options.address, options.port, options.timeout / 1000)
    try:
        print(printable(connector.query(options.info, QUERY_TIMEOUT_S)))
        connector.close(QUERY_TIMEOUT_S)
    finally:
        connector.abort()
    return EXIT_OK


def _ask_for_dependencies(options: argparse.Namespace) -> int:
    script = None if options.config_local is None else read_file(options.config_local, str(options.config_local))
    config = options.config or (DEFAULT_QUERY_CONFIG if script is None else str(options.config_local))
    timeout_s = options.timeout / 1000
    answer = ask_for_dependencies(options.address, options.port, config, timeout_s, script=script)
    show_dependencies(answer, options.outfile)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
