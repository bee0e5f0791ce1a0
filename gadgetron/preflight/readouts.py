"""Whether a chain can take the readouts at all: readers, encoding spaces, channels, trajectories, flags, memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gadgetron.configuration.validate import ValidationReport
from gadgetron.limits import LIMITS, MIB
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan

ACQUISITION_ID, WAVEFORM_ID = 1008, 1026
COMPRESSION_FLAGS = 0b1111 << 52
IMAGE_COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")
SLICE_BY_SLICE = ("cpuWeightsCalculator", "GrappaGadget")


def check_readouts(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check what concerns single readouts, and all of them as a stream."""
    if scan.n_readouts == 0:
        report.errors.append("the scan has no readouts")
        return
    if not (scan.is_imaging | scan.is_calibration).any():
        report.warnings.append("no readout is imaging data: they are all noise, navigators, feedback or dummies")
    _check_readers(chain, scan, report)
    _check_spaces(scan, report)
    _check_channels(scan, report)
    _check_sizes(chain, scan, report)
    _check_trajectory(chain, scan, report)
    _check_triggers(chain, scan, report)
    _check_volumes(chain, scan, report)


def _check_readers(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    if chain.slots is None:
        return
    for message_id, name, n in (
        (ACQUISITION_ID, "acquisitions", scan.n_readouts),
        (WAVEFORM_ID, "waveforms", scan.n_waveforms),
    ):
        if n and message_id not in chain.slots:
            report.errors.append(f"{n} {name}, but the configuration has no reader for them (slot {message_id})")
    if scan.flagged(COMPRESSION_FLAGS).any():
        report.errors.append("readouts in the file are flagged as compressed (flags 53 to 56): their flags are wrong")


def _check_spaces(scan: Scan, report: ValidationReport) -> None:
    spaces = np.asarray(scan.heads["encoding_space_ref"])
    n_encodings = len(scan.header.encoding)
    beyond = spaces[~scan.is_noise & (spaces >= n_encodings)]
    if beyond.size:
        report.errors.append(
            f"encoding_space_ref ({int(beyond.max())}) of {beyond.size} readouts: the header has {n_encodings} "
            f"encoding(s)"
        )


def _check_channels(scan: Scan, report: ValidationReport) -> None:
    used = scan.is_imaging | scan.is_calibration
    channels = np.unique(np.asarray(scan.heads["active_channels"])[used])
    if channels.size > 1:
        report.errors.append(f"active_channels changes between readouts: {_some(channels)}")
    if not channels.size:
        return
    system = scan.header.acquisitionSystemInformation
    if system is None:
        return
    if system.receiverChannels is not None and system.receiverChannels != int(channels.max()):
        report.notices.append(
            f"receiverChannels ({system.receiverChannels}) is not the number of channels in the data ({channels.max()})"
        )
    if system.coilLabel and len(system.coilLabel) != int(channels.max()):
        report.warnings.append(
            f"{len(system.coilLabel)} coilLabel(s) for {channels.max()} channels: channels are not found by their names"
        )


def _check_sizes(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    heads = scan.heads
    samples = np.asarray(heads["number_of_samples"], np.int64)
    sizes = samples * (8 * heads["active_channels"].astype(np.int64) + 4 * heads["trajectory_dimensions"])
    if sizes.max() > LIMITS.max_acquisition_bytes:
        report.errors.append(
            f"a readout has {int(sizes.max()) // MIB} MiB, the limit is {LIMITS.max_acquisition_bytes // MIB} MiB"
        )
    for number, _, used in scan.encodings():
        lengths = np.unique(samples[used & scan.is_imaging])
        if lengths.size > 1 and not chain.has("AsymmetricEchoAdjustROGadget"):
            report.warnings.append(
                f"number_of_samples of encoding {number} changes between readouts ({_some(lengths)}), and no "
                f"AsymmetricEchoAdjustROGadget makes them alike"
            )


def _check_trajectory(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    for number, encoding, used in scan.encodings():
        dimensions = np.unique(np.asarray(scan.heads["trajectory_dimensions"])[used])
        if dimensions.size > 1:
            report.errors.append(f"trajectory_dimensions changes between readouts: {_some(dimensions)}")
        if chain.refuses(encoding):
            report.errors.append(
                f"encoding {number} is {encoding.trajectory}, and the chain refuses all but cartesian and epi: it "
                f"takes readouts for lines on a grid, the images would be nonsense"
            )
        elif not encoding.is_cartesian and chain.is_cartesian:
            report.warnings.append(
                f"encoding {number} is {encoding.trajectory}, and the chain puts readouts on a Cartesian grid as they "
                f"come: the images will be nonsense"
            )
        elif not encoding.is_cartesian and len(chain) and not dimensions.any():
            report.notices.append(f"encoding {number} is {encoding.trajectory}, and its readouts have no trajectory")


def _check_triggers(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    used = scan.is_imaging | scan.is_calibration
    dimension = chain.value("AcquisitionAccumulateTriggerGadget", "trigger_dimension")
    if dimension is None or not used.any():
        return
    heads = scan.heads
    sizes = 8 * np.asarray(heads["number_of_samples"], np.int64) * heads["active_channels"]
    names = heads["idx"].dtype.names or ()
    if dimension.startswith("user_"):
        values = np.asarray(heads["idx"]["user"], np.int64)[:, int(dimension.removeprefix("user_"))]
    elif dimension in names:
        values = scan.counter(dimension)
    elif dimension == "n_acquisitions":
        return
    else:
        values = np.zeros(len(heads), np.int64)
    changes = np.flatnonzero(np.diff(values[used]) != 0) + 1
    held = [int(part.sum()) for part in np.split(sizes[used], changes)]
    if max(held) > LIMITS.max_session_bytes:
        report.errors.append(
            f"between two triggers ({dimension or 'none'}) there are {max(held) // MIB} MiB of readouts, the limit is "
            f"{LIMITS.max_session_bytes // MIB} MiB"
        )
    if dimension in IMAGE_COUNTERS:
        _check_pieces(dimension, values, scan, report)


def _check_pieces(dimension: str, values: NDArray[np.int64], scan: Scan, report: ValidationReport) -> None:
    """Look for images whose lines are on both sides of a trigger."""
    lines = scan.is_imaging
    images = np.stack([scan.counter(name)[lines] for name in IMAGE_COUNTERS], axis=1)
    between = np.cumsum(np.diff(values[lines], prepend=values[lines][:1]) != 0)
    pieces = np.unique(np.column_stack([images, between]), axis=0)
    _, n_pieces = np.unique(pieces[:, :-1], axis=0, return_counts=True)
    n_split = int((n_pieces > 1).sum())
    if n_split:
        report.warnings.append(
            f"{n_split} images come in pieces, up to {int(n_pieces.max())}: trigger_dimension {dimension} ends them "
            f"when {dimension} changes, and their lines alternate — with an empty trigger_dimension, as in "
            f"Generic_Cartesian_Grappa.xml and Generic_Cartesian_FFT.xml, they are made when all lines are there"
        )


def _check_volumes(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check for what GRAPPA slice by slice does not take."""
    if not chain.has(*SLICE_BY_SLICE):
        return
    encoding = scan.header.encoding[0]
    n_z = max(encoding.encodedSpace.matrixSize.z, encoding.reconSpace.matrixSize.z)
    if n_z > 1:
        report.errors.append(
            f"matrixSize.z ({n_z}): this chain reconstructs slices, no volumes — Generic_Cartesian_Grappa.xml would"
        )
    if len(scan.header.encoding) > 1:
        report.errors.append(f"{len(scan.header.encoding)} encodings: this chain takes one")


def _some(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    """List values, the first few of them."""
    shown = ", ".join(str(value) for value in values[:4].tolist())
    return f"{shown}, …" if len(values) > 4 else shown
