"""Readouts of echo planar imaging: where their samples lie in k-space, and images of them along the readout.

The readout gradient is a trapezoid, and samples may be taken on its ramps, where k-space passes more slowly. With
`positions` of the samples in units of one over the encoded field of view, a readout y of an object with spectrum s is
y = Q s with Q = sinc(positions - k), k integer; an image of it is x = F Q⁺ y with a discrete Fourier transform F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = [
    "ReadoutRegridder",
    "TrapezoidReadout",
    "even_positions",
    "flat_grid",
    "off_center_phase",
    "profile_roughness",
    "stretched_grid",
]

SMALLEST_SINGULAR_VALUE = 0.01
"""Relative to the largest: smaller ones belong to places that the readout does not see, and would only bring noise."""


@dataclass(frozen=True, slots=True)
class TrapezoidReadout:
    """A readout gradient and the samples taken under it; the middle of the samples is the middle of the gradient.

    Attributes
    ----------
    ramp_up_us, flat_top_us, ramp_down_us
        Durations [µs]. All zero is a gradient that is flat throughout.
    dwell_time_us
        Distance of the samples [µs].
    """

    ramp_up_us: float
    flat_top_us: float
    ramp_down_us: float
    dwell_time_us: float

    def positions(self, n_samples: int, n_encoded: int) -> NDArray[np.float64]:
        """Give the places of the samples in k-space, for a readout from negative to positive.

        A reversed readout has them with the opposite sign. As in the C++ Gadgetron a sample belongs to the end of its
        interval; where that is half an interval too late it shifts both kinds of readouts against each other, and the
        navigators take it out.

        Parameters
        ----------
        n_samples
            Number of samples.
        n_encoded
            Number of grid points that the readout spans.

        Returns
        -------
            Shape (n_samples,), in units of one over the encoded field of view.

        Raises
        ------
        ValueError
            If times are negative, or no gradient is left while samples are taken.
        """
        up, down, dwell = self.ramp_up_us, self.ramp_down_us, self.dwell_time_us
        read_time = dwell * n_samples
        flat = self.flat_top_us if self.flat_top_us > 0 else read_time
        if min(up, down) < 0 or not dwell > 0 or n_samples < 1:
            raise ValueError(f"ramps of {up:g} and {down:g} µs, {n_samples} samples of {dwell:g} µs: no readout")
        delay = 0.5 * (up + flat + down - read_time)
        areas = _area_until(np.array([delay, delay + read_time]), up, flat, down)
        ends = delay + dwell * np.arange(1, n_samples + 1)
        center = 0.5 * (0.5 * up + flat + 0.5 * down)
        positions: NDArray[np.float64] = (
            n_encoded / (areas[1] - areas[0]) * (_area_until(ends, up, flat, down) - center)
        )
        return positions


def _area_until(t: NDArray[Any], up: float, flat: float, down: float) -> NDArray[np.float64]:
    """Integrate a trapezoid of height 1 from its beginning to times t [µs]."""
    on_up = np.clip(t, 0.0, up)
    on_flat = np.clip(t - up, 0.0, flat)
    on_down = np.clip(t - up - flat, 0.0, down)
    area: NDArray[np.float64] = on_flat.copy()
    if up > 0:
        area += 0.5 * on_up**2 / up
    if down > 0:
        area += on_down - 0.5 * on_down**2 / down
    return area


def even_positions(n_samples: int, center_sample: int, spacing: float) -> NDArray[np.float64]:
    """Give the places of samples under a constant gradient: k-space center at `center_sample`."""
    return np.asarray((np.arange(n_samples) - center_sample) * spacing, np.float64)


def flat_grid(n_points: int, extent: float) -> NDArray[np.float64]:
    """Give pixel places along x, the image center at n_points // 2.

    Parameters
    ----------
    n_points
        Number of pixels.
    extent
        Field of view of the image in units of the encoded one.
    """
    return np.asarray((np.arange(n_points) - n_points // 2) * (extent / n_points), np.float64)


def stretched_grid(n_points: int) -> NDArray[np.float64]:
    """Give pixel places as the C++ Gadgetron has them: the whole encoded field of view, stretched by half a pixel."""
    return np.linspace(-0.5, (n_points - 1) / (2 * n_points), n_points)


def off_center_phase(positions: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Find the phase that a receiver leaves which demodulates a shifted slice with a constant frequency.

    A shift along the readout is a phase proportional to k. A receiver that is tuned away makes it proportional to time
    instead, with the rate of the flat top: on the ramps, where k does not pass at this rate, something is left.

    Parameters
    ----------
    positions
        Places of the samples, shape (samples,), in units of one over the encoded field of view.
    shift
        Distance of the slice's middle from the isocenter along the readout, in encoded fields of view.

    Returns
    -------
        What to add to the phase of each sample, shape (samples,) [rad].

    Notes
    -----
    The C++ Gadgetron needs a sample exactly at k = 0 and fails without one; here it is interpolated.
    """
    n = len(positions)
    direction = 1.0 if positions[-1] >= positions[0] else -1.0
    index_of_center = np.interp(0.0, direction * positions, np.arange(n))
    rate = np.abs(np.diff(positions)).max(initial=0.0)
    linear = direction * rate * (np.arange(n) - index_of_center)
    phase: NDArray[np.float64] = -2 * np.pi * shift * (positions - linear)
    return phase


class ReadoutRegridder:
    """Makes images along x of readouts that are not evenly sampled.

    Parameters
    ----------
    positions
        Places of the samples of a readout that is not reversed, in units of one over the encoded field of view.
    n_encoded
        Number of grid points in k-space that the readout spans.
    grid
        Pixel places in encoded field of views, shape (pixels,).
    """

    def __init__(self, positions: NDArray[np.float64], n_encoded: int, grid: NDArray[np.float64]) -> None:
        self._positions = positions
        half = n_encoded // 2
        k = np.arange(-half, half + 1)
        transform = np.exp(2j * np.pi * np.outer(grid, k)) / np.sqrt(len(k))
        self._operators = [
            transform @ np.linalg.pinv(np.sinc(sign * positions[:, np.newaxis] - k), rcond=SMALLEST_SINGULAR_VALUE)
            for sign in (1.0, -1.0)
        ]

    def operator(self, *, is_reverse: bool, shift: float = 0.0) -> NDArray[np.complex64]:
        """Give the matrix that makes an image of a readout: `image = readout @ operator`.

        Parameters
        ----------
        is_reverse
            Whether the readout runs from positive to negative k.
        shift
            As in `off_center_phase`; 0 leaves phases alone.

        Returns
        -------
            Shape (samples, pixels), complex64.
        """
        matrix = self._operators[is_reverse]
        if shift:
            positions = -self._positions if is_reverse else self._positions
            matrix = matrix * np.exp(1j * off_center_phase(positions, shift))
        return np.ascontiguousarray(matrix.T, np.complex64)


@quiet
def profile_roughness(profiles: NDArray[np.complex64]) -> float:
    """Measure how much magnitudes vary along x, relative to what they are: ringing from wrong phases raises it.

    Parameters
    ----------
    profiles
        Shape (coils, pixels).

    Returns
    -------
        Sum of the differences of neighbours over the sum; 0 for an empty or black profile.
    """
    magnitudes = np.abs(profiles)
    total = float(magnitudes.sum())
    return float(np.abs(np.diff(magnitudes, axis=-1)).sum()) / total if total > 0 else 0.0
