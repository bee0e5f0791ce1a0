"""The numbers of an ISMRMRD acquisition header, all read in one go.

Each access to a field of a ctypes structure costs as much as unpacking the whole of it: what a gadget needs of
thousands of headers per second is read here once.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import ismrmrd

ISMRMRD_VERSION: Final = 1

COUNTERS: Final = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
    *(f"user_{i}" for i in range(8)),
)

FLAG_LAST_IN_SLICE: Final = 1 << (ismrmrd.ACQ_LAST_IN_SLICE - 1)
FLAG_NOISE: Final = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)
FLAG_CALIBRATION: Final = 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
FLAG_CALIBRATION_AND_IMAGING: Final = 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING - 1)
FLAG_REVERSE: Final = 1 << (ismrmrd.ACQ_IS_REVERSE - 1)
FLAG_PHASE_CORRECTION: Final = 1 << (ismrmrd.ACQ_IS_PHASECORR_DATA - 1)
FLAG_SURFACE_COIL_CORRECTION: Final = 1 << (ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA - 1)
FLAGS_NOT_IMAGING: Final = (
    FLAG_NOISE
    | FLAG_SURFACE_COIL_CORRECTION
    | 1 << (ismrmrd.ACQ_IS_NAVIGATION_DATA - 1)
    | 1 << (ismrmrd.ACQ_IS_HPFEEDBACK_DATA - 1)
    | 1 << (ismrmrd.ACQ_IS_DUMMYSCAN_DATA - 1)
    | 1 << (ismrmrd.ACQ_IS_RTFEEDBACK_DATA - 1)
    | 1 << (ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE - 1)
    | 1 << (ismrmrd.ACQ_IS_PHASE_STABILIZATION - 1)
)
"""Readouts that are in no image and no calibration: noise, feedback, navigators, dummies, references of other kinds."""

# version, uid, stamps and the channel mask are skipped; so are the directions between sample_time_us and idx
_LAYOUT = struct.Struct("<2xQ4xI16x3H128x5Hf60x17H64x")


class AcquisitionFields(NamedTuple):
    """The numbers of an acquisition header. `idx` has the counters in the order of COUNTERS."""

    flags: int
    scan_counter: int
    number_of_samples: int
    available_channels: int
    active_channels: int
    discard_pre: int
    discard_post: int
    center_sample: int
    encoding_space_ref: int
    trajectory_dimensions: int
    sample_time_us: float
    idx: tuple[int, ...]


def acquisition_fields(header: ismrmrd.AcquisitionHeader) -> AcquisitionFields:
    """Read the numbers of a header."""
    values = _LAYOUT.unpack_from(header)
    return AcquisitionFields._make((*values[:11], values[11:]))


def make_image_header(
    acquisition: ismrmrd.AcquisitionHeader | None,
    *,
    channels: int,
    matrix_size: tuple[int, int, int],
    field_of_view: tuple[float, float, float],
    data_type: int = ismrmrd.DATATYPE_CXFLOAT,
) -> ismrmrd.ImageHeader:
    """Make the header of an image from that of one of its readouts.

    Parameters
    ----------
    acquisition
        The readout that stands for all, usually the one nearest to k-space center; None leaves geometry and counters
        zero.
    channels, matrix_size
        The image's shape; matrix_size is (x, y, z).
    field_of_view
        Edge lengths along x, y, z [mm].
    data_type
        One of ismrmrd.DATATYPE_*.
    """
    header = ismrmrd.ImageHeader()
    header.version = ISMRMRD_VERSION
    header.data_type = data_type
    header.channels = channels
    header.matrix_size[:] = matrix_size
    header.field_of_view[:] = field_of_view
    if acquisition is not None:
        header.measurement_uid = acquisition.measurement_uid
        header.acquisition_time_stamp = acquisition.acquisition_time_stamp
        for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
            getattr(header, name)[:] = getattr(acquisition, name)[:]
        idx = acquisition.idx
        for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
            setattr(header, name, getattr(idx, name))
    return header
