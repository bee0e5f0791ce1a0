"""What the client's -P and -T ask for: a writer that compresses readouts, by bits or by a part of their noise."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from xml.sax.saxutils import escape

import ismrmrd

from gadgetron.connector import GadgetronConnector
from gadgetron.errors import ConfigurationError, RemoteError
from gadgetron.header import parse_ismrmrd_header
from gadgetron.loader import Loader
from gadgetron.message import as_container_message
from gadgetron.message_io import GadgetMessageWriter
from gadgetron.noise_storage import dependency_id

_WRITER = "readers_writers.acquisition.GadgetIsmrmrdAcquisitionMessageWriterCompressed"
_ANSWER_TIMEOUT_S = 60.0
_QUESTION = """<?xml version="1.0" encoding="UTF-8"?>
<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">
  <writer><slot>1019</slot><dll>gadgetron_mricore</dll><classname>DependencyQueryWriter</classname></writer>
  <gadget>
    <name>NoiseSummary</name><dll>gadgetron_mricore</dll><classname>NoiseSummaryGadget</classname>
    <property><name>noise_file</name><value>{measurement_id}</value></property>
  </gadget>
</gadgetronStreamConfiguration>
"""


def add_compression_options(parser: argparse.ArgumentParser) -> None:
    """Add the C++ client's options."""
    group = parser.add_argument_group("compression of what is sent (classic protocol)").add_mutually_exclusive_group()
    group.add_argument("-P", "--precision", type=int, default=0, metavar="BITS", help="bits for each number, 2 to 31")
    group.add_argument(
        "-T",
        "--tolerance",
        type=float,
        default=0.0,
        metavar="PART",
        help="largest error, as part of the noise's standard deviation; the server must have the noise scan",
    )
    group.add_argument("-Z", "--ZFP", action="store_true", help=argparse.SUPPRESS)


def check_compression_options(options: argparse.Namespace) -> str | None:
    """Give what is wrong with the options, or None."""
    if options.ZFP:
        return "ZFP compression is not supported: use -P or -T, which compress as NHLBI's clients do"
    if (options.precision or options.tolerance) and options.protocol != "classic":
        return "only the classic protocol has compressed readouts: leave -P and -T out"
    if options.precision and not 2 <= options.precision <= 31:
        return f"-P {options.precision}: 2 to 31 bits expected"
    if options.tolerance and not (math.isfinite(options.tolerance) and options.tolerance > 0):
        return f"-T {options.tolerance:g}: a part of the noise's standard deviation expected, 0.1 for instance"
    return None


def compressing_writer(options: argparse.Namespace, header_xml: bytes) -> GadgetMessageWriter | None:
    """Make the writer that the options ask for; None if they ask for none.

    Raises
    ------
    ConfigurationError
        If a tolerance is asked for, and the scan names no noise scan, or the server does not have it.
    """
    writer = Loader().load_writer("", _WRITER)
    if options.precision:
        return writer(precision_bits=options.precision)  # type: ignore[call-arg]  # the class is known by name only
    if options.tolerance:
        return writer(tolerance=_noise_tolerance(options, header_xml))  # type: ignore[call-arg]
    return None


def _noise_tolerance(
    options: argparse.Namespace, header_xml: bytes
) -> Callable[[ismrmrd.AcquisitionHeader], float | None]:
    """Ask the server for the noise of the scan's dependency, and make the tolerance of each readout of it.

    The noise of a readout is that of the noise scan in its own bandwidth. (The C++ client multiplies by the sampling
    interval in microseconds, too, so that its tolerance is no part of the noise.)
    """
    measurement_id = dependency_id(parse_ismrmrd_header(header_xml))
    if measurement_id is None:
        raise ConfigurationError("-T: the scan's header names no noise scan (measurementDependency) — use -P")
    answer = _ask(options, measurement_id)
    if answer.get("status") != "success":
        raise ConfigurationError(f"-T: the server has no noise of measurement {measurement_id[:128]} — send it first")
    try:
        sigma, noise_dwell_us = float(answer["min_sigma"]), float(answer["noise_dwell_time_us"])
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError("the server's answer has no min_sigma and noise_dwell_time_us") from error

    def tolerance(header: ismrmrd.AcquisitionHeader) -> float | None:
        if not (sigma > 0 and noise_dwell_us > 0 and header.sample_time_us > 0):
            return None
        return float(options.tolerance * sigma * math.sqrt(noise_dwell_us / header.sample_time_us))

    return tolerance


def _ask(options: argparse.Namespace, measurement_id: str) -> ismrmrd.Meta:
    connector = GadgetronConnector().open(options.address, options.port, options.timeout / 1000)
    try:
        connector.send_gadgetron_configuration_script(_QUESTION.format(measurement_id=escape(measurement_id)))
        connector.close(_ANSWER_TIMEOUT_S)
        for _message_id, message in connector:
            answer = as_container_message(message, ismrmrd.Meta)
            if answer is not None:
                return answer.object
    finally:
        connector.abort()
    raise RemoteError(f"{options.address}:{options.port} sent no summary of its noise")
