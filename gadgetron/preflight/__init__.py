"""The pre-flight check: what would go wrong if a scan were sent through a configuration, in words, before it is.

`check_scan` looks at the header, at the headers of all readouts, and at the samples of the first ones. Nothing is
reconstructed. What the chain needs is read from the classes in it and their properties.
"""

from __future__ import annotations

from gadgetron.configuration.validate import ValidationReport
from gadgetron.preflight.calibration import check_calibration
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.echo_planar import check_echo_planar
from gadgetron.preflight.images import check_images
from gadgetron.preflight.noise import check_noise
from gadgetron.preflight.placement import check_placement
from gadgetron.preflight.readouts import check_readouts
from gadgetron.preflight.samples import check_samples
from gadgetron.preflight.scan import Scan, load_scan

__all__ = ["Chain", "Scan", "check_scan", "load_scan"]

CHECKS = (
    check_readouts,
    check_noise,
    check_placement,
    check_calibration,
    check_echo_planar,
    check_samples,
)


def check_scan(chain: Chain, scan: Scan) -> ValidationReport:
    """Say what would go wrong with a scan in a chain.

    Returns
    -------
        Errors: the session would fail, or send nothing. Warnings: images would be wrong, or not what is meant. Notices:
        what is good to know.
    """
    report = ValidationReport()
    for check in (check_images,) if scan.n_images else CHECKS:
        check(chain, scan, report)
    return report
