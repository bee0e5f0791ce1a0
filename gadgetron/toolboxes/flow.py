"""Images with flow encoding: phase differences, and phases that concomitant (Maxwell) gradient fields leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = ["PATIENT_TO_SCANNER", "maxwell_phase", "phase_difference"]

MM_PER_M: Final = 1000.0

PATIENT_TO_SCANNER: Final[dict[str, NDArray[np.float64]]] = {
    name: np.array(rows, np.float64)
    for name, rows in {
        "HFS": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
        "FFS": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
        "HFP": [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
        "FFP": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "HFDL": [[0, -1, 0], [-1, 0, 0], [0, 0, -1]],
        "FFDL": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
        "HFDR": [[0, 1, 0], [1, 0, 0], [0, 0, -1]],
        "FFDR": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    }.items()
}
"""From patient coordinates to the scanner's, for each way in which a patient can lie."""


@quiet
def phase_difference(reference: NDArray[np.complex64], image: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Give the mean of two images' magnitudes with the difference of their phases.

    Parameters
    ----------
    reference, image
        Of one shape, complex64.

    Returns
    -------
        A new array: its phase is the image's minus the reference's; where either is zero, what is left of the other's.
    """
    phasor = image * reference.conj()
    norm = np.abs(phasor)
    alone = np.angle(image) - np.angle(reference)
    direction = np.where(norm > 0, phasor / np.where(norm > 0, norm, 1), np.exp(1j * alone))
    return np.asarray(0.5 * (np.abs(reference) + np.abs(image)) * direction, np.complex64)


def maxwell_phase(
    shape: tuple[int, int, int],
    field_of_view: Sequence[float],
    position: NDArray[np.float64],
    directions: NDArray[np.float64],
    coefficients: Sequence[float],
) -> NDArray[np.float64]:
    """Find the phase of each pixel.

    Parameters
    ----------
    shape
        Pixels along (z, y, x).
    field_of_view
        Edge lengths of the image along (x, y, z) [mm].
    position
        Middle of the image in the scanner's coordinates (x, y, z), shape (3,) [mm].
    directions
        Unit vectors along x, y and z of the image in the scanner's coordinates, one in each row, shape (3, 3).
    coefficients
        Of z², x² + y², xz and yz [1/m²].

    Returns
    -------
        Shape (z, y, x) [rad]: 2π (c₀ z² + c₁ (x² + y²) + c₂ xz + c₃ yz) with places in metres.
    """
    places: NDArray[np.float64] = position.reshape(3, 1, 1, 1)
    for axis, (n, extent, direction) in enumerate(zip(shape[::-1], field_of_view, directions, strict=True)):
        if axis == 2 and n == 1:
            continue
        steps = (np.arange(n) - n // 2 + 0.5) * (extent / n)
        along = [1, 1, 1]
        along[2 - axis] = n
        places = places + direction.reshape(3, 1, 1, 1) * steps.reshape(1, *along)
    x, y, z = places / MM_PER_M
    c0, c1, c2, c3 = coefficients
    phase = 2 * np.pi * (c0 * z * z + c1 * (x * x + y * y) + c2 * x * z + c3 * y * z)
    return np.asarray(np.broadcast_to(phase, shape))
