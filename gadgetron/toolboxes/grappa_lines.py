"""GRAPPA of a single slice from the lines that have come so far: what calibrates, and what unmixes images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.calibration_lines import repair_lines
from gadgetron.toolboxes.coil_maps import coil_map_inati
from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.grappa import (
    CalibrationError,
    GrappaKernel,
    calibrate,
    source_offsets,
    unmixing_coefficients,
    wrapped_lines,
)

__all__ = [
    "GrappaSettings",
    "WrapCorrection",
    "apply_unmixing",
    "calibration_region",
    "equations_per_unknown",
    "fill_gaps",
    "keep_acquired",
    "line_spacing",
    "slice_unmixing",
]


class GrappaSettings(NamedTuple):
    """How kernel and coil maps are estimated.

    Attributes
    ----------
    kernel_samples, kernel_lines
        Samples along x (odd), and acquired lines, that a missing sample is made of.
    regularization
        Tikhonov's, in units of the mean diagonal element of the normal equations.
    map_kernel, map_iterations
        Edge length of the neighbourhood of a coil map's pixel, and the number of power iterations.
    reads_past_lines
        Whether the sample behind the end of each calibration line, which is the first one of the next line, counts as
        one of it: the C++ Gadgetron's region is one too long. It changes images by some 0.1 %.
    """

    kernel_samples: int = 5
    kernel_lines: int = 4
    regularization: float = 5e-4
    map_kernel: int = 5
    map_iterations: int = 3
    reads_past_lines: bool = True


class WrapCorrection(NamedTuple):
    """What takes from unmixed images the lines that were made beyond the ends of k-space, see `wrapped_lines`.

    Attributes
    ----------
    kernel
        Its first targets are the combined coils, the others the uncombined ones.
    maps
        Of the combined coils, shape (combined, 1, y, x), complex64.
    """

    kernel: GrappaKernel
    maps: NDArray[np.complex64]


def line_spacing(lines: Collection[int]) -> int:
    """Give the distance between neighbours that occurs most often among lines; 1 for fewer than two lines."""
    distances = np.diff(sorted(set(lines)))
    return int(np.bincount(distances).argmax()) if distances.size else 1


def calibration_region(lines: Collection[int], center: int) -> tuple[int, int]:
    """Give the first and the last of the lines without a gap around the center.

    Raises
    ------
    CalibrationError
        If the line at the center is missing.
    """
    present = set(lines)
    if center not in present:
        raise CalibrationError(f"the line at the center of k-space ({center}) is missing")
    first = last = center
    while first - 1 in present:
        first -= 1
    while last + 1 in present:
        last += 1
    return first, last


def fill_gaps(
    kspace: NDArray[np.complex64], is_there: NDArray[np.bool_], region: tuple[int, int], acceleration: int
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Find calibration lines that are missing from those around them.

    Parameters
    ----------
    kspace
        Shape (coils, 1, y, x), complex64, zero where nothing was acquired. Not changed.
    is_there
        Which rows were acquired, shape (y,).
    region
        First and last row of those that calibrate.
    acceleration
        The largest distance of lines that a missing one is found from.

    Returns
    -------
        K-space and its rows, with what was found; the same arrays if nothing is missing in the region.
    """
    rows = slice(region[0], region[1] + 1)
    if is_there[rows].all():
        return kspace, is_there
    kspace, is_there = kspace.copy(), is_there.copy()
    kspace[:, :, rows], found = repair_lines(kspace[:, :, rows], is_there[np.newaxis, rows], acceleration)
    is_there[rows] = found[0]
    return kspace, is_there


def equations_per_unknown(
    is_there: NDArray[np.bool_], n_samples: int, n_coils: int, acceleration: int, settings: GrappaSettings
) -> float:
    """Tell by how much calibration lines, True where there is one, determine the kernel."""
    offsets = source_offsets(settings.kernel_lines, acceleration)
    span = range(int(offsets[0]), max(int(offsets[-1]), acceleration - 1) + 1)
    needed = np.isin(np.array(span), [*offsets.tolist(), *range(acceleration)])
    n_places = sum(
        bool(is_there[first : first + len(needed)][needed].all()) for first in range(len(is_there) - len(needed) + 1)
    )
    n_unknowns = n_coils * settings.kernel_lines * settings.kernel_samples
    return n_places * max(0, n_samples - settings.kernel_samples + 1) / n_unknowns


