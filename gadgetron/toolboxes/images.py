"""Pixel values: scaling to a useful range, and conversion to integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet

__all__ = ["count_clipped", "histogram_scale", "intensity_scale", "percentile_scale", "to_integers"]

HISTOGRAM_PART = 0.99
MAX_VOLUMES = 24
DEFAULT_INTENSITY = 2048.0
DEFAULT_FACTOR = 4.0


@quiet
def histogram_scale(image: NDArray[np.float32], max_value: float, n_bins: int) -> float:
    """Find the factor that brings the 99th percentile of an image near a value.

    Parameters
    ----------
    image
        Magnitudes.
    max_value
        What the upper end of the bin after the 99th percentile becomes.
    n_bins
        Bins of the histogram, from 0 to the image's maximum.

    Returns
    -------
        The factor; 1 for an image without positive pixels or with some that are not finite.
    """
    brightest = np.float32(image.max(initial=0.0))
    if not brightest > 0 or not np.isfinite(image).all():
        return 1.0
    bins = np.floor(image.ravel() / brightest * np.float32(n_bins)).astype(np.int64).clip(0, n_bins - 1)
    cumulative = np.cumsum(np.bincount(bins, minlength=n_bins))
    n_bins_below = int(np.searchsorted(cumulative, HISTOGRAM_PART * image.size)) + 1
    upper_end = np.float32(n_bins_below + 1) * (brightest / np.float32(n_bins))
    scale = np.float32(max_value) / upper_end
    return float(scale) if np.isfinite(scale) else 1.0


@quiet
def percentile_scale(image: NDArray[Any], max_value: float, percentile: float) -> float:
    """Find the factor that brings a percentile of an image's magnitudes to a value.

    Returns
    -------
        The factor; 1 if the percentile is zero or not finite.
    """
    if image.size == 0:
        return 1.0
    level = float(np.percentile(np.abs(image), percentile))
    return max_value / level if np.isfinite(level) and level > 0 else 1.0


@quiet
def to_integers(
    values: NDArray[np.float32], dtype: type[np.integer[Any]], minimum: int, maximum: int
) -> NDArray[np.integer[Any]]:
    """Round to the nearest integer, halves away from zero, within limits; what is not a number becomes 0.

    Parameters
    ----------
    values
        Any shape.
    dtype
        Type of the result.
    minimum, maximum
        Smallest and largest result.

    Returns
    -------
        A new array of the same shape.
    """
    exact = values.astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(exact) + 0.5), exact)
    np.nan_to_num(rounded, copy=False, nan=0.0, posinf=float(maximum), neginf=float(minimum))
    return rounded.clip(minimum, maximum).astype(dtype)


@quiet
def count_clipped(values: NDArray[np.float32], minimum: int, maximum: int) -> int:
    """Count the values that `to_integers` clips; what is not a number is none of them."""
    return int(np.count_nonzero(values >= maximum + 0.5)) + int(np.count_nonzero(values <= minimum - 0.5))


@quiet
def intensity_scale(images: NDArray[Any], min_intensity: float, max_intensity: float) -> float:
    """Find the factor that brings images into the range of 12-bit integers.

    Parameters
    ----------
    images
        Shape (…, z, y, x); of more than 24 images the 24 in the middle count.
    min_intensity, max_intensity
        Range of maxima of images in units of noise.

    Returns
    -------
        For maxima beyond the range 2048 over the maximum; within it the largest of 4, 2, 1 that keeps the maximum below
        max_intensity. 2048 for images that are black or not finite.
    """
    volumes = images.reshape(-1, *images.shape[-3:])
    if len(volumes) > MAX_VOLUMES:
        middle = len(volumes) // 2 - MAX_VOLUMES // 2
        volumes = volumes[middle : middle + MAX_VOLUMES]
    brightest = float(np.abs(volumes).max(initial=0.0))
    if not np.isfinite(brightest) or brightest <= 0:
        brightest = 1.0
    if brightest < min_intensity or brightest > max_intensity:
        return DEFAULT_INTENSITY / brightest
    factor = DEFAULT_FACTOR
    while brightest * factor > max_intensity and factor >= 2:
        factor /= 2
    return factor if brightest * factor <= max_intensity else max_intensity / brightest
