"""What the samples of the first readouts show: silence, values that are not finite, and where k-space center is."""

from __future__ import annotations

import numpy as np

from gadgetron.configuration.validate import ValidationReport
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan

FAR = 0.08  # of the matrix: farther from where the header says is no accident
FEWEST_LINES = 16
CLEAR = 4.0  # times the energy of the line that the header calls the center


def check_samples(_chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check the samples that were looked at."""
    n = len(scan.summaries)
    if scan.n_not_finite:
        report.warnings.append(f"{scan.n_not_finite} of {n} readouts have samples that are not finite")
    if scan.n_silent and scan.n_silent == n:
        report.warnings.append("all samples are zero: so will be the images")
    elif scan.n_silent:
        report.notices.append(f"{scan.n_silent} of {n} readouts are all zero")
    for number, encoding, _ in scan.encodings():
        if encoding.is_cartesian:
            _check_center(number, scan, report)


def _check_center(number: int, scan: Scan, report: ValidationReport) -> None:
    """Compare the strongest line, and its strongest sample, with what the header calls the center."""
    encoding = scan.header.encoding[number]
    spaces = np.asarray(scan.heads["encoding_space_ref"])
    mine = [summary for summary in scan.summaries if spaces[summary.index] == number and summary.energy > 0]
    if len(mine) < FEWEST_LINES:
        return
    strongest = max(mine, key=lambda summary: summary.energy)
    head = scan.heads[strongest.index]
    n_samples = int(head["number_of_samples"])
    center = int(head["center_sample"])
    if center < n_samples and abs(strongest.peak_sample - center) > max(2, FAR * n_samples):
        report.warnings.append(
            f"encoding {number}: the echo is at sample {strongest.peak_sample} of {n_samples}, and "
            f"center_sample is {center}"
        )
    size = encoding.encodedSpace.matrixSize
    steps = (
        ("kspace_encode_step_1", "kspace_encoding_step_1", size.y),
        ("kspace_encode_step_2", "kspace_encoding_step_2", size.z),
    )
    for counter, name, matrix in steps:
        limit = getattr(encoding.encodingLimits, name)
        if limit is None or matrix < FEWEST_LINES:
            continue
        found = int(scan.counter(counter)[strongest.index])
        at_center = [s.energy for s in mine if int(scan.counter(counter)[s.index]) == limit.center]
        is_clear = not at_center or strongest.energy > CLEAR * max(at_center)
        if is_clear and abs(found - limit.center) > max(2, FAR * matrix):
            report.warnings.append(
                f"encoding {number}: the strongest line is {found}, and the center of {name} is {limit.center}: "
                f"{abs(found - limit.center)} places apart, one of them is wrong"
            )
