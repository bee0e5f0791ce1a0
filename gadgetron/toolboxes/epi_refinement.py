"""Refinement of ghost correction from the readouts of an image themselves.

Navigators are measured before the echo train, without blips and at the gradients' beginning, so what they say of odd
and even readouts is not quite true of the image. What is left is small, and linear along x; the readouts show it.

A window of neighbouring lines, all coils of it, has correlations that come from the coils and from where the object is.
They are the same for windows that begin with a forward readout and for ones that begin with a reversed one, but for
the phase that is looked for: the right phase makes the windows of both kinds fit into one small space. How small it is
tells the determinant of their covariance. Its logarithm is also what a Gaussian model would minimise, so its curvature
says how well the phase is known. Lines may be several steps apart, as in accelerated and multi-shot scans, as long as
coils or empty space around the object leave a space that is not filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.epi_navigators import GhostCorrection

__all__ = ["polarity_residual", "refine_ghost_correction"]

WINDOW: Final = 5
"""Lines in a window."""
MAX_COILS: Final = 6
"""Combinations of coils that are looked at, those with most signal."""
BLOCK: Final = 8
"""Pixels along x that share a covariance."""
MIN_LINES: Final = 4 * WINDOW
NOISE_LEVELS: Final = (1e-1, 1e-2, 1e-3)
"""Noise power that is assumed at least, relative to the signal power of the brightest block. With much of it a minimum
is wide, and found from afar; the last is the one that counts."""
MIN_GAIN: Final = 8.0
"""Log-likelihood that a refinement must win to count; from twice of it, it counts in full. Noise wins 1 on average.
Undistorted scans of phantoms gave up to 7, because no object is really Gaussian, one of a head 40 with 0.007 rad."""
MIN_SHARPNESS: Final = 5.0
"""Curvature for each independent sample that is needed; from twice of it, the refinement counts in full. Where windows
fill all their space, as with one coil and twofold undersampling, it is near zero, and the optimum means nothing."""
MAX_PHASE: Final = 1.0
"""Navigators are not that wrong [rad]."""
MAX_STEP: Final = 0.3
MIN_CURVATURE = 1e-9  # of the largest one: below it the readouts do not tell a parameter
MAX_ITERATIONS: Final = 20
TOLERANCE: Final = 1e-5


@quiet
def refine_ghost_correction(
    readouts: NDArray[np.complex64], *, starts_reversed: bool, corrections: Sequence[GhostCorrection]
) -> GhostCorrection:
    """Choose the correction that suits an echo train best, and add the phase that navigators did not show.

    Parameters
    ----------
    readouts
        Images along x of one echo train, not corrected, shape (echoes, coils, pixels), of alternating polarity, and
        equally far from each other in k-space. Windows with one that is not finite are left out.
    starts_reversed
        Whether the first of them runs from positive to negative k.
    corrections
        What navigators gave, at least one. Among equally good ones the first is chosen.

    Returns
    -------
        One of them, or one of them with a phase added to `polarity` that is linear in x. The first as it is, where the
        readouts do not tell.

    Notes
    -----
    Deterministic. Cost: for each correction a pass over the readouts, and about ten determinants for 8 pixels.

    References
    ----------
    Peterson E et al., Proc. ISMRM 23:75 (2015), find the phase by the rank of neighbourhoods in k-space; McKay JA et
    al., MRM 81:2624 (2019), compare that with entropy and with the ratio of ghost and object.
    """
    first = corrections[0]
    finite = np.isfinite(readouts).all(axis=(1, 2))
    if finite.sum() < MIN_LINES or readouts.shape[2] < BLOCK:
        return first
    basis = _strongest_coils(readouts[finite])
    best, lowest = first, np.inf
    for correction in corrections:
        lines = _corrected(readouts, correction, starts_reversed=starts_reversed)
        found = polarity_residual(np.einsum("ecx,dc->edx", lines, basis), starts_reversed=starts_reversed)
        if found is not None and found.cost < lowest:
            best, lowest = replace(correction, polarity=correction.polarity + found.phase), found.cost
    return best


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left between forward and reversed readouts.

    Attributes
    ----------
    phase
        Phase of readouts that are not reversed minus that of reversed ones, shape (pixels,) [rad].
    cost
        Negative log-likelihood with that phase taken out, up to a constant.
    """

    phase: NDArray[np.float64]
    cost: float


@quiet
def polarity_residual(lines: NDArray[np.complex128], *, starts_reversed: bool) -> Residual | None:
    """Find the phase, linear in x, by which forward and reversed readouts still differ.

    Parameters
    ----------
    lines
        Images along x of an echo train, shape (echoes, coils, pixels), at least as many echoes as a window has.
    starts_reversed
        Whether the first of them runs from positive to negative k.

    Returns
    -------
        The phase; nearer to zero where the readouts do not tell it well, None where they do not tell it at all.
    """
    covariances = _Covariances.of(lines)
    if covariances is None:
        return None
    n_pixels = lines.shape[2]
    x = np.linspace(-0.5, 0.5, n_pixels)
    centers = np.array([x[block].mean() for block in _blocks(n_pixels)])
    design = np.stack([np.ones_like(centers), centers])
    before, _, _ = covariances.cost(np.zeros_like(centers), NOISE_LEVELS[-1])
    for levels in (NOISE_LEVELS, NOISE_LEVELS[-1:]):
        parameters = _minimum(covariances, design, levels)
        cost, _, curvature = covariances.cost(parameters @ design, NOISE_LEVELS[-1])
        if cost < before:
            break
    is_sharp = _ramp(curvature.sum() / covariances.n_samples / MIN_SHARPNESS)
    if not is_sharp > 0 or np.abs(parameters @ design).max() > MAX_PHASE:
        return None
    parameters = is_sharp * _ramp((before - cost) / MIN_GAIN) * parameters
    cost, _, _ = covariances.cost(parameters @ design, NOISE_LEVELS[-1])
    phase = parameters[0] + parameters[1] * x
    return Residual(-phase if starts_reversed else phase, cost)


