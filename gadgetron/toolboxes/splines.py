"""Interpolation with splines: images in space, and series of images in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import map_coordinates, zoom

__all__ = ["Interpolation", "resample", "time_weights"]

Interpolation = Literal["Spline", "BSpline"]

B_SPLINE_ORDER = 5


def resample(image: NDArray[Any], shape: Sequence[int], order: int = B_SPLINE_ORDER) -> NDArray[Any]:
    """Interpolate the last axes of an image to another number of points; the outermost points keep their places.

    Parameters
    ----------
    image
        Any shape, real or complex.
    shape
        New sizes of the last axes, at least 1 each.
    order
        Order of the B-splines, 0 to 5. Beyond its borders the image continues as in a mirror.

    Returns
    -------
        A new array of the image's type.
    """
    n_leading = image.ndim - len(shape)
    factors = [new / old for old, new in zip(image.shape[n_leading:], shape, strict=True)]
    result = np.empty((*image.shape[:n_leading], *shape), image.dtype)
    for place in np.ndindex(*image.shape[:n_leading]):
        zoom(image[place], factors, output=result[place], order=order, mode="mirror", grid_mode=False)
    return result


def time_weights(
    times: NDArray[np.float64], wanted: NDArray[np.float64], interpolation: Interpolation = "Spline"
) -> NDArray[np.float64]:
    """Give the weights with which samples at some times make up those at others.

    Parameters
    ----------
    times
        When samples were taken, strictly increasing, at least two, shape (samples,).
    wanted
        When they are wanted, shape (wanted,).
    interpolation
        Spline is a cubic spline through the samples, without curvature at both ends. BSpline is of order 5, and takes
        the samples for equally spaced.

    Returns
    -------
        Shape (wanted, samples): `weights @ samples` are the interpolated ones.
    """
    n = len(times)
    if interpolation == "Spline":
        return np.asarray(CubicSpline(times, np.eye(n), bc_type="natural")(wanted), np.float64)
    places = (n - 1) * (wanted - times[0]) / (times[-1] - times[0])
    columns = [map_coordinates(unit, places[np.newaxis], order=B_SPLINE_ORDER, mode="mirror") for unit in np.eye(n)]
    return np.stack(columns, axis=1)
