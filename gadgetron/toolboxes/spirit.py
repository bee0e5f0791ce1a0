"""Linear SPIRiT: k-space that was not acquired is found so that every sample agrees with its neighbours in all coils.

Kernels are fitted to calibration data (coils, z, y, x). Undersampled planes are solved one by one: in 2D the plane is
(y, x); in 3D there is one for each x, of which the readout was transformed, and it is (z, y).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.calibration import CalibrationRegion, image_phases, solve_regularized
from gadgetron.toolboxes.fft import fft, ifft

__all__ = ["SpiritKernel", "calibrate_spirit", "fill_in", "fill_plane", "plane_operator"]

PLANE = (-2, -1)


class SpiritKernel(NamedTuple):
    """Weights of a SPIRiT kernel, less the identity.

    Attributes
    ----------
    weights
        Shape (coils, sources, shifts z, shifts y, shifts x), complex64; what is left of a sample when its neighbours
        at distance -shift have explained it is -1 times their weighted sum.
    shifts
        The shifts along z, y and x.
    """

    weights: NDArray[np.complex64]
    shifts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@quiet
def calibrate_spirit(
    reference: NDArray[np.complex64],
    kernel: tuple[int, int, int] = (5, 7, 7),
    regularization: float = 0.005,
    overdetermination: float = 45.0,
    lines: NDArray[np.bool_] | None = None,
) -> SpiritKernel:
    """Fit the kernel that gives each sample from those around it.

    Parameters
    ----------
    reference
        Calibration data, shape (coils, z, y, x), complex64.
    kernel
        Samples along z, y and x that a sample is made of, odd; one slice has no neighbours along z.
    regularization, overdetermination, lines
        As of `grappa.calibrate`.

    Raises
    ------
    CalibrationError
        If there are fewer samples than the kernel spans, or hardly any without gaps between them.
    """
    n_coils, n_z = reference.shape[:2]
    halves = (kernel[0] // 2 if n_z > 1 else 0, kernel[1] // 2, kernel[2] // 2)
    offsets_z, offsets_y, offsets_x = (np.arange(-half, half + 1) for half in halves)
    offsets = (offsets_z, offsets_y, offsets_x)
    shape = (n_coils, *(len(o) for o in offsets))
    is_neighbour = np.ones(shape, bool)
    is_neighbour[:, halves[0], halves[1], halves[2]] = False
    center = np.zeros(1, np.int64)
    region = CalibrationRegion(
        reference, offsets, overdetermination if n_z > 1 else 0.0, (center, center, center), lines
    )
    normal, right = region.normal_equations(reference, is_neighbour.ravel())
    weights = np.zeros((*shape, n_coils), np.complex64)
    weights[is_neighbour] = solve_regularized(normal, right, regularization)
    for coil in range(n_coils):
        weights[coil, halves[0], halves[1], halves[2], coil] = -1.0
    return SpiritKernel(np.moveaxis(weights, -1, 0).copy(), (-offsets_z, -offsets_y, -offsets_x))


@quiet
def fill_in(
    kspace: NDArray[np.complex64],
    kernel: SpiritKernel,
    n_iterations: int = 50,
    threshold: float = 0.0015,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.complex64]:
    """Find the samples that were not acquired, those that are zero.

    Parameters
    ----------
    kspace
        Shape (coils, z, y, x), complex64. Not changed.
    kernel
        From `calibrate_spirit`.
    n_iterations, threshold, should_stop
        As of `fill_plane`.

    Returns
    -------
        A new array; what was acquired is as it was.
    """
    _, n_z, n_y, n_x = kspace.shape
    phases_z, phases_y, phases_x = (image_phases(n, s) for n, s in zip((n_z, n_y, n_x), kernel.shifts, strict=True))
    if n_z == 1:
        weights = kernel.weights.sum(axis=2)
        filled = fill_plane(
            kspace[:, 0], plane_operator(weights, phases_y, phases_x), n_iterations, threshold, should_stop
        )
        return filled[:, np.newaxis]
    planes = ifft(kspace, (3,))
    along_x = np.tensordot(kernel.weights, phases_x, axes=(4, 1))  # (coils, sources, shifts z, shifts y, x)
    for x in range(n_x):
        operator = plane_operator(np.ascontiguousarray(along_x[..., x]), phases_z, phases_y)
        planes[..., x] = fill_plane(
            np.ascontiguousarray(planes[..., x]), operator, n_iterations, threshold, should_stop
        )
    return fft(planes, (3,))


def plane_operator(
    weights: NDArray[np.complex64], phases_y: NDArray[np.complex64], phases_x: NDArray[np.complex64]
) -> NDArray[np.complex64]:
    """Give the kernel in image space: weights (coils, sources, shifts, shifts) to (coils, sources, y, x)."""
    operator: NDArray[np.complex64] = np.matmul(phases_y, weights @ phases_x.T)
    return operator


@quiet
def fill_plane(
    kspace: NDArray[np.complex64],
    operator: NDArray[np.complex64],
    n_iterations: int,
    threshold: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.complex64]:
    """Find the samples of a plane that were not acquired, by LSQR.

    Parameters
    ----------
    kspace
        Shape (coils, y, x), complex64, zero where nothing was acquired. Not changed.
    operator
        From `plane_operator`.
    n_iterations
        Iterations at most.
    threshold
        Iterations end when the gradient is this small against operator and residual.
    should_stop
        Asked in every iteration.

    Returns
    -------
        A new array.
    """
    is_missing = kspace == 0
    products = np.empty_like(kspace)
    adjoint = operator.conj().swapaxes(0, 1)

    def apply(kernel: NDArray[np.complex64], x: NDArray[np.complex64]) -> NDArray[np.complex64]:
        images = ifft(x, PLANE)
        result = np.empty_like(x)
        for weights, out in zip(kernel, result, strict=True):
            np.add.reduce(np.multiply(weights, images, out=products), axis=0, out=out)
        return fft(result, PLANE, out=result)

    right = apply(operator, kspace)
    np.negative(right, out=right)
    solution = _lsqr(
        lambda x: apply(operator, x),
        lambda y: np.multiply(apply(adjoint, y), is_missing),
        right,
        n_iterations,
        threshold,
        should_stop,
    )
    return np.where(is_missing, solution, kspace)


def _lsqr(
    forward: Callable[[NDArray[np.complex64]], NDArray[np.complex64]],
    adjoint: Callable[[NDArray[np.complex64]], NDArray[np.complex64]],
    right: NDArray[np.complex64],
    n_iterations: int,
    threshold: float,
    should_stop: Callable[[], bool],
) -> NDArray[np.complex64]:
    """Minimise |forward(x) - right| from x = 0 (Paige and Saunders 1982)."""
    solution = np.zeros_like(right)
    beta = _norm(right)
    if not beta > 0 or not math.isfinite(beta):
        return solution
    u = right * np.float32(1 / beta)
    v = adjoint(u)
    alpha = _norm(v)
    if not alpha > 0:
        return solution
    v *= np.float32(1 / alpha)
    direction = v.copy()
    phi_bar, rho_bar, power = beta, alpha, alpha**2
    for _ in range(n_iterations):
        u = forward(v) - np.float32(alpha) * u
        beta = _norm(u)
        if beta > 0:
            u *= np.float32(1 / beta)
        v = adjoint(u) - np.float32(beta) * v
        alpha = _norm(v)
        if alpha > 0:
            v *= np.float32(1 / alpha)
        rho = math.hypot(rho_bar, beta)
        cosine, sine = rho_bar / rho, beta / rho
        solution += np.float32(cosine * phi_bar / rho) * direction
        direction = v - np.float32(sine * alpha / rho) * direction
        rho_bar, phi_bar = -cosine * alpha, sine * phi_bar
        power += alpha**2 + beta**2
        if alpha * abs(cosine) <= threshold * math.sqrt(power) or should_stop():
            break
    return solution


def _norm(array: NDArray[np.complex64]) -> float:
    return float(np.linalg.norm(array))
