"""Whether an accelerated scan has what parallel imaging needs, and the chain does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gadgetron.configuration.validate import ValidationReport
from gadgetron.header import Encoding
from gadgetron.parallel_imaging import Acceleration, acceleration_of
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan
from gadgetron.toolboxes.calibration_lines import list_lines, regular_spacing, tell_dense_lines, tell_spacing

FEWEST_LINES = 12  # of calibration: kernels of four lines at an acceleration of two or three
FEWEST_TOGETHER = 7  # lines that a kernel spans at an acceleration of two
SELF_CALIBRATING = ("interleaved",)
REFERENCE_PREP = "GenericReconCartesianReferencePrepGadget"
SLICE_WISE = ("cpuWeightsCalculator", "GrappaGadget")
FITS_LATTICES = ("Grappa", "WeightsCalculator")  # lines that are not on it are taken for others


def check_calibration(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check acceleration, calibration readouts and calibration mode of each encoding."""
    for number, encoding, _ in scan.encodings():
        if encoding.is_cartesian:
            _check_encoding(number, encoding, chain, scan, report)


def _check_encoding(number: int, encoding: Encoding, chain: Chain, scan: Scan, report: ValidationReport) -> None:
    acceleration = acceleration_of(encoding)
    here = np.asarray(scan.heads["encoding_space_ref"]) == number
    calibration = scan.is_calibration & here
    if chain.has_parallel_imaging:
        _check_imaging_lines(number, acceleration, chain, scan, here, report)
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
    channels = np.asarray(scan.heads["active_channels"])[here & (scan.is_imaging | scan.is_calibration)]
    if channels.size and int(channels.max()) == 1:
        report.warnings.append(
            f"encoding {number} is accelerated {factors} times, and there is one coil: parallel imaging needs several, "
            f"images will be aliased"
        )
    mode = encoding.parallelImaging.calibrationMode if encoding.parallelImaging else None
    if mode is None:
        report.warnings.append(f"encoding {number}: calibrationMode is missing in the header: taken for embedded")
    if mode in SELF_CALIBRATING or not scan.is_calibration.any():
        told = f"encoding {number} is accelerated {factors} times"
        if not _lie_together(acceleration, scan, here):
            report.errors.append(
                f"{told}, and no two lines lie side by side in any repetition: nothing can be calibrated"
                if mode in SELF_CALIBRATING
                else f"{told}, no readout is flagged as parallel calibration (flags 20, 21), and no two lines lie side "
                "by side in any repetition: nothing can be calibrated"
            )
        elif mode not in SELF_CALIBRATING:
            report.warnings.append(
                f"{told}, and no readout is flagged as parallel calibration (flags 20, 21): all lines calibrate that "
                "lie side by side, in one repetition or in successive ones"
            )
        return
    source = calibration if calibration.any() else scan.is_calibration
    n_lines = len(np.unique(scan.counter("kspace_encode_step_1")[source]))
    if n_lines < FEWEST_LINES:
        report.warnings.append(
            f"encoding {number}: {n_lines} calibration lines are few, {FEWEST_LINES} or more are usual"
        )
    _check_gaps(number, acceleration, chain, scan, source, report)
    _check_repetitions(number, scan, source, here, report)


def _check_imaging_lines(
    number: int,
    acceleration: Acceleration,
    chain: Chain,
    scan: Scan,
    here: NDArray[np.bool_],
    report: ValidationReport,
) -> None:
    """Compare the lines of the first image with the header, and look for some that should calibrate only."""
    imaging = scan.is_imaging & here
    if not imaging.any():
        return
    first = int(np.argmax(imaging))
    for name in ("slice", "contrast", "phase", "repetition", "set"):
        imaging &= scan.counter(name) == scan.counter(name)[first]
    steps = np.unique(scan.counter("kspace_encode_step_1")[imaging])
    is_volume = len(np.unique(scan.counter("kspace_encode_step_2")[imaging])) > 1
    if (told := tell_dense_lines(steps)) and not is_volume and chain.has_part(FITS_LATTICES):
        report.warnings.append(f"encoding {number}: {told}")
    calibrating = scan.counter("kspace_encode_step_1")[scan.is_calibration & here]
    calibration = (int(calibrating.min()), int(calibrating.max())) if calibrating.size else None
    spacing = regular_spacing(steps, calibration)
    if spacing in (1, acceleration.e1):
        return
    told = f"encoding {number}: {tell_spacing(spacing, acceleration.e1)}"
    if not chain.has(REFERENCE_PREP, *SLICE_WISE):
        report.warnings.append(f"{told}: images will be aliased")
    elif calibration is None and not acceleration.is_accelerated:
        report.warnings.append(f"{told}; without calibration lines images are aliased")
    else:
        report.warnings.append(f"{told}: {spacing} is assumed")


