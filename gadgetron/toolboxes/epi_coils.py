"""Differences between coils in ghost correction of echo planar imaging.

A receiver does not treat all frequencies alike, and a reversed readout has left and right at each other's frequencies.
So forward and reversed readouts differ in magnitude, too, and every coil has a phase of its own between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.epi_navigators import GhostCorrection, Smoother, unchanged

__all__ = ["with_coil_differences"]

USUAL_CONSTANT: Final = 0.1
"""By how much coils differ before anything is measured: in phase [rad], and in the logarithm of magnitude."""
USUAL_SLOPE: Final = 0.3
"""By how much the difference varies over the field of view."""


@quiet
def with_coil_differences(
    correction: GhostCorrection,
    navigators: NDArray[np.complex64],
    *,
    starts_reversed: bool,
    smooth: Smoother = unchanged,
) -> GhostCorrection:
    """Add to a correction what each coil has beyond what all have.

    Parameters
    ----------
    correction
        What `find_ghost_correction` gave for all coils together.
    navigators
        Images along x, shape (navigators, coils, pixels), of alternating polarity.
    starts_reversed
        Whether the first of them runs from positive to negative k.
    smooth
        As for `find_ghost_correction`.

    Returns
    -------
        The correction with `coils`. The one given if there are fewer than three navigators, because a signal that
        decays would be taken for a difference in polarity.

    Notes
    -----
    The logarithm of the ratio is fitted by a line in x, weighted with signal power, first for all coils. Each coil's
    own line is held to that one as strongly as it is uncertain: a coil that sees little of the object gets what all
    have.
    """
    n_navigators, n_coils, n_pixels = navigators.shape
    if n_navigators < 3:
        return correction
    lines = np.empty(navigators.shape, np.complex128)
    for number, navigator in enumerate(navigators):
        is_reverse = starts_reversed == (number % 2 == 0)
        lines[number] = navigator * correction.factors(number, is_reverse=is_reverse)
    if not np.isfinite(np.square(np.abs(lines))).all():
        return correction
    even, odd = _at_one_time(lines)
    x = np.linspace(-0.5, 0.5, n_pixels)
    coils = np.empty((n_coils, n_pixels), np.complex128)
    for coil, coefficients in enumerate(_fit_ratios(odd, even, x)):
        parts = [
            smooth(f"coil{coil}.{name}{order}", float(part), False)
            for order, value in enumerate(coefficients)
            for name, part in (("magnitude", value.real), ("phase", value.imag))
        ]
        coils[coil] = complex(*parts[:2]) + complex(*parts[2:]) * x
    return replace(correction, coils=coils if starts_reversed else -coils)


def _at_one_time(lines: NDArray[np.complex128]) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Give the even navigators as they would be at the time of the odd ones, and the odd ones, (coils, pixels)."""
    n_between = (len(lines) - 1) // 2
    before, odd, after = lines[0 : 2 * n_between : 2], lines[1 : 2 * n_between : 2], lines[2 : 2 * n_between + 1 : 2]
    return (0.5 * (before + after)).mean(axis=0), odd.mean(axis=0)


def _fit_ratios(
    above: NDArray[np.complex128], below: NDArray[np.complex128], x: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Fit log(above / below) of each coil by a line, shape (coils, 2); zero where there is no signal."""
    product = above * below.conj()
    has_signal = product != 0
    weights = np.abs(product)
    magnitudes = np.where(has_signal, np.abs(above), 1.0) / np.where(has_signal, np.abs(below), 1.0)
    ratios = np.log(magnitudes) + 1j * np.angle(product)
    design = np.stack([np.ones_like(x), x], axis=1)
    normal = np.einsum("cx,xi,xj->cij", weights, design, design)
    target = np.einsum("cx,cx,xi->ci", weights, ratios, design)
    common = np.linalg.lstsq(normal.sum(axis=0), target.sum(axis=0), rcond=None)[0]
    fits = np.empty((len(above), 2), np.complex128)
    for coil in range(len(above)):
        free = np.linalg.lstsq(normal[coil], target[coil], rcond=None)[0]
        rest = weights[coil] @ np.abs(ratios[coil] - design @ free) ** 2
        held = rest / len(x) * np.diag([USUAL_CONSTANT**-2, USUAL_SLOPE**-2])
        own = target[coil] - normal[coil] @ common
        fits[coil] = common + np.linalg.lstsq(normal[coil] + held, own, rcond=None)[0]
    return fits