def _minimum(
    covariances: _Covariances, design: NDArray[np.float64], noise_levels: tuple[float, ...]
) -> NDArray[np.float64]:
    """Go down from zero by Newton's method, as far as the cost is convex, with less and less noise."""
    parameters = np.zeros(len(design))
    for noise in noise_levels:
        for _ in range(MAX_ITERATIONS):
            _, slope, curvature = covariances.cost(parameters @ design, noise)
            hessian = (design * curvature) @ design.T
            curvatures = np.linalg.eigvalsh(hessian)
            if curvatures[0] <= MIN_CURVATURE * curvatures[-1]:
                break
            step = -np.linalg.solve(hessian, design @ slope)
            step *= min(1.0, MAX_STEP / max(float(np.abs(step @ design).max()), TOLERANCE))
            parameters = parameters + step
            if np.abs(step).max() < TOLERANCE:
                break
    return parameters


def _ramp(value: float) -> float:
    """Give 0 up to 1, and 1 from 2."""
    return float(np.clip(value - 1.0, 0.0, 1.0))


def _blocks(n_pixels: int) -> list[slice]:
    """Divide x into blocks; a rest belongs to the last."""
    edges = [*range(0, n_pixels - BLOCK + 1, BLOCK), n_pixels]
    return [slice(*pair) for pair in pairwise(edges)]


def _strongest_coils(readouts: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """Give the combinations of coils with most signal, shape (combinations, coils)."""
    flat = readouts.transpose(1, 0, 2).reshape(readouts.shape[1], -1).astype(np.complex128)
    vectors = np.linalg.eigh(flat @ flat.conj().T)[1]
    return np.asarray(vectors[:, : -MAX_COILS - 1 : -1].conj().T)


def _corrected(
    readouts: NDArray[np.complex64], correction: GhostCorrection, *, starts_reversed: bool
) -> NDArray[np.complex128]:
    """Make readouts alike. The growth from echo to echo only moves the object along y, and is left in."""
    alike = replace(correction, per_echo=np.zeros_like(correction.per_echo))
    lines = readouts.astype(np.complex128)
    lines[0::2] *= alike.factors(0, is_reverse=starts_reversed)
    lines[1::2] *= alike.factors(0, is_reverse=not starts_reversed)
    return lines


@dataclass(frozen=True, slots=True)
class _Covariances:
    """Covariances of windows that begin with an even and with an odd echo, for each block of pixels.

    Attributes
    ----------
    even, odd
        Shape (blocks, window * coils, window * coils).
    is_odd
        0 and 1 for the parity of a line in a window that begins with an even echo, shape (window * coils,).
    n_samples
        Number of independent samples behind all of them.
    weights
        The same for each block, shape (blocks,).
    power
        Signal in the brightest block, mean over the diagonal.
    """

    even: NDArray[np.complex128]
    odd: NDArray[np.complex128]
    is_odd: NDArray[np.float64]
    n_samples: float
    weights: NDArray[np.float64]
    power: float

    @classmethod
    def of(cls, lines: NDArray[np.complex128]) -> _Covariances | None:
        """Sum over the windows of an echo train, those that are finite; None if it is black."""
        n_lines, n_coils, n_pixels = lines.shape
        starts = np.arange(n_lines - WINDOW + 1)
        blocks = _blocks(n_pixels)
        finite = np.asarray(np.isfinite(lines).all(axis=(1, 2)))
        starts = starts[np.all([finite[starts + offset] for offset in range(WINDOW)], axis=0)]
        n_windows = len(starts)
        windows = np.stack([lines[starts + offset] for offset in range(WINDOW)], axis=1)
        grams = np.empty((2, len(blocks), WINDOW * n_coils, WINDOW * n_coils), np.complex128)
        for parity in (0, 1):
            flat = windows[starts % 2 == parity].reshape(-1, WINDOW * n_coils, n_pixels)
            for number, block in enumerate(blocks):
                rows = flat[:, :, block].transpose(1, 0, 2).reshape(WINDOW * n_coils, -1)
                grams[parity, number] = rows @ rows.conj().T
        power = float(np.trace(grams.sum(axis=0), axis1=1, axis2=2).real.max()) / (WINDOW * n_coils)
        if not power > 0:
            return None
        widths = np.array([block.stop - block.start for block in blocks])
        weights = widths * (n_windows / WINDOW)
        is_odd = np.repeat(np.arange(WINDOW) % 2, n_coils).astype(np.float64)
        return cls(grams[0], grams[1], is_odd, float(weights.sum()), weights, power)

    def cost(self, phases: NDArray[np.float64], noise: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Give the negative log-likelihood if odd echoes are multiplied by exp(i phase), shape (blocks,).

        Returns
        -------
            The sum over the blocks, and for each block its first and second derivative with respect to its phase.
        """
        lag = self.is_odd[:, np.newaxis] - self.is_odd
        turn = np.exp(1j * phases[:, np.newaxis, np.newaxis] * lag)
        even, odd = self.even * turn, self.odd * turn.conj()
        total = even + odd
        total += noise * self.power * np.eye(total.shape[1])
        inverse = np.linalg.inv(total)
        first = inverse @ (1j * lag * (even - odd))
        second = inverse @ (-(lag**2) * total)
        slope = np.trace(first, axis1=1, axis2=2).real
        curvature = np.trace(second - first @ first, axis1=1, axis2=2).real
        cost = float(self.weights @ np.linalg.slogdet(total)[1])
        return cost, self.weights * slope, self.weights * curvature
