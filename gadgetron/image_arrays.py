"""What image arrays say about themselves: headers and meta attributes, as the generic reconstructions write them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import ismrmrd
import numpy as np

from gadgetron._version import __version__
from gadgetron.acquisition import make_image_header
from gadgetron.recon_types import ImageArray, ReconBuffer, SamplingDescription, empty_objects

if TYPE_CHECKING:
    from gadgetron.header import Encoding, IsmrmrdHeader

__all__ = [
    "DATA_ROLE",
    "IMAGE_COMMENT",
    "ROLE_GFACTOR",
    "ROLE_IMAGE",
    "ROLE_SNR_MAP",
    "ROLE_STD_MAP",
    "SCALE_RATIO",
    "SEQUENCE_DESCRIPTION",
    "SKIP_PROCESSING",
    "USE_DEDICATED_SCALING",
    "append_meta",
    "describe_images",
    "first_meta",
    "label_images",
    "meta_numbers",
    "number_text",
    "part_of",
    "slice_of",
]

DATA_ROLE: Final = "GADGETRON_DataRole"
IMAGE_COMMENT: Final = "GADGETRON_ImageComment"
IMAGE_NUMBER: Final = "GADGETRON_ImageNumber"
PROCESSING_HISTORY: Final = "GADGETRON_ImageProcessingHistory"
SCALE_RATIO: Final = "GADGETRON_ScaleRatio"
SEQUENCE_DESCRIPTION: Final = "GADGETRON_SeqDescription"
SKIP_PROCESSING: Final = "Skip_processing_after_recon"
USE_DEDICATED_SCALING: Final = "Use_dedicated_scaling_factor"

ROLE_IMAGE: Final = "Image"
ROLE_GFACTOR: Final = "Gfactor"
ROLE_SNR_MAP: Final = "SNR_MAP"
ROLE_STD_MAP: Final = "STD_MAP"

# what is appended to the image comment and to the sequence description
_ROLE_TEXTS = {
    ROLE_IMAGE: ("GT", "_GT"),
    ROLE_GFACTOR: ("Gfactor", "Gfactor"),
    ROLE_SNR_MAP: ("SNR_MAP", "SNR_MAP"),
}
_NEVER = 2**32 - 1  # smallest time of no readouts at all
_COUNTERS = ("average", "repetition", "set", "phase", "contrast", "slice")  # of image numbers, slowest first


def number_text(value: float) -> str:
    """Write a number as C++ streams do: six significant digits."""
    return f"{value:.6g}"


def append_meta(meta: ismrmrd.Meta, name: str, value: str) -> None:
    """Add a value to an attribute, after those that it has."""
    earlier = meta.get(name)
    if earlier is None:
        meta[name] = value
    else:
        meta[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]


def first_meta(array: ImageArray) -> ismrmrd.Meta:
    """Give the meta attributes of the first image, which stand for all; none if it has none."""
    meta = array.meta.flat[0] if array.meta.size else None
    return ismrmrd.Meta() if meta is None else meta


def meta_numbers(meta: ismrmrd.Meta, name: str, n: int) -> tuple[float, ...] | None:
    """Read an attribute of n numbers; None if there is no such attribute, or it is something else."""
    values = meta.get(name)
    texts = values if isinstance(values, list) else [values]
    if values is None or len(texts) != n:
        return None
    try:
        return tuple(float(text) for text in texts)
    except (TypeError, ValueError):
        return None


def describe_images(
    images: Any, buffer: ReconBuffer, header: IsmrmrdHeader, space: int, waveforms: Sequence[Any] = ()
) -> ImageArray:
    """Make an image array of reconstructed images, with headers and meta attributes from what they were made of.

    Parameters
    ----------
    images
        Shape (LOC, S, N, CHA, z, y, x), complex64.
    buffer
        K-space of the images.
    header
        Of the measurement.
    space
        Number of the encoding space.
    waveforms
        Recorded meanwhile.
    """
    _, _, _, n_channels, n_z, n_y, n_x = images.shape
    shape = images.shape[:3]
    headers, metas = empty_objects(shape), empty_objects(shape)
    common = _common_meta(buffer.sampling, header, space)
    for loc, s, n in np.ndindex(*shape):
        acquisition = buffer.center_header(loc, s, n)
        image_header = make_image_header(
            acquisition,
            channels=n_channels,
            matrix_size=(n_x, n_y, n_z),
            field_of_view=buffer.sampling.recon_FOV,
        )
        image_header.image_type = ismrmrd.IMTYPE_MAGNITUDE
        if acquisition is not None:
            image_header.physiology_time_stamp[:] = acquisition.physiology_time_stamp[:]
            image_header.user_int[:] = acquisition.user_int[:]
            image_header.user_float[:] = acquisition.user_float[:]
        headers[loc, s, n] = image_header
        metas[loc, s, n] = _image_meta(common, image_header, buffer.headers[loc, s, n])
    return ImageArray(images, headers, metas, list(waveforms), buffer.headers)


def _common_meta(sampling: SamplingDescription, header: IsmrmrdHeader, space: int) -> dict[str, str | list[str]]:
    limits = {
        f"sampling_limits_{axis}": [str(limit.min), str(limit.center), str(limit.max)]
        for axis, limit in zip(("RO", "E1", "E2"), sampling.sampling_limits, strict=True)
    }
    measurement = header.measurementInformation
    measurement_id = (measurement.measurementID if measurement else None) or ""
    parts = measurement_id.split("_", 3)
    device, patient, study, number = [
        # each of them ends at an underscore, the last one at the end
        parts[i] if i + 1 < len(parts) or (i == 3 and len(parts) == 4) else ""
        for i in range(4)
    ]
    return {
        "encoding": str(space),
        "encoding_FOV": [number_text(value) for value in sampling.encoded_FOV],
        "recon_FOV": [number_text(value) for value in sampling.recon_FOV],
        "encoded_matrix": [str(value) for value in sampling.encoded_matrix],
        "recon_matrix": [str(value) for value in sampling.recon_matrix],
        **limits,
        "gadgetron_sha1": __version__,
        "measurementID": measurement_id,
        "protocolName": (measurement.protocolName if measurement else None) or "Unknown",
        "deviceID": device,
        "patientID": patient,
        "studyID": study,
        "measurementNumber": number,
        "patient_position": (measurement.patientPosition if measurement else None) or "",
    }


def _image_meta(common: dict[str, str | list[str]], header: ismrmrd.ImageHeader, acquisitions: Any) -> ismrmrd.Meta:
    meta = ismrmrd.Meta()
    meta.update(copy.deepcopy(common))
    meta["PatientPosition"] = [number_text(value) for value in header.position]
    for name in ("read_dir", "phase_dir", "slice_dir", "patient_table_position"):
        meta[name] = [number_text(value) for value in getattr(header, name)]
    meta["acquisition_time_stamp"] = str(header.acquisition_time_stamp)
    meta["physiology_time_stamp"] = [str(value) for value in header.physiology_time_stamp]
    meta["acquisition_time_range"], meta["physiology_time_range"] = _time_ranges(acquisitions.flat)
    for name in ("user_int", "user_float"):
        for i, value in enumerate(getattr(header, name)):
            meta[f"{name}_{i}"] = str(int(value)) if np.isfinite(value) else "0"
    return meta


def _time_ranges(acquisitions: Iterable[ismrmrd.AcquisitionHeader | None]) -> tuple[list[str], list[str]]:
    """Give first and last time stamp, and first and last of each physiological one, of the readouts that have any."""
    stamps = [
        (header.acquisition_time_stamp, *header.physiology_time_stamp)
        for header in acquisitions
        if header is not None and header.acquisition_time_stamp > 0
    ]
    ranges = [(min(column), max(column)) for column in zip(*stamps, strict=True)] or [(_NEVER, 0)] * 4
    texts = [[str(first), str(last)] for first, last in ranges]
    return texts[0], [text for pair in texts[1:] for text in pair]


def part_of(array: ImageArray, images: Any) -> ImageArray:
    """Make an image array of maps that go with another's first images: headers and meta attributes are copied."""
    n_loc, n_s, n_n = images.shape[:3]
    headers, metas = empty_objects((n_loc, n_s, n_n)), empty_objects((n_loc, n_s, n_n))
    for place in np.ndindex(n_loc, n_s, n_n):
        headers[place] = ismrmrd.ImageHeader.from_buffer_copy(array.headers[place])
        metas[place] = copy.deepcopy(array.meta[place])
    return ImageArray(images, headers, metas, array.waveforms, array.acquisition_headers)


