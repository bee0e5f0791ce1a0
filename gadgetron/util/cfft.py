"""Centered, unitary Fourier transforms along any axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
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
    return _centered(np.fft.fftn, np.asarray(data), tuple(axes))


def cifftn(data: ArrayLike, axes: Sequence[int]) -> NDArray[Any]:
    """Transform back: the inverse of `cfftn`, of odd sizes, too (as it is not in the package `gadgetron` 1.4)."""
    return _centered(np.fft.ifftn, np.asarray(data), tuple(axes))


def _centered(transform: Callable[..., NDArray[Any]], data: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    # numpy.fft, not scipy.fft: a foreign module starts for every session, and importing SciPy would double its start.
    result = transform(np.fft.ifftshift(data, axes=axes), axes=axes, norm="ortho")
    centered = np.fft.fftshift(result, axes=axes)
    is_single = data.dtype in (np.complex64, np.float32)
    return centered.astype(np.complex64, copy=False) if is_single else centered
