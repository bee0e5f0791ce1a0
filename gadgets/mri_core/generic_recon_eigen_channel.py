"""Coil compression of buffered k-space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gadgetron.gadget import Gadget1
from gadgetron.image_arrays import slice_of
from gadgetron.message import Array, Container
from gadgetron.properties import Property
from gadgetron.recon_types import ReconBit, ReconBuffer, ReconData
from gadgetron.toolboxes.coil_compression import eigen_channels, n_modes_above
from gadgetron.toolboxes.reference import average_lines, sampled_lines

SAMPLES_AT_ONCE = 4096


class _Coefficients(NamedTuple):
    """Matrices of shape (modes, coils) by (LOC, S, N), and the buffer's sizes that they are for: LOC, S, N, CHA."""

    matrices: Array[np.object_]
    sizes: tuple[int, ...]


class GenericReconEigenChannelGadget(Gadget1[ReconData]):
    """Replace coils by their principal combinations, those that carry most of the signal first.

    Takes and emits recon data. The combinations come from the calibration data, or from the imaging data if there is
    none, at the first buffer, and are kept until its sizes change. All slices, S and N have the same number of them:
    that of the first.

    Mended against the C++ Gadgetron: slices that come in buffers of their own each have their own combinations;
    `upstream_coil_compression` false switches the gadget off.
    """

    average_all_ref_N = Property(True, doc="one set of coefficients for all N")
    average_all_ref_S = Property(False, doc="one set of coefficients for all S")
    update_eigen_channel_coefficients = Property(False, doc="compute the coefficients for each buffer anew")
    upstream_coil_compression = Property(True, doc="whether to do anything")
    upstream_coil_compression_thres = Property(
        -1.0, doc="keep combinations with at least this part of the first one's energy; not positive: all"
    )
    upstream_coil_compression_num_modesKept = Property(
        0, doc="number of combinations to keep; 0 leaves that to the threshold", minimum=0
    )
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._coefficients: dict[tuple[int, int], _Coefficients] = {}

    def process(self, message: Container[ReconData]) -> None:
        """Compress the coils of every encoding space."""
        for space, bit in enumerate(message.object.bits):
            if bit.data is not None and self.upstream_coil_compression:
                self._compress(bit, bit.data, space)
                self.debug_array("data", bit.data.data)
        self.put_next(message)

    def _compress(self, bit: ReconBit, data: ReconBuffer, space: int) -> None:
        sizes = data.data.shape[:4]
        if sizes[3] == 1:
            return
        key = (space, slice_of(data))
        coefficients = self._coefficients.get(key)
        is_due = self.update_eigen_channel_coefficients and not (bit.reference is None and bit.calibration is not None)
        if coefficients is None or coefficients.sizes != sizes or is_due:
            coefficients = self._coefficients[key] = self._analyse(bit.reference or data, sizes)
        reference = bit.reference
        is_same = reference is not None and _is_same(reference.data, data.data)
        if reference is not None and not is_same:
            reference.data = _mixed(coefficients.matrices, reference.data)  # may be a view of the data
        data.data = _mixed_in_place(coefficients.matrices, data.data)
        if reference is not None and is_same:
            reference.data = data.data

    def _analyse(self, source: ReconBuffer, sizes: tuple[int, ...]) -> _Coefficients:
        kspace = average_lines(
            source.data,
            sampled_lines(source.data),
            average_n=self.average_all_ref_N,
            average_s=self.average_all_ref_S,
        )
        n_loc, n_s, n_n = kspace.shape[:3]
        matrices = np.empty((n_loc, n_s, n_n), object)
        n_modes = 0
        for place in np.ndindex(n_loc, n_s, n_n):
            matrix, values = eigen_channels(kspace[place])
            if not n_modes:
                wanted = self.upstream_coil_compression_num_modesKept
                n_modes = min(wanted, len(values)) or n_modes_above(values, self.upstream_coil_compression_thres)
                self.log.info("coils.compressed", n_coils=len(values), n_modes=n_modes)
            matrices[place] = matrix[:n_modes]
        return _Coefficients(matrices, sizes)


def _is_same(a: Array[np.complex64], b: Array[np.complex64]) -> bool:
    return a.shape == b.shape and a.strides == b.strides and a.ctypes.data == b.ctypes.data


def _mixed(matrices: Array[np.object_], kspace: Array[np.complex64]) -> Array[np.complex64]:
    """Mix the coils of a buffer, into a new one."""
    return _mixed_in_place(matrices, np.array(kspace, order="C"))


def _mixed_in_place(matrices: Array[np.object_], kspace: Array[np.complex64]) -> Array[np.complex64]:
    """Mix the coils of a buffer in its own memory; what has no coefficients of its own takes the last ones."""
    if not kspace.flags.c_contiguous:
        kspace = np.ascontiguousarray(kspace)
    n_modes = len(matrices[0, 0, 0])
    last = [size - 1 for size in matrices.shape]
    for place in np.ndindex(*kspace.shape[:3]):
        matrix = matrices[tuple(min(index, end) for index, end in zip(place, last, strict=True))]
        coils = kspace[place].reshape(kspace.shape[3], -1)
        for first in range(0, coils.shape[1], SAMPLES_AT_ONCE):
            samples = coils[:, first : first + SAMPLES_AT_ONCE]
            samples[:n_modes] = np.matmul(matrix, samples)
    return kspace[:, :, :, :n_modes]