def label_images(array: ImageArray, encoding: Encoding, series: int, role: str) -> None:
    """Give images numbers, and say in their meta attributes what they are.

    Parameters
    ----------
    array
        Changed.
    encoding
        Its limits are the sizes that image numbers are counted with.
    series
        Series number.
    role
        One of ROLE_*.
    """
    n_channels, n_z = array.data.shape[3:5]
    limits = encoding.encodingLimits
    comment, description = _ROLE_TEXTS.get(role, (role, role))
    for place in np.ndindex(*array.headers.shape):
        header: Any = array.headers[place]
        meta: Any = array.meta[place]
        number = 0
        for counter in _COUNTERS:
            limit = getattr(limits, counter)
            number = number * ((limit.maximum if limit else 0) + 1) + getattr(header, counter)
        header.image_index = (number * n_z * n_channels + 1) & 0xFFFF
        header.image_series_index = series & 0xFFFF
        header.image_type = ismrmrd.IMTYPE_MAGNITUDE
        meta[IMAGE_NUMBER] = str(header.image_index)
        meta[PROCESSING_HISTORY] = "GT"
        append_meta(meta, IMAGE_COMMENT, comment)
        append_meta(meta, SEQUENCE_DESCRIPTION, description)
        meta[DATA_ROLE] = role
        if role == ROLE_GFACTOR:
            meta[SKIP_PROCESSING] = "1"


def slice_of(buffer: ReconBuffer) -> int:
    """Give the slice that a buffer is of, or -1 if slices are an axis of it."""
    if buffer.headers.shape[0] != 1:
        return -1
    headers: Any = buffer.headers.flat
    return next((int(header.idx.slice) for header in headers if header is not None), -1)
