"""The entities that carry arrays, as they are on the wire: acquisition, waveform, image."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.limits import check
from gadgetron.protocol.arrays import contiguous, size_bytes
from gadgetron.protocol.entity.frames import HEAD_BYTES, FrameHead, wrong_length
from gadgetron.protocol.entity.tables import STORAGE, EntityType, StorageType, storage_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gadgetron.protocol.byte_stream import ByteStream

COORDINATE = np.dtype("<f4")
WAVEFORM_SAMPLE = np.dtype("<f8")

_DIRECTIONS = [
    (name, "<f4", 3) for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
]
_USER = [("user_int", "<i4", 8), ("user_float", "<f4", 8)]
COUNTERS = (
    "kspace_encode_step_0",
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)

ACQUISITION_FIELDS = np.dtype(
    [
        ("time_stamp", "<u8"),
        ("flags", "<u8"),
        ("scan_counter", "<u4"),
        ("physiology_time_stamp", "<u4", 3),
        ("number_of_samples", "<u4"),
        ("available_channels", "<u4"),
        ("active_channels", "<u4"),
        ("channel_mask", "<u8", 16),
        ("discard_pre", "<u4"),
        ("discard_post", "<u4"),
        ("center_sample", "<u4"),
        ("encoding_space_ref", "<u4"),
        ("trajectory_dimensions", "<u4"),
        ("dwell_time_ns", "<u4"),
        *_DIRECTIONS,
        ("idx", [*((name, "<u4") for name in COUNTERS), ("user", "<u4", 8)]),
        *_USER,
    ]
)
"""Layout of an acquisition's header behind the entity header."""

IMAGE_FIELDS = np.dtype(
    [
        ("time_stamp", "<u8"),
        ("flags", "<u8"),
        ("matrix_size", "<u4", 3),
        ("field_of_view", "<f4", 3),
        ("channels", "<u4"),
        *_DIRECTIONS,
        *((name, "<u4") for name in ("average", "slice", "contrast", "phase", "repetition", "set")),
        ("physiology_time_stamp", "<u4", 3),
        ("image_type", "<u4"),
        ("image_index", "<u4"),
        ("image_series_index", "<u4"),
        *_USER,
        ("attribute_string_len", "<u4"),
    ]
)
"""Layout of an image's header behind the entity header."""

WAVEFORM_FIELDS = np.dtype(
    [
        ("begin_time_stamp", "<u8"),
        ("end_time_stamp", "<u8"),
        ("dwell_time_ns", "<u4"),
        ("number_of_samples", "<u4"),
        *_USER,
    ]
)
"""Layout of a waveform's header behind the entity header."""

ACQUISITION_HEADER_BYTES = HEAD_BYTES + ACQUISITION_FIELDS.itemsize
IMAGE_HEADER_BYTES = HEAD_BYTES + IMAGE_FIELDS.itemsize
WAVEFORM_HEADER_BYTES = HEAD_BYTES + WAVEFORM_FIELDS.itemsize

_ACQUISITION_BYTES = ACQUISITION_FIELDS.itemsize
_ACQUISITION_SIZES = struct.Struct("<32xI4xI144xI200x")  # number_of_samples, active_channels, trajectory_dimensions
_IMAGE_SIZES = struct.Struct("<16x3I12xI172xI")  # matrix_size, channels, attribute_string_len
_WAVEFORM_SIZES = struct.Struct("<20xI64x")


@dataclass(slots=True)
class Acquisition:
    """One readout.

    Attributes
    ----------
    header
        392 bytes, as ACQUISITION_FIELDS has them.
    samples
        Shape (channels, samples), complex64 or complex128; of integers real and imaginary parts, shape (channels,
        samples, 2).
    trajectory
        Shape (samples, dimensions), float32; None without dimensions.
    """

    entity_type: ClassVar[EntityType] = EntityType.ACQUISITION

    header: bytes | memoryview
    samples: NDArray[Any] = field(repr=False)
    trajectory: NDArray[np.float32] | None = field(default=None, repr=False)
    stream: int = 0
    storage_type: int = StorageType.FLOAT

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header; the arrays are views of the receive block."""
        storage = STORAGE.get(head.storage_type)
        if storage is None or storage.component is None:
            raise MalformedMessageError(
                f"storage type of an acquisition is {storage_name(head.storage_type)} — known are 2, 4, 7 to 10"
            )
        if head.n_bytes < _ACQUISITION_BYTES:
            raise wrong_length(head, _ACQUISITION_BYTES, "its header")
        header = stream.read_exactly(_ACQUISITION_BYTES)
        n_samples, n_channels, n_dimensions = _ACQUISITION_SIZES.unpack(header)
        component = storage.component
        data_bytes = 2 * component.itemsize * n_samples * n_channels
        trajectory_bytes = 4 * n_samples * n_dimensions
        n_bytes = _ACQUISITION_BYTES + trajectory_bytes + data_bytes
        message_bytes = 8 * n_samples * n_channels + trajectory_bytes
        limit = stream.limits.max_acquisition_bytes
        if message_bytes > limit or n_bytes != head.n_bytes:
            sizes = f"number_of_samples {n_samples}, active_channels {n_channels}, trajectory_dimensions {n_dimensions}"
            check(f"acquisition bytes ({sizes})", message_bytes, limit)
            raise wrong_length(head, n_bytes, sizes)
        trajectory: NDArray[np.float32] | None = None
        if n_dimensions:
            trajectory = np.ndarray((n_samples, n_dimensions), COORDINATE, stream.read_exactly(trajectory_bytes))
        body = stream.read_exactly(data_bytes)
        samples: NDArray[Any]
        if storage.sample is not None:
            samples = np.ndarray((n_channels, n_samples), storage.sample, body)
        else:
            samples = np.ndarray((n_channels, n_samples, 2), component, body)
        return cls(header, samples, trajectory, head.stream, head.storage_type)

    @property
    def fields(self) -> np.void:
        """The header's fields by name."""
        return _record(self.header, ACQUISITION_FIELDS)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        parts: list[Any] = [self.header]
        if self.trajectory is not None and self.trajectory.size:
            parts.append(contiguous(self.trajectory, COORDINATE))
        if self.samples.size:
            parts.append(contiguous(self.samples, self.samples.dtype.newbyteorder("<")))
        return parts


