"""Whether lines find their place in k-space: limits, matrices, centers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gadgetron.configuration.validate import ValidationReport
from gadgetron.header import Encoding, Limit
from gadgetron.parallel_imaging import acceleration_of
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan
from gadgetron.toolboxes.kspace import Received, usable_center

COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set", "segment")
STEPS: tuple[tuple[str, str, Literal[1, 2]], ...] = (
    ("kspace_encode_step_1", "kspace_encoding_step_1", 1),
    ("kspace_encode_step_2", "kspace_encoding_step_2", 2),
)


def check_placement(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Compare what the header says of the lines with those that are there."""
    for number, encoding, used in scan.encodings():
        lines = used & scan.is_imaging
        if not encoding.is_cartesian or not lines.any():
            continue
        for counter, name, axis in STEPS:
            limit = getattr(encoding.encodingLimits, name)
            steps = scan.counter(counter)[lines]
            _check_steps(number, encoding, axis, name, limit, steps, report)
            if usable_center(encoding, axis, Received(int(steps.min()), int(steps.max()))) is not None:
                _tell_center(chain, number, encoding, axis, report)
        _check_missing(number, encoding, scan, lines, report)
        _check_center_sample(number, scan, lines, report)
        if not chain.has("RemoveROOversamplingGadget", "EPIReconXGadget", "CropAndCombineGadget"):
            ratio = encoding.encodedSpace.fieldOfView_mm.x / max(encoding.reconSpace.fieldOfView_mm.x, 1e-9)
            if ratio > 1.01 and chain.is_cartesian:
                report.notices.append(
                    f"encoding {number} is oversampled {ratio:.3g} times along x, and nothing in the chain removes it"
                )
    _check_counters(scan, report)


def _check_steps(
    number: int,
    encoding: Encoding,
    axis: Literal[1, 2],
    name: str,
    limit: Limit | None,
    steps: NDArray[np.int64],
    report: ValidationReport,
) -> None:
    size = encoding.encodedSpace.matrixSize
    matrix = size.y if axis == 1 else size.z
    where = f"encoding {number}, {name}"
    low, high = int(steps.min()), int(steps.max())
    if limit is None:
        if high >= matrix:
            report.errors.append(f"{where}: lines up to {high}, and the encoded matrix has {matrix}")
        elif matrix > 1:
            report.notices.append(f"{where} has no limits: k-space center is taken for {matrix // 2}")
        return
    if low < limit.minimum or high > limit.maximum:
        report.errors.append(
            f"{where}: lines {low} to {high}, and the limits are {limit.minimum} to {limit.maximum}: "
            f"those beyond are refused"
        )
    if not limit.minimum <= limit.center <= limit.maximum:
        report.warnings.append(f"{where}: center {limit.center} is not in the limits")
    elif low <= limit.center <= high and limit.center not in set(steps.tolist()) and matrix > 1:
        report.warnings.append(f"{where}: the line at k-space center ({limit.center}) is not there")
    elif not low <= limit.center <= high:
        report.warnings.append(
            f"{where}: k-space center ({limit.center}) is beyond the lines that are there, {low} to {high}"
        )
    offset = matrix // 2 - limit.center
    has_room = low + offset >= 0 and high + offset < max(matrix, limit.size)
    if matrix > 1 and not has_room and usable_center(encoding, axis, Received(low, high)) is None:
        report.warnings.append(
            f"{where}: with center {limit.center} in the middle, lines {low} to {high} do not fit the "
            f"matrix of {matrix}"
        )


def _tell_center(chain: Chain, number: int, encoding: Encoding, axis: int, report: ValidationReport) -> None:
    """Say what becomes of lines that the header's center would move out of the matrix."""
    limit: Any = getattr(encoding.encodingLimits, f"kspace_encoding_step_{axis}")
    size = encoding.encodedSpace.matrixSize
    matrix = size.y if axis == 1 else size.z
    where = f"encoding {number}, kspace_encoding_step_{axis}"
    told = f"{where}: with center {limit.center} in the middle, lines do not fit the matrix of {matrix}"
    if chain.has("BucketToBufferGadget"):
        report.warnings.append(f"{told}: the center is taken for {matrix // 2}")
    else:
        report.errors.append(f"{told}: those beyond are refused")


def _check_missing(
    number: int, encoding: Encoding, scan: Scan, lines: NDArray[np.bool_], report: ValidationReport
) -> None:
    """Compare the number of lines of the first image with what the header lets one expect."""
    limit = encoding.encodingLimits.kspace_encoding_step_1
    if limit is None:
        return
    heads: Any = scan.heads
    keys = np.stack([scan.counter(name) for name in COUNTERS[:-1]], axis=1)
    first = keys[np.flatnonzero(lines)[0]]
    mine = lines & (keys == first).all(axis=1)
    acceleration = acceleration_of(encoding)
    partitions = scan.counter("kspace_encode_step_2")
    mine &= partitions == partitions[np.flatnonzero(mine)[0]]
    steps = np.unique(scan.counter("kspace_encode_step_1")[mine])
    expected = max(1, limit.size // acceleration.e1)
    if len(steps) >= expected or len(np.unique(partitions[lines])) > 1:
        return
    gaps = np.diff(steps)
    usual = int(np.median(gaps)) if gaps.size else 1
    if usual > acceleration.e1:
        report.warnings.append(
            f"encoding {number}: every {usual}. line was measured, and the header says an acceleration of "
            f"{acceleration.e1}"
        )
    else:
        report.warnings.append(
            f"encoding {number}: {len(steps)} lines of the first image are there, {expected} are expected "
            f"of {len(heads)} readouts: what is missing is taken for zero"
        )


def _check_center_sample(number: int, scan: Scan, lines: NDArray[np.bool_], report: ValidationReport) -> None:
    heads: Any = scan.heads
    samples = np.asarray(heads["number_of_samples"], np.int64)[lines]
    centers = np.asarray(heads["center_sample"], np.int64)[lines]
    discarded = np.asarray(heads["discard_pre"], np.int64)[lines] + heads["discard_post"][lines]
    if (discarded >= samples).any():
        report.errors.append(f"encoding {number}: discard_pre and discard_post leave nothing of a readout")
    beyond = int((centers >= samples).sum())
    if beyond:
        report.warnings.append(
            f"encoding {number}: center_sample of {beyond} readouts is beyond their end: taken for the middle"
        )


def _check_counters(scan: Scan, report: ValidationReport) -> None:
    """Compare slices, repetitions and their kin with their limits."""
    lines = scan.is_imaging
    if not lines.any():
        return
    limits = scan.header.encoding[0].encodingLimits
    for name in COUNTERS:
        limit: Limit | None = getattr(limits, name)
        values = np.unique(scan.counter(name)[lines])
        if limit is None:
            continue
        if int(values[-1]) > limit.maximum:
            report.warnings.append(f"{name}: up to {values[-1]}, and the limit is {limit.maximum}")
        elif len(values) < limit.size and name != "segment":
            report.notices.append(f"{name}: {len(values)} of {limit.size} are there")