def _lie_together(acceleration: Acceleration, scan: Scan, here: NDArray[np.bool_]) -> bool:
    """Tell whether, over all repetitions, there are neighbours along the accelerated axes."""
    lines = here & (scan.is_imaging | scan.is_calibration)
    axes = (("kspace_encode_step_1", acceleration.e1), ("kspace_encode_step_2", acceleration.e2))
    return all(
        factor == 1 or bool((np.diff(np.unique(scan.counter(counter)[lines])) == 1).any()) for counter, factor in axes
    )


def _check_gaps(
    number: int,
    acceleration: Acceleration,
    chain: Chain,
    scan: Scan,
    source: NDArray[np.bool_],
    report: ValidationReport,
) -> None:
    """Look for lines that are missing between the first and the last that calibrate, in each slice by itself."""
    steps, partitions = scan.counter("kspace_encode_step_1"), scan.counter("kspace_encode_step_2")
    slices = scan.counter("slice")
    is_embedded = acceleration.mode == "embedded"
    for index in np.unique(slices[source]).tolist():
        mine = source & (slices == index)
        values, counts = np.unique(partitions[mine], return_counts=True)
        mine &= partitions == values[np.argmax(counts)]  # the corners of a volume may be left out
        first, last = int(steps[mine].min()), int(steps[mine].max())
        present = set(steps[mine].tolist())
        if is_embedded:
            present |= set(steps[scan.is_imaging & (slices == index)].tolist())
        missing = [step for step in range(first, last + 1) if step not in present]
        if not missing or acceleration.e1 == 1:
            continue
        edges = np.array([first - 1, *missing, last + 1])
        longest = int(np.diff(edges).max()) - 1
        lines = f"calibration lines {list_lines(missing)} of {first} to {last} are missing"
        where = f"encoding {number}, slice {index}: {lines}"
        if longest == 1:
            report.errors.append(f"{where}: no two lie side by side, and nothing can be calibrated")
        elif longest < FEWEST_TOGETHER:
            report.warnings.append(f"{where}: {longest} lie side by side, which is hardly enough to calibrate")
        else:
            report.warnings.append(f"{where}: {_fate_of_gaps(chain, scan, mine, missing)}")
        return


def _fate_of_gaps(chain: Chain, scan: Scan, mine: NDArray[np.bool_], missing: list[int]) -> str:
    """Say what the chain does with calibration lines that are missing."""
    found = "what can be is found from the others"
    if chain.has(REFERENCE_PREP):
        return found
    if not chain.has(*SLICE_WISE):
        return "images may be aliased"
    extra = scan.counter("kspace_encode_step_1")[mine & ~scan.is_imaging]
    if extra.size and extra.min() < missing[0] and missing[-1] < extra.max():
        return found
    return "lines behind a gap, seen from the center of k-space, do not calibrate, and images may be aliased"


def _check_repetitions(
    number: int, scan: Scan, source: NDArray[np.bool_], here: NDArray[np.bool_], report: ValidationReport
) -> None:
    repetitions = scan.counter("repetition")
    calibrated = np.unique(repetitions[source])
    imaged = np.unique(repetitions[scan.is_imaging & here])
    without = np.setdiff1d(imaged, calibrated)
    if without.size and calibrated.size:
        report.notices.append(
            f"encoding {number}: calibration lines in repetition {list_lines(calibrated.tolist())} only: the last one "
            f"serves those that have none, {list_lines(without.tolist())}"
        )
