"""Whether echo planar readouts have what ramp sampling and ghost correction need."""

from __future__ import annotations

import numpy as np

from gadgetron.acquisition import FLAG_REVERSE
from gadgetron.configuration.validate import ValidationReport
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan

IDENTIFIER = "ConventionalEPI"
PARAMETERS = ("rampUpTime", "rampDownTime", "flatTopTime", "dwellTime")
FEWEST_NAVIGATORS = 3


def check_echo_planar(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check the first encoding, which is the one that is corrected."""
    encoding = scan.header.encoding[0]
    has_gridding, has_correction = chain.has("EPIReconXGadget"), chain.has("EPICorrGadget")
    if not has_gridding and not has_correction:
        if encoding.trajectory == "epi" and chain.is_cartesian:
            report.warnings.append(
                "the readouts are echo planar, and the chain neither grids nor corrects them: expect ghosts — epi.xml "
                "would"
            )
        return
    description = encoding.trajectoryDescription
    if description is None or description.identifier != IDENTIFIER:
        found = "no trajectoryDescription" if description is None else f"the trajectory {description.identifier[:64]!r}"
        report.errors.append(f"encoding 0 has {found}: EPIReconXGadget needs {IDENTIFIER}")
        return
    missing = [name for name in PARAMETERS if description.find(name) is None]
    if has_gridding and missing:
        report.warnings.append(f"trajectoryDescription has no {', '.join(missing)}: taken for zero, or as sampled")
    if has_correction:
        _check_navigators(description.find("numberOfNavigators"), scan, report)


def _check_navigators(expected: object, scan: Scan, report: ValidationReport) -> None:
    here = np.asarray(scan.heads["encoding_space_ref"]) == 0
    navigators = scan.is_navigator & here
    is_reverse = scan.flagged(FLAG_REVERSE)
    if not navigators.any():
        report.warnings.append("no navigators (phase correction readouts, flag 24): ghosts will stay in the images")
        return
    if not is_reverse[scan.is_imaging & here].any():
        report.warnings.append("no readout is flagged as reversed (flag 22): all would be gridded in one direction")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], navigators.astype(np.int8), [0]))))
    runs = edges[1::2] - edges[::2]
    usual = int(np.median(runs))
    if isinstance(expected, int) and expected > 0 and usual % expected:
        report.warnings.append(f"{usual} navigators come together, and numberOfNavigators is {expected}")
    if usual < FEWEST_NAVIGATORS:
        report.warnings.append(f"{usual} navigators in a shot: {FEWEST_NAVIGATORS} are needed to see frequency offsets")
    first = int(edges[0])
    if usual > 1 and (is_reverse[first : first + usual - 1] == is_reverse[first + 1 : first + usual]).any():
        report.warnings.append("navigators do not alternate between forward and reversed: they cannot be used")
