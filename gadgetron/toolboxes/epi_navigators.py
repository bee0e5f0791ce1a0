"""Ghost correction of echo planar imaging: phases found from navigators, readouts without phase encoding.

Odd and even readouts differ by a phase that varies along x (gradient delays, eddy currents), and the phase of the
whole object grows from echo to echo (frequency offset). Both would put a ghost into the image, half a field of view
away. Three or more navigators of alternating polarity show both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = [
    "GhostCorrection",
    "OffsetMode",
    "ParameterFilter",
    "PolarityMode",
    "Smoother",
    "find_ghost_correction",
    "unchanged",
]

OffsetMode = Literal["none", "mean", "linear"]
PolarityMode = Literal["none", "mean", "linear", "polynomial"]
Smoother = Callable[[str, float, bool], float]
"""Replaces an estimate by a smoother one: takes its name, its value, and whether it is an angle that may wrap."""

POLYNOMIAL_ORDER: Final = 4


@dataclass(frozen=True, slots=True)
class GhostCorrection:
    """Phases that make all readouts of a shot alike.

    Attributes
    ----------
    per_echo
        What the phase grows by from one readout to the next, shape (pixels,) [rad].
    polarity
        Phase of readouts that are not reversed minus that of reversed ones, shape (pixels,) [rad].
    coils
        What each coil has beyond `polarity`: logarithm of readouts that are not reversed over reversed ones, shape
        (coils, pixels), the imaginary part a phase, the real part a magnitude. None if coils are treated alike.
    """

    per_echo: NDArray[np.float64]
    polarity: NDArray[np.float64]
    coils: NDArray[np.complex128] | None = None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether readouts of this shape, (coils, pixels), can be corrected."""
        return self.polarity.shape == shape[1:] and (self.coils is None or self.coils.shape == shape)

    def factors(self, echo: int, *, is_reverse: bool) -> NDArray[np.complex64]:
        """Give what to multiply a readout's image by, shape (pixels,), or (coils, pixels) if coils differ.

        Parameters
        ----------
        echo
            Number of the readout in its shot, from 0; that one keeps its phase.
        is_reverse
            Whether it runs from positive to negative k.
        """
        half = 0.5 if is_reverse else -0.5
        exponent = 1j * (half * self.polarity - echo * self.per_echo)
        if self.coils is not None:
            exponent = exponent + half * self.coils
        return np.asarray(np.exp(exponent), np.complex64)


def unchanged(_name: str, value: float, _is_angle: bool) -> float:
    """Smooth nothing."""
    return value


@quiet
def find_ghost_correction(
    navigators: NDArray[np.complex64],
    *,
    starts_reversed: bool,
    offset_mode: OffsetMode = "mean",
    polarity_mode: PolarityMode = "polynomial",
    smooth: Smoother = unchanged,
) -> GhostCorrection:
    """Find the correction from the navigators of a shot.

    Parameters
    ----------
    navigators
        Images along x, shape (navigators, coils, pixels), at least two, of alternating polarity.
    starts_reversed
        Whether the first of them runs from positive to negative k.
    offset_mode
        How the growth from echo to echo is modelled: not at all, the same for all x, or linear in x. Needs three
        navigators; with two there is none.
    polarity_mode
        How the difference between odd and even readouts is modelled: not at all, constant, linear in x, or a
        polynomial of 4th order.
    smooth
        Called with each estimate as it is found; what it returns is used.

    Returns
    -------
        The correction.

    Raises
    ------
    ValueError
        If there are fewer than two navigators.
    """
    n_navigators, _, n_pixels = navigators.shape
    if n_navigators < 2:
        raise ValueError(f"{n_navigators} navigator(s): two at least are needed, three to see the phase grow")
    x = np.linspace(-0.5, 0.5, n_pixels)
    per_echo = np.zeros(n_pixels)
    if offset_mode != "none" and n_navigators > 2:
        growth = (navigators[:-2].conj() * navigators[2:]).sum(axis=(0, 1), dtype=np.complex128)
        slope, intercept = _fit_line(growth, x, "offset", smooth, has_slope=offset_mode == "linear")
        per_echo = 0.5 * (slope * x + intercept)  # every other navigator was compared
    polarity = np.zeros(n_pixels)
    if polarity_mode != "none":
        difference = _polarity_difference(navigators, per_echo)
        slope, intercept = _fit_line(difference, x, "polarity", smooth, has_slope=polarity_mode != "mean")
        polarity = slope * x + intercept
        if polarity_mode == "polynomial":
            residual = np.angle(difference * np.exp(-1j * polarity))
            polarity = polarity + _fit_polynomial(residual, _weights(navigators), x, smooth)
        if not starts_reversed:
            polarity = -polarity
    return GhostCorrection(per_echo, polarity)