@dataclass(slots=True)
class Waveform:
    """A piece of a physiological signal.

    Attributes
    ----------
    header
        88 bytes, as WAVEFORM_FIELDS has them.
    samples
        Shape (number_of_samples,), float64.
    """

    entity_type: ClassVar[EntityType] = EntityType.WAVEFORM

    header: bytes | memoryview
    samples: NDArray[np.float64] = field(repr=False)
    stream: int = 0
    storage_type: int = StorageType.DOUBLE

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header."""
        if head.storage_type != StorageType.DOUBLE:
            raise MalformedMessageError(
                f"storage type of a waveform is {storage_name(head.storage_type)} — expected {storage_name(8)}"
            )
        header_bytes = WAVEFORM_FIELDS.itemsize
        if head.n_bytes < header_bytes:
            raise wrong_length(head, header_bytes, "its header")
        header = stream.read_exactly(header_bytes)
        (n_samples,) = _WAVEFORM_SIZES.unpack(header)
        what = f"number_of_samples {n_samples}"
        check(f"waveform bytes ({what})", 4 * n_samples, stream.limits.max_waveform_bytes)
        data_bytes = WAVEFORM_SAMPLE.itemsize * n_samples
        if header_bytes + data_bytes != head.n_bytes:
            raise wrong_length(head, header_bytes + data_bytes, what)
        samples: NDArray[np.float64] = np.ndarray((n_samples,), WAVEFORM_SAMPLE, stream.read_exactly(data_bytes))
        return cls(header, samples, head.stream, head.storage_type)

    @property
    def fields(self) -> np.void:
        """The header's fields by name."""
        return _record(self.header, WAVEFORM_FIELDS)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        return [self.header, contiguous(self.samples, WAVEFORM_SAMPLE)] if self.samples.size else [self.header]


@dataclass(slots=True)
class Image:
    """One image.

    Attributes
    ----------
    header
        220 bytes, as IMAGE_FIELDS has them.
    attributes
        Meta attributes, as XML; empty if there are none.
    pixels
        Shape (channels, z, y, x), of the storage type.
    """

    entity_type: ClassVar[EntityType] = EntityType.IMAGE

    header: bytes | memoryview
    attributes: bytes
    pixels: NDArray[Any] = field(repr=False)
    stream: int = 0
    storage_type: int = StorageType.FLOAT

    @classmethod
    def read(cls, stream: ByteStream, head: FrameHead) -> Self:
        """Read what is behind the entity header; the pixels are a view of the received bytes."""
        storage = STORAGE.get(head.storage_type)
        if storage is None:
            raise MalformedMessageError(
                f"storage type of an image is {storage_name(head.storage_type)} — known are 0 to 10"
            )
        limits = stream.limits
        header_bytes = IMAGE_FIELDS.itemsize
        if head.n_bytes < header_bytes:
            raise wrong_length(head, header_bytes, "its header")
        header = stream.read_exactly(header_bytes)
        x, y, z, channels, attribute_bytes = _IMAGE_SIZES.unpack(header)
        shape = (channels, z, y, x)
        pixel_bytes = size_bytes(shape, storage.pixel)
        what = f"channels {channels}, matrix_size {x} x {y} x {z}, {storage.pixel.name}"
        check(f"image bytes ({what})", pixel_bytes, limits.max_image_bytes)
        check("attribute_string_len", attribute_bytes, limits.max_attribute_bytes)
        n_bytes = header_bytes + attribute_bytes + pixel_bytes
        if n_bytes != head.n_bytes:
            raise wrong_length(head, n_bytes, f"{what}, attribute_string_len {attribute_bytes}")
        attributes = bytes(stream.read_exactly(attribute_bytes))
        pixels: NDArray[Any] = np.ndarray(shape, storage.pixel, stream.read_exactly(pixel_bytes))
        return cls(header, attributes, pixels, head.stream, head.storage_type)

    @property
    def fields(self) -> np.void:
        """The header's fields by name."""
        return _record(self.header, IMAGE_FIELDS)

    def parts(self) -> list[Any]:
        """Give the bytes behind the entity header."""
        parts: list[Any] = [bytes(self.header) + self.attributes]
        if self.pixels.size:
            parts.append(contiguous(self.pixels, self.pixels.dtype.newbyteorder("<")))
        return parts


def _record(header: bytes | memoryview, layout: np.dtype[np.void]) -> np.void:
    record: np.void = np.frombuffer(header, layout)[0]
    return record
