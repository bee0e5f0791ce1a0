"""The Shepp-Logan phantom seen by an array of receive coils, as images and in k-space.

Coordinates run from -1 to 1 over the field of view, pixel n // 2 is the centre. k-space is the centred orthonormal
Fourier transform of the image, so that images and k-space have the same energy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2  # 111.25 degrees

# Intensity, half axes (x, y, z), centre (x, y, z), rotation about z [degrees]. Intensities with Toft's better contrast.
_ELLIPSOIDS = (
    (1.0, (0.69, 0.92, 0.81), (0.0, 0.0, 0.0), 0.0),
    (-0.8, (0.6624, 0.874, 0.78), (0.0, -0.0184, 0.0), 0.0),
    (-0.2, (0.11, 0.31, 0.22), (0.22, 0.0, 0.0), -18.0),
    (-0.2, (0.16, 0.41, 0.28), (-0.22, 0.0, 0.0), 18.0),
    (0.1, (0.21, 0.25, 0.41), (0.0, 0.35, -0.15), 0.0),
    (0.1, (0.046, 0.046, 0.05), (0.0, 0.1, 0.25), 0.0),
    (0.1, (0.046, 0.046, 0.05), (0.0, -0.1, 0.25), 0.0),
    (0.1, (0.046, 0.023, 0.05), (-0.08, -0.605, 0.0), 0.0),
    (0.1, (0.023, 0.023, 0.02), (0.0, -0.606, 0.0), 0.0),
    (0.1, (0.023, 0.046, 0.02), (0.06, -0.605, 0.0), 0.0),
)


def coordinates(n_pixels: int) -> NDArray[np.float64]:
    """Give the positions of pixels along an axis, from -1 to 1, with 0 at pixel n // 2."""
    return 2.0 * (np.arange(n_pixels) - n_pixels // 2) / n_pixels


def shepp_logan(n_y: int, n_x: int, z_positions: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """Draw the modified Shepp-Logan phantom.

    Parameters
    ----------
    n_y, n_x
        Number of pixels along y and x.
    z_positions
        Where to cut the three-dimensional phantom, from -1 to 1. Without them: the classical two-dimensional phantom,
        in which every ellipse is seen at its largest.

    Returns
    -------
        Intensities from 0 to 1, shape (z, y, x); one slice without `z_positions`.

    References
    ----------
    Shepp LA, Logan BF, IEEE Trans Nucl Sci 21:21 (1974). Toft P, PhD thesis, DTU (1996), page 199. Three dimensions:
    Kak AC, Slaney M, Principles of Computerized Tomographic Imaging (1988), table 3.2, with the heights of Schabel's
    phantom3d.
    """
    x = coordinates(n_x)[np.newaxis, :]
    y = -coordinates(n_y)[:, np.newaxis]  # the first line of an image is its top
    slices = np.zeros((1 if z_positions is None else len(z_positions), n_y, n_x))
    for intensity, (a, b, c), (x_0, y_0, z_0), degrees in _ELLIPSOIDS:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        u = (x - x_0) * cosine + (y - y_0) * sine
        v = (y - y_0) * cosine - (x - x_0) * sine
        in_plane = (u / a) ** 2 + (v / b) ** 2
        heights = [z_0] if z_positions is None else z_positions
        for image, z in zip(slices, heights, strict=True):
            image[in_plane + ((z - z_0) / c) ** 2 <= 1] += intensity
    return np.maximum(slices, 0).astype(np.float32)  # rounding may leave -1e-17 where intensities cancel


def coil_sensitivities(n_coils: int, n_z: int, n_y: int, n_x: int, distance: float = 1.75) -> NDArray[np.complex64]:
    """Make smooth complex sensitivities of coils on a circle around the object.

    The field of a coil falls off with the distance to it, and turns with the direction from it, as that of a straight
    conductor does. The root sum of squares over the coils is 1 everywhere, so that combining gives the phantom back.

    Parameters
    ----------
    n_coils
        Number of coils, evenly spaced.
    n_z, n_y, n_x
        Pixels along each axis. With more than one along z the coils stand alternately above and below the middle.
    distance
        Radius of the circle, in half fields of view.

    Returns
    -------
        Shape (coils, z, y, x).
    """
    z, y, x = np.meshgrid(coordinates(n_z) if n_z > 1 else [0.0], coordinates(n_y), coordinates(n_x), indexing="ij")
    fields = np.empty((n_coils, *x.shape), np.complex128)
    for index in range(n_coils):
        angle = 2 * math.pi * index / n_coils
        x_coil, y_coil = distance * math.cos(angle), distance * math.sin(angle)
        z_coil = 0.5 * (-1) ** index if n_z > 1 else 0.0
        from_coil = (x - x_coil) + 1j * (y - y_coil)
        fields[index] = from_coil * np.exp(-1j * angle) / (np.abs(from_coil) ** 2 + (z - z_coil) ** 2)
    fields /= np.sqrt(np.sum(np.abs(fields) ** 2, axis=0))
    return fields.astype(np.complex64)


def zero_pad_readout(images: NDArray[np.complex64], n_samples: int) -> NDArray[np.complex64]:
    """Widen the field of view along the last axis to `n_samples` pixels; the centre stays the centre."""
    n_x = images.shape[-1]
    padded = np.zeros((*images.shape[:-1], n_samples), images.dtype)
    start = n_samples // 2 - n_x // 2
    padded[..., start : start + n_x] = images
    return padded


def radial_trajectory(n_samples: int, angle: float) -> NDArray[np.float32]:
    """Make the trajectory of one spoke through the centre of k-space, reached at sample n_samples // 2.

    Parameters
    ----------
    n_samples
        Samples along the spoke.
    angle
        Direction from the x axis [radians].

    Returns
    -------
        Shape (samples, 2): kx and ky [cycles per pixel], from -0.5 to 0.5.
    """
    radius = (np.arange(n_samples) - n_samples // 2) / n_samples
    return np.stack([radius * math.cos(angle), radius * math.sin(angle)], axis=1).astype(np.float32)


def sample_k_space(images: NDArray[np.complex64], trajectory: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Evaluate the Fourier transform of images at any positions, exactly.

    Parameters
    ----------
    images
        Shape (coils, y, x).
    trajectory
        Shape (samples, 2): kx and ky [cycles per pixel].

    Returns
    -------
        Shape (coils, samples); on the Cartesian grid it equals the centred orthonormal FFT.

    Notes
    -----
    Cost: O(coils * samples * y * x) operations, in matrix products.
    """
    n_coils, n_y, n_x = images.shape
    k_x, k_y = trajectory[:, 0].astype(np.float64), trajectory[:, 1].astype(np.float64)
    waves_x = np.exp(-2j * np.pi * np.outer(np.arange(n_x) - n_x // 2, k_x)).astype(np.complex64)
    waves_y = np.exp(-2j * np.pi * np.outer(np.arange(n_y) - n_y // 2, k_y)).astype(np.complex64)
    along_x = (images.reshape(n_coils * n_y, n_x) @ waves_x).reshape(n_coils, n_y, -1)
    samples: NDArray[np.complex64] = np.einsum("cys,ys->cs", along_x, waves_y) / np.float32(math.sqrt(n_y * n_x))
    return samples


def noise_mixing(n_coils: int, correlation: float) -> NDArray[np.complex64]:
    """Make the matrix that gives white noise the correlation of neighbouring coils.

    Parameters
    ----------
    n_coils
        Number of coils on a circle.
    correlation
        Magnitude of the correlation between neighbours, from 0 to below 1; it falls off as its powers further away.

    Returns
    -------
        Lower triangular L, shape (coils, coils). The noise L @ white has the covariance L @ L^H, with ones on the
        diagonal.
    """
    apart = np.abs(np.subtract.outer(np.arange(n_coils), np.arange(n_coils)))
    phase = np.exp(0.5j * np.subtract.outer(np.arange(n_coils), np.arange(n_coils)))
    return np.linalg.cholesky(correlation**apart * phase).astype(np.complex64)
