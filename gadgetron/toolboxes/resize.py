"""Changes of matrix size that keep the center, at n // 2, where it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.fft import fft, ifft

__all__ = ["crop_centred", "pad_centred", "resize_image"]

Scalar = TypeVar("Scalar", bound=np.generic)


def pad_centred(array: NDArray[Scalar], shape: Sequence[int]) -> NDArray[Scalar]:
    """Put zeros around an array.

    Parameters
    ----------
    array
        Any shape.
    shape
        New sizes of the last axes, at least the old ones.

    Returns
    -------
        A new array, or the array itself if nothing changes.
    """
    old = array.shape[array.ndim - len(shape) :]
    if old == tuple(shape):
        return array
    padded = np.zeros((*array.shape[: array.ndim - len(shape)], *shape), array.dtype)
    padded[_middle(shape, old)] = array
    return padded


def crop_centred(array: NDArray[Scalar], shape: Sequence[int]) -> NDArray[Scalar]:
    """Give the middle of an array, as a view; shape as in `pad_centred`, at most the old sizes."""
    middle: NDArray[Scalar] = array[_middle(array.shape[array.ndim - len(shape) :], shape)]
    return middle


def _middle(outer: Sequence[int], inner: Sequence[int]) -> Any:
    """Give the index of the middle of the last axes."""
    starts = [n_outer // 2 - n_inner // 2 for n_outer, n_inner in zip(outer, inner, strict=True)]
    return (..., *(slice(start, start + n) for start, n in zip(starts, inner, strict=True)))


def resize_image(images: NDArray[np.complex64], shape: Sequence[int]) -> NDArray[np.complex64]:
    """Change the pixel spacing of images along their last axes by padding or cropping k-space.

    Parameters
    ----------
    images
        Any shape, complex64.
    shape
        New sizes of the last axes.

    Returns
    -------
        A new array, or `images` if nothing changes. Where k-space is padded the pixel values stay as they are; where it
        is cropped the transforms are orthonormal: white noise keeps its level.
    """
    result = images
    n_axes = len(shape)
    for axis in range(images.ndim - n_axes, images.ndim):
        n, n_new = images.shape[axis], shape[axis - images.ndim + n_axes]
        if n == n_new:
            continue
        kspace = np.moveaxis(fft(result, (axis,)), axis, -1)
        resized = pad_centred(kspace, (n_new,)) if n_new > n else crop_centred(kspace, (n_new,))
        result = ifft(np.ascontiguousarray(np.moveaxis(resized, -1, axis)), (axis,))
        if n_new > n:
            result *= np.float32(math.sqrt(n_new / n))
    return result
