"""Recon data as foreign modules see it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.external import constants
from gadgetron.external.readers import (
    Source,
    read,
    read_acquisition_header,
    read_array,
    read_object_array,
    read_optional,
)
from gadgetron.external.writers import (
    Destination,
    write_acquisition_header,
    write_array,
    write_object_array,
    write_optional,
)
from gadgetron.limits import check

MAX_ENCODING_SPACES = 1024


class SamplingLimit(ctypes.Structure):
    """First and last sampled position along one axis of a buffer, and where k-space center is: min, center, max."""

    _fields_ = (("min", ctypes.c_uint16), ("center", ctypes.c_uint16), ("max", ctypes.c_uint16))

    def __iter__(self) -> Iterator[int]:
        return iter((self.min, self.center, self.max))


class SamplingDescription(ctypes.Structure):
    """Geometry of a buffer: fields of view [mm], matrices and sampled ranges along E0, E1, E2. 56 bytes."""

    _fields_ = (
        ("encoded_FOV", ctypes.c_float * 3),
        ("recon_FOV", ctypes.c_float * 3),
        ("encoded_matrix", ctypes.c_uint16 * 3),
        ("recon_matrix", ctypes.c_uint16 * 3),
        ("sampling_limits", SamplingLimit * 3),
    )


class ReconBuffer:
    """K-space on a grid.

    Attributes
    ----------
    data
        Shape (E0, E1, E2, CHA, N, S, LOC), complex64, in Fortran order; zero where nothing was acquired.
    trajectory
        Shape (dimensions, E0, E1, E2, N, S, LOC), float32, or None.
    density
        Shape (E0, E1, E2, N, S, LOC), float32, or None.
    headers
        Shape (E1, E2, N, S, LOC): AcquisitionHeader objects, all zero where nothing was acquired.
    sampling
        A SamplingDescription.
    """

    def __init__(
        self,
        data: NDArray[np.complex64],
        trajectory: NDArray[np.float32] | None,
        density: NDArray[np.float32] | None,
        headers: NDArray[np.object_],
        sampling_description: SamplingDescription,
    ) -> None:
        self.data = data
        self.trajectory = trajectory
        self.density = density
        self.headers = headers
        self.sampling = sampling_description


class ReconBit:
    """One encoding space: `data`, the imaging buffer, and `ref`, the calibration buffer or None."""

    def __init__(self, buffer: ReconBuffer, reference: ReconBuffer | None = None) -> None:
        self.data = buffer
        self.ref = reference


class ReconData:
    """What is reconstructed together: `bits`, one for each encoding space; can be indexed and iterated over."""

    def __init__(self, bits: Sequence[ReconBit]) -> None:
        self.bits = list(bits)

    def __getitem__(self, item: int) -> ReconBit:
        return self.bits[item]

    def __iter__(self) -> Iterator[ReconBit]:
        return iter(self.bits)

    def __len__(self) -> int:
        return len(self.bits)


def read_recon_data(source: Source) -> ReconData:
    """Read recon data."""
    return ReconData(read_recon_bits(source))


def read_recon_bits(source: Source) -> list[ReconBit]:
    """Read a number of encoding spaces, and these."""
    count = read(source, constants.uint64)
    check("encoding spaces of recon data", count, MAX_ENCODING_SPACES)
    return [read_recon_bit(source) for _ in range(count)]


def read_recon_bit(source: Source) -> ReconBit:
    """Read an encoding space: a buffer, and another one if there is calibration data."""
    buffer = read_recon_buffer(source)
    return ReconBit(buffer, read_optional(source, read_recon_buffer))


def read_recon_buffer(source: Source) -> ReconBuffer:
    """Read a buffer."""
    data = read_array(source, np.complex64)
    trajectory = read_optional(source, read_array, np.float32)
    density = read_optional(source, read_array, np.float32)
    headers = read_object_array(source, read_acquisition_header)
    return ReconBuffer(data, trajectory, density, headers, read_sampling_description(source))


def read_sampling_description(source: Source) -> SamplingDescription:
    """Read the geometry of a buffer (56 bytes)."""
    return SamplingDescription.from_buffer_copy(source.read(ctypes.sizeof(SamplingDescription)))


def write_recon_data(destination: Destination, recon_data: ReconData) -> None:
    """Write recon data."""
    start = constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_RECON_DATA)
    destination.write(start + constants.uint64.pack(len(recon_data.bits)))
    for bit in recon_data.bits:
        write_recon_bit(destination, bit)


def write_recon_bit(destination: Destination, bit: ReconBit) -> None:
    """Write an encoding space."""
    write_recon_buffer(destination, bit.data)
    write_optional(destination, bit.ref, write_recon_buffer)


def write_recon_buffer(destination: Destination, buffer: ReconBuffer) -> None:
    """Write a buffer."""
    write_array(destination, buffer.data, np.complex64)
    write_optional(destination, buffer.trajectory, write_array, np.float32)
    write_optional(destination, buffer.density, write_array, np.float32)
    write_object_array(destination, buffer.headers, _write_header)
    write_sampling_description(destination, buffer.sampling)


def write_sampling_description(destination: Destination, description: SamplingDescription) -> None:
    """Write the geometry of a buffer."""
    destination.write(bytes(description))


def _write_header(destination: Destination, header: ismrmrd.AcquisitionHeader | None) -> None:
    write_acquisition_header(destination, ismrmrd.AcquisitionHeader() if header is None else header)
