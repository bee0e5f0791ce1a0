"""Centered, unitary Fourier transforms along any axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import scipy.fft
from numpy.typing import ArrayLike, NDArray


def cfftn(data: ArrayLike, axes: Sequence[int]) -> NDArray[Any]:
    """Transform, with the origin in the center of each axis.

    Parameters
    ----------
    data
        Complex input, any shape. complex64 stays complex64.
    axes
        Along which to transform.

    Returns
    -------
        A new array of the same shape; its norm is that of the input.
    """
    shifted = scipy.fft.ifftshift(data, axes=axes)
    centered: NDArray[Any] = scipy.fft.fftshift(scipy.fft.fftn(shifted, axes=axes, norm="ortho"), axes=axes)
    return centered


def cifftn(data: ArrayLike, axes: Sequence[int]) -> NDArray[Any]:
    """Transform back: the inverse of `cfftn`, of odd sizes, too (as it is not in the package `gadgetron` 1.4)."""
    shifted = scipy.fft.ifftshift(data, axes=axes)
    centered: NDArray[Any] = scipy.fft.fftshift(scipy.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)
    return centered
