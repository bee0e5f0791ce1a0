"""GRAPPA of a measured brain, from a part of its lines, against the reconstruction of all of them."""

from __future__ import annotations

import re

import ismrmrd
import numpy as np
import pytest

from gadgetron import make_message, reconstruct
from gadgetron.dataset import ScanFile
from tests.gadgets.support import relative_difference
from tests.integration.test_golden_default import scan_file

pytestmark = pytest.mark.slow

CONFIGURATION = "Generic_Cartesian_Grappa_Complex.xml"
FULL = "siemens_cimax_brain_flash_16ch_full"
HALF = "siemens_cimax_brain_flash_16ch_R2_acs24"
PARALLEL_IMAGING = re.compile(rb"<parallelImaging>.*</parallelImaging>", re.DOTALL)


def undersampled(acceleration: int, n_reference: int):
    """Leave lines out of the full scan, as the file of the twofold undersampled one has been made."""
    with ScanFile(scan_file(FULL)) as scan:
        header, readouts = scan.header_xml, list(scan.acquisitions())
    header = PARALLEL_IMAGING.sub(
        b"<parallelImaging><accelerationFactor><kspace_encoding_step_1>%d</kspace_encoding_step_1>"
        b"<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
        b"<calibrationMode>embedded</calibrationMode></parallelImaging>" % acceleration,
        header,
    )
    center = len(readouts) // 2
    messages = []
    for readout in readouts:
        line = readout.header.idx.kspace_encode_step_1
        is_imaging = line % acceleration == 0
        is_reference = -(n_reference // 2) <= line - center < (n_reference + 1) // 2
        if is_reference:
            flag = (
                ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING if is_imaging else ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
            )
            readout.header.flags |= 1 << (flag - 1)
        if is_imaging or is_reference:
            messages.append(make_message(readout.header, readout.data))
    messages[-1].object.flags |= readouts[-1].header.flags  # the last of the slice, and of the scan
    return header, messages


def magnitude(scan) -> np.ndarray:
    (image,) = reconstruct(scan, CONFIGURATION)
    return np.abs(image.data)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return magnitude(scan_file(FULL))


# Found: 0.030, 0.030, 0.039, 0.060, 0.054. Magnitudes are compared, because the phase that coil maps leave in the image
# is that of the lines they are made of, 24 here and all of them in the full scan.
@pytest.mark.parametrize(
    ("acceleration", "n_reference", "largest"),
    [(2, 0, 0.04), (2, 24, 0.04), (3, 24, 0.06), (4, 24, 0.08), (4, 32, 0.07)],
)
def test_an_undersampled_brain_is_that_of_all_lines(acceleration, n_reference, largest, expected):
    found = magnitude(undersampled(acceleration, n_reference) if n_reference else scan_file(HALF))
    # noise has the same variance in every image: so the fewer lines, the less signal
    factor = np.vdot(found, expected) / np.vdot(found, found)
    assert factor == pytest.approx(np.sqrt(acceleration), rel=0.03)
    assert relative_difference(factor * found, expected) < largest
