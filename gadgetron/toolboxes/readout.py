"""Work on readouts, many at a time: removal of readout oversampling, and zero padding of asymmetric echoes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import scnrm2

from gadgetron.toolboxes.arrays import Allocator, empty_aligned, quiet
from gadgetron.toolboxes.fft import BATCH_BYTES, borrow, fft, ifft, plan_fftw

__all__ = ["crop_readouts", "is_finite", "pad_asymmetric_readout", "resample_trajectory"]

MAX_BATCH = 16


class _CropPlan:
    """Inverse transform, crop around the center, and forward transform of a few readouts, for even lengths.

    For even lengths the shifts of the centred transforms are factors of (-1)^k in the other domain, and those of the
    way there cancel those of the way back: the plain transforms give the same. The center of the image is then in the
    first corner, and what is cropped away is the middle.

    Each readout has a transform of its own. One plan for all of them would be 5 % faster, but FFTW may sum in another
    order for 16 readouts than for one, and an image must not depend on how many readouts came at a time.
    """

    def __init__(self, n_batch: int, n_coils: int, n_samples: int, n_out: int) -> None:
        self.buffer = empty_aligned((n_batch, n_coils, n_samples), np.complex64)
        self.result = empty_aligned((n_batch, n_coils, n_out), np.complex64)
        self.nbytes = int(self.buffer.nbytes + self.result.nbytes)
        self._half = n_out // 2
        self._to_image = [plan_fftw(row, row, (1,), "FFTW_BACKWARD").execute for row in self.buffer]
        self._to_kspace = [
            plan_fftw(row[:, :n_out], result, (1,), "FFTW_FORWARD").execute
            for row, result in zip(self.buffer, self.result, strict=True)
        ]
        self.buffer[...] = 0
        self.result[...] = 0

    def execute(self, n_readouts: int) -> None:
        """Crop the first readouts of `buffer` into `result`, unnormalised."""
        half, buffer = self._half, self.buffer
        n_out, n_samples = self.result.shape[2], buffer.shape[2]
        for row in range(n_readouts):
            self._to_image[row]()
            buffer[row, :, half:n_out] = buffer[row, :, n_samples - half :]
            self._to_kspace[row]()


@quiet
def crop_readouts(
    readouts: Sequence[NDArray[np.complex64]], n_out: int, allocate: Allocator = empty_aligned
) -> list[NDArray[np.complex64]]:
    """Crop the field of view of readouts to its middle, and with it their number of samples.

    Centred orthonormal inverse transform, crop beginning at (samples - n_out) // 2, centred orthonormal transform.

    Parameters
    ----------
    readouts
        All of one shape (coils, samples), complex64; need not be aligned. Not changed.
    n_out
        Samples to keep, 1 to the number of samples.
    allocate
        Makes aligned arrays for the results.

    Returns
    -------
        One array (coils, n_out) for each readout. Neighbours are views of a common block of at most 1 MiB.
    """
    n_coils, n_samples = readouts[0].shape
    if n_samples % 2 or n_out % 2:
        return _crop_any_length(readouts, n_out)
    results: list[NDArray[np.complex64]] = []
    n_batch = max(1, min(MAX_BATCH, BATCH_BYTES // max(1, n_coils * n_samples * 8)))
    scale = np.float32(1.0 / math.sqrt(n_samples * n_out))
    for start in range(0, len(readouts), n_batch):
        chunk = readouts[start : start + n_batch]
        n_chunk = len(chunk)
        n_allocated = min(n_batch, 1 << (n_chunk - 1).bit_length())  # few sizes, so that memory is used again
        out = allocate((n_allocated, n_coils, n_out), np.complex64)[:n_chunk]
        with borrow(_CropPlan, n_batch, n_coils, n_samples, n_out) as plan:
            for row, readout in zip(plan.buffer, chunk, strict=False):
                row[...] = readout
            plan.execute(n_chunk)
            np.multiply(plan.result[:n_chunk].view(np.float32), scale, out=out.view(np.float32))
        results.extend(out)
    return results


def _crop_any_length(readouts: Sequence[NDArray[np.complex64]], n_out: int) -> list[NDArray[np.complex64]]:
    start = (readouts[0].shape[1] - n_out) // 2
    return [fft(ifft(readout, (1,))[:, start : start + n_out], (1,)) for readout in readouts]


def pad_asymmetric_readout(readout: NDArray[np.complex64], n_out: int, *, at_front: bool) -> NDArray[np.complex64]:
    """Extend a readout with zeros, at its front or at its end.

    Parameters
    ----------
    readout
        Shape (coils, samples).
    n_out
        Samples of the result, at least those of the readout.
    at_front
        Whether the zeros come first.

    Returns
    -------
        A new array, shape (coils, n_out), complex64.
    """
    n_coils, n_samples = readout.shape
    padded = np.zeros((n_coils, n_out), np.complex64)
    start = n_out - n_samples if at_front else 0
    padded[:, start : start + n_samples] = readout
    return padded


def resample_trajectory(trajectory: NDArray[np.float32], n_out: int, ratio: float) -> NDArray[np.float32]:
    """Give the trajectory of a readout whose field of view was cropped.

    Parameters
    ----------
    trajectory
        Shape (samples, dimensions).
    n_out
        Samples that are left.
    ratio
        Old field of view over new one: the distance between the samples that are left, in samples.

    Returns
    -------
        Shape (n_out, dimensions), float32; interpolated linearly, the center at n_out // 2.
    """
    n_samples = trajectory.shape[0]
    positions = n_samples // 2 + (np.arange(n_out) - n_out // 2) * ratio
    columns = [np.interp(positions, np.arange(n_samples), column) for column in trajectory.T]
    return np.stack(columns, axis=1).astype(np.float32)


def is_finite(readout: NDArray[np.complex64]) -> bool:
    """Tell whether no sample is NaN or infinite.

    Notes
    -----
    The norm decides, which is finite if all samples are, unless they are huge: 2 µs for 16 coils of 256 samples, where
    np.isfinite takes 6.
    """
    if not readout.size:
        return True
    return math.isfinite(scnrm2(readout.ravel())) or bool(np.isfinite(readout).all())
