"""How ISMRMRD lays its headers and arrays out in HDF5; the structures are those of ISMRMRD's C library, packed."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

# ISMRMRD names them: the layouts are those of the ctypes structures byte for byte, see tests/unit/test_dataset.py.
from ismrmrd.hdf5 import acquisition_header_dtype, image_header_dtype, waveform_header_dtype
from numpy.typing import NDArray

__all__ = [
    "ACQUISITION_DTYPE",
    "ACQUISITION_HEADER_DTYPE",
    "ATTRIBUTES_DTYPE",
    "IMAGE_HEADER_DTYPE",
    "WAVEFORM_DTYPE",
    "WAVEFORM_HEADER_DTYPE",
    "from_stored",
    "to_header_layout",
    "to_stored",
]

ACQUISITION_HEADER_DTYPE: np.dtype[Any] = acquisition_header_dtype
IMAGE_HEADER_DTYPE: np.dtype[Any] = image_header_dtype
WAVEFORM_HEADER_DTYPE: np.dtype[Any] = waveform_header_dtype

ACQUISITION_DTYPE = np.dtype(
    [
        ("head", ACQUISITION_HEADER_DTYPE),
        ("traj", h5py.vlen_dtype(np.dtype("<f4"))),
        ("data", h5py.vlen_dtype(np.dtype("<f4"))),
    ]
)
WAVEFORM_DTYPE = np.dtype([("head", WAVEFORM_HEADER_DTYPE), ("data", h5py.vlen_dtype(np.dtype("<u4")))])
ATTRIBUTES_DTYPE = h5py.string_dtype("ascii")  # what the C++ client declares; the bytes themselves may be UTF-8

_COMPLEX_64 = np.dtype([("real", "<f4"), ("imag", "<f4")])
_COMPLEX_128 = np.dtype([("real", "<f8"), ("imag", "<f8")])


def to_header_layout(heads: NDArray[np.void], wanted: np.dtype[Any]) -> NDArray[np.void]:
    """Bring headers as stored into the layout of the C structure, whatever order or padding the writer chose.

    Raises
    ------
    KeyError
        If a field is missing.
    """
    if heads.dtype == wanted:
        return heads
    missing = set(wanted.names or ()) - set(heads.dtype.names or ())
    if missing:
        raise KeyError(f"headers without the field(s) {', '.join(sorted(missing))}")
    result = np.zeros(heads.shape, wanted)
    for name in wanted.names or ():
        field = wanted[name]
        result[name] = to_header_layout(heads[name], field) if field.names else heads[name]
    return result


def to_stored(array: NDArray[Any]) -> NDArray[Any]:
    """View complex numbers as the (real, imag) pairs that ISMRMRD stores; other types stay as they are."""
    array = np.ascontiguousarray(array)
    if array.dtype == np.complex64:
        return array.view(_COMPLEX_64)
    if array.dtype == np.complex128:
        return array.view(_COMPLEX_128)
    return array


def from_stored(array: NDArray[Any]) -> NDArray[Any]:
    """View stored pairs of floats, however their two fields are called, as complex numbers."""
    fields = [array.dtype[name] for name in array.dtype.names or ()]
    if len(fields) == 2 and fields[0] == fields[1] and fields[0] in (np.dtype("<f4"), np.dtype("<f8")):
        return array.view(np.complex64 if fields[0].itemsize == 4 else np.complex128)
    return array
