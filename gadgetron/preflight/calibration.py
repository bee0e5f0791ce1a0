"""Whether an accelerated scan has what parallel imaging needs, and the chain does it."""

from __future__ import annotations

import numpy as np

from gadgetron.configuration.validate import ValidationReport
from gadgetron.header import Encoding
from gadgetron.parallel_imaging import acceleration_of
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan

FEWEST_LINES = 12  # of calibration: kernels of four lines at an acceleration of two or three
SELF_CALIBRATING = ("interleaved",)


def check_calibration(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check acceleration, calibration readouts and calibration mode of each encoding."""
    for number, encoding, _ in scan.encodings():
        if encoding.is_cartesian:
            _check_encoding(number, encoding, chain, scan, report)


def _check_encoding(number: int, encoding: Encoding, chain: Chain, scan: Scan, report: ValidationReport) -> None:
    acceleration = acceleration_of(encoding)
    here = np.asarray(scan.heads["encoding_space_ref"]) == number
    calibration = scan.is_calibration & here
    if not acceleration.is_accelerated:
        if calibration.any() and chain.has_parallel_imaging:
            report.notices.append(
                f"encoding {number}: {int(calibration.sum())} calibration readouts, and the header says no acceleration"
            )
        return
    factors = f"{acceleration.e1} × {acceleration.e2}" if acceleration.e2 > 1 else str(acceleration.e1)
    if not chain.has_parallel_imaging:
        if chain.is_cartesian:
            report.warnings.append(
                f"encoding {number} is accelerated {factors} times, and nothing in the chain fills in the lines that "
                f"were left out: images will be aliased — Generic_Cartesian_Grappa.xml would"
            )
        return
    mode = encoding.parallelImaging.calibrationMode if encoding.parallelImaging else None
    if mode is None:
        report.warnings.append(f"encoding {number}: calibrationMode is missing in the header: taken for embedded")
    if mode in SELF_CALIBRATING:
        return
    if not scan.is_calibration.any():
        report.warnings.append(
            f"encoding {number} is accelerated {factors} times, and no readout is flagged as parallel calibration "
            f"(flags 20, 21): the kernel would be computed from lines that have gaps"
        )
        return
    source = calibration if calibration.any() else scan.is_calibration
    n_lines = len(np.unique(scan.counter("kspace_encode_step_1")[source]))
    if n_lines < FEWEST_LINES:
        report.warnings.append(
            f"encoding {number}: {n_lines} calibration lines are few, {FEWEST_LINES} or more are usual"
        )