@quiet
def slice_unmixing(
    kspace: NDArray[np.complex64],
    region: tuple[int, int],
    acceleration: int,
    settings: GrappaSettings,
    targets: Sequence[int] | None = None,
    uncombined: Sequence[int] = (),
    is_there: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.complex64], WrapCorrection | None]:
    """Estimate what images of the undersampled slice are multiplied with, and summed over coils.

    Parameters
    ----------
    kspace
        All lines that have come, shape (coils, 1, y, x), complex64, zero where there are none.
    region
        First and last row of those that calibrate.
    acceleration
        Distance of the lines that images are made of; 1 combines the coils and nothing else.
    targets
        Coils that are combined; all but the uncombined ones by default. All of them are sources.
    uncombined
        Coils that get images of their own.
    is_there
        Which of the region's rows there are; None for all.

    Returns
    -------
        Shape (images, coils, 1, y, x), complex64: the combined image, then one for each uncombined coil. Images keep
        the signal of those that are fully sampled. And what else they need, if the number of lines is no multiple of
        the acceleration.

    Raises
    ------
    CalibrationError
        If the region is smaller than the kernel, or hardly any of its rows lie together.
    """
    combined = [coil for coil in range(len(kspace)) if coil not in uncombined] if targets is None else list(targets)
    maps = coil_map_inati(ifft(kspace[combined], (2, 3)), settings.map_kernel, iterations=settings.map_iterations)
    unmixing = np.zeros((1 + len(uncombined), *kspace.shape), np.complex64)
    if acceleration == 1:
        np.conjugate(maps, out=maps)
        unmixing[0, combined] = maps
        unmixing[range(1, 1 + len(uncombined)), list(uncombined)] = 1
        return unmixing, None
    lines = _calibration_lines(kspace, region, reads_past=settings.reads_past_lines)
    shape = (1, settings.kernel_lines, settings.kernel_samples)
    wanted = [*combined, *uncombined]
    present = None if is_there is None else is_there[np.newaxis]
    kernel = calibrate(lines, lines[wanted], (1, acceleration), shape, settings.regularization, lines=present)
    kernel = keep_acquired(kernel, acceleration, settings.kernel_lines, wanted)
    n_combined = len(combined)
    unmixing[0] = unmixing_coefficients(kernel._replace(weights=kernel.weights[:n_combined]), maps)
    alone = np.ones_like(maps[:1])
    for index in range(n_combined, len(wanted)):
        own = kernel._replace(weights=kernel.weights[index : index + 1])
        unmixing[1 + index - n_combined] = unmixing_coefficients(own, alone)
    return unmixing, WrapCorrection(kernel, maps) if kspace.shape[2] % acceleration else None


def _calibration_lines(
    kspace: NDArray[np.complex64], region: tuple[int, int], *, reads_past: bool
) -> NDArray[np.complex64]:
    first, last = region
    lines = kspace[:, :, first : last + 1]
    if not reads_past:
        return np.ascontiguousarray(lines)
    beyond = np.zeros((*lines.shape[:3], 1), np.complex64)
    following = kspace[:, :, first + 1 : last + 2, :1]
    beyond[:, :, : following.shape[2]] = following
    if following.shape[2] < lines.shape[2]:  # behind the last line of a coil come those of the next one
        beyond[:-1, :, -1] = kspace[1:, :, 0, :1]
    return np.concatenate([lines, beyond], axis=3)


@quiet
def apply_unmixing(
    images: NDArray[np.complex64], unmixing: NDArray[np.complex64], correction: WrapCorrection | None = None
) -> NDArray[np.complex64]:
    """Sum aliased images (coils, 1, y, x) times coefficients (images, coils, 1, y, x) over the coils.

    Returns
    -------
        Shape (images, 1, y, x), complex64.
    """
    unmixed: NDArray[np.complex64] = images[0] * unmixing[:, 0]
    for coil in range(1, len(images)):
        unmixed += images[coil] * unmixing[:, coil]
    if correction is not None:
        wrapped = ifft(wrapped_lines(fft(images, (2, 3)), correction.kernel), (2, 3))
        n_combined = len(correction.maps)
        unmixed[0] -= (correction.maps.conj() * wrapped[:n_combined]).sum(axis=0)
        unmixed[1:] -= wrapped[n_combined:]
    return unmixed


def keep_acquired(
    kernel: GrappaKernel, acceleration: int, n_lines: int, targets: Sequence[int] | None = None
) -> GrappaKernel:
    """Leave acquired samples as they are, where `calibrate` has fitted them from their neighbours, too.

    `targets` are the sources that the targets are; if None they are all of them, in their order.
    """
    weights = kernel.weights.copy()
    weights[:, :, :, :n_lines] = 0  # the kernel of the acquired line is the first of those for each line
    itself = int(np.flatnonzero(source_offsets(n_lines, acceleration) == 0)[0])
    middle = int(np.flatnonzero(kernel.shifts[2] == 0)[0])
    coils = list(range(len(weights)) if targets is None else targets)
    weights[range(len(weights)), coils, 0, itself, middle] = 1
    return GrappaKernel(weights, kernel.shifts)
