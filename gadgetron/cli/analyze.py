"""Analyze 7.5 headers: the old format of two files that many image viewers still read."""

from __future__ import annotations

import struct
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 348

_KEY = struct.Struct("<i10s18sihcc")
_DIMENSION = struct.Struct("<8h7hhhh8f8fii")
_HISTORY = struct.Struct("<80s24sc10s10s10s10s10s10s3s8i")

# The types of 1989, and those that SPM and NIfTI added.
_DATA_TYPES = {
    np.dtype("int16"): 4,
    np.dtype("int32"): 8,
    np.dtype("float32"): 16,
    np.dtype("complex64"): 32,
    np.dtype("float64"): 64,
    np.dtype("uint16"): 512,
    np.dtype("uint32"): 768,
    np.dtype("complex128"): 1792,
}


def analyze_name(header: ismrmrd.ImageHeader) -> str:
    """Name of an image's files: its counters, its number and its series."""
    return (
        f"SLC{header.slice}_CON{header.contrast}_PHS{header.phase}_REP{header.repetition}_"
        f"SET{header.set}_AVE{header.average}_{header.image_index}_{header.image_series_index}"
    )


def analyze_header(header: ismrmrd.ImageHeader, data: NDArray[Any]) -> bytes:
    """Make the header file for an image.

    Parameters
    ----------
    header
        Its field of view [mm] gives the size of the voxels.
    data
        Shape (channels, z, y, x). The image file is this array as it lies in memory.
    """
    n_channels, z, y, x = data.shape
    extents = (4, x, y, z, n_channels, 1, 1, 1)
    voxel_mm = [fov / n if n else 0.0 for fov, n in zip(header.field_of_view, (x, y, z), strict=True)]
    key = _KEY.pack(HEADER_BYTES, b"", b"", 16384, 0, b"r", b"\0")
    dimension = _DIMENSION.pack(
        *extents,
        *(0,) * 7,
        _DATA_TYPES[data.dtype],
        8 * data.dtype.itemsize,
        0,
        *(0.0, *voxel_mm, 1.0, 0.0, 0.0, 0.0),
        *(0.0,) * 8,
        *(0, 0),
    )
    history = _HISTORY.pack(b"", b"", b"\0", b"", b"", b"", b"", b"", b"", b"", *(0,) * 8)
    return key + dimension + history