def _polarity_difference(navigators: NDArray[np.complex64], per_echo: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Compare every second navigator with the mean of its neighbours, as they would be at its time."""
    growth = np.exp(1j * per_echo)
    if len(navigators) == 2:
        difference = navigators[0].conj() * navigators[1]
        return np.asarray(difference.sum(axis=0), np.complex128)
    total = np.zeros(navigators.shape[2], np.complex128)
    for first in range(0, len(navigators) - 2, 2):
        before, here, after = navigators[first : first + 3]
        total += ((before * growth + after / growth).conj() * here).sum(axis=0)
    return total


def _fit_line(
    phasors: NDArray[np.complex128], x: NDArray[np.float64], name: str, smooth: Smoother, *, has_slope: bool
) -> tuple[float, float]:
    """Fit phase = slope x + intercept, weighted with magnitude, blind to wraps."""
    slope = 0.0
    if has_slope and len(x) > 1:
        slope = (len(x) - 1) * float(np.angle(np.vdot(phasors[:-1], phasors[1:])))
        slope = smooth(f"{name}.slope", slope, False)
        phasors = phasors * np.exp(-1j * slope * x)
    intercept = float(np.angle(phasors.sum()))
    return slope, smooth(f"{name}.intercept", intercept, True)


def _weights(navigators: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Give the mean magnitude of the navigators of the first one's polarity."""
    n_pairs = max(1, (len(navigators) - 1) // 2)
    magnitudes = np.sqrt((np.abs(navigators[0::2]) ** 2).sum(axis=1, dtype=np.float64))
    ends = magnitudes[: n_pairs + 1]
    return np.asarray(0.5 * (ends[:-1] + ends[1:]).sum(axis=0) if len(ends) > 1 else ends[0])


def _fit_polynomial(
    phase: NDArray[np.float64], weights: NDArray[np.float64], x: NDArray[np.float64], smooth: Smoother
) -> NDArray[np.float64]:
    powers = x[:, np.newaxis] ** np.arange(POLYNOMIAL_ORDER + 1)
    if not (np.isfinite(weights).all() and np.isfinite(phase).all()):
        return np.zeros_like(x)
    coefficients = np.linalg.lstsq(weights[:, np.newaxis] * powers, weights * phase, rcond=None)[0]
    smoothed = [smooth(f"polarity.x{order}", float(value), False) for order, value in enumerate(coefficients)]
    return np.asarray(powers @ np.array(smoothed))


@dataclass(slots=True)
class ParameterFilter:
    """Smooths estimates over the last excitations of one slice: the end of a weighted line fitted to them.

    Attributes
    ----------
    length
        Number of excitations that the line is fitted to.
    n_excluded
        Number of excitations at the beginning that are neither changed nor used.
    """

    length: int
    n_excluded: int = 0
    _n_before: int = -1
    _weights: deque[float] = field(default_factory=deque)
    _values: dict[str, deque[float]] = field(default_factory=dict)

    def begin(self, weight: float) -> None:
        """Begin an excitation: its estimates will count with this weight, the navigator's magnitude."""
        self._n_before += 1
        if self._n_before >= self.n_excluded:
            self._weights.appendleft(weight)
        while len(self._weights) > self.length:
            self._weights.pop()

    def __call__(self, name: str, value: float, is_angle: bool) -> float:
        """Take an estimate of this excitation, and give the smoothed one."""
        if self._n_before < self.n_excluded:
            return value
        values = self._values.setdefault(name, deque(maxlen=self.length))
        values.appendleft(value)
        weights = np.array(self._weights)[: len(values)]
        if len(values) < 2 or not weights.any():
            return value
        samples = np.exp(1j * np.array(values)) if is_angle else np.array(values)
        design = weights[:, np.newaxis] * np.stack([np.ones(len(values)), np.arange(len(values))], axis=1)
        newest = np.linalg.lstsq(design, weights * samples, rcond=None)[0][0]
        return float(np.angle(newest)) if is_angle else float(newest)
