"""Whether a chain can take images."""

from __future__ import annotations

from gadgetron.configuration.validate import ValidationReport
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan

IMAGE_ID = 1022


def check_images(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check that images have a reader, and gadgets that take them."""
    if scan.n_images and chain.slots is not None and IMAGE_ID not in chain.slots:
        report.errors.append(
            f"{scan.n_images} images and no readouts, but the configuration has no reader for images (slot {IMAGE_ID})"
        )
    for name in scan.image_types:
        passed = chain.passes_images(name)
        if passed:
            report.warnings.append(f"images are {name}: {', '.join(passed)} takes others, and passes them on unchanged")
