"""From entities to the messages that gadgets know, and back. Gadgets never learn which protocol their data came by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ismrmrd import AcquisitionHeader, ImageHeader, Meta, WaveformHeader

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.limits import Limits, check
from gadgetron.message import (
    BLOCK_OVERHEAD_BYTES,
    Array,
    GadgetContainerMessage,
    MessageBlock,
    ParametersMessage,
    as_container_message,
)
from gadgetron.meta import parse_meta, serialize_meta
from gadgetron.protocol.arrays import IMAGE_DATA_TYPES, IMAGE_DTYPE_NAMES
from gadgetron.protocol.entity.control import Blob, XmlHeader
from gadgetron.protocol.entity.data import ACQUISITION_HEADER_BYTES, Acquisition, Image, Waveform
from gadgetron.protocol.entity.entities import DataEntity
from gadgetron.protocol.entity.headers import (
    MAX_U32,
    acquisition_header,
    entity_acquisition_header,
    entity_image_header,
    entity_waveform_header,
    image_header,
    waveform_header,
)
from gadgetron.protocol.entity.tables import PIXEL_STORAGE, STORAGE, StorageType

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPLEX = np.dtype("<c8")

FORMS: tuple[tuple[Any, str], ...] = (
    (AcquisitionHeader, "acquisition"),
    (WaveformHeader, "waveform"),
    (ImageHeader, "image"),
    (bytes, "blob"),
)
"""First block of the messages that have an entity form. A blob is bytes and str, as a DICOM file with its name is."""


def has_entity_form(message_types: Sequence[tuple[Any, ...]]) -> bool:
    """Tell whether messages of one of these types can be entities."""
    firsts = [first for first, _ in FORMS]
    return any(bool(types) and types[0] in firsts for types in message_types)


def to_message(entity: DataEntity, limits: Limits) -> MessageBlock:
    """Make the message of an entity: what the classic protocol's reader would have made.

    Raises
    ------
    LimitExceeded
        If a value is larger than the message has room for; the error names the field.
    MalformedMessageError
        If the content makes no sense.
    """
    if isinstance(entity, Acquisition):
        return _acquisition_message(entity)
    if isinstance(entity, Waveform):
        return _waveform_message(entity)
    if isinstance(entity, Image):
        return _image_message(entity, limits)
    name = entity.description.rstrip(b"\0").decode("utf-8", errors="replace")
    message = GadgetContainerMessage(entity.data, GadgetContainerMessage(name))
    message.charge(BLOCK_OVERHEAD_BYTES + len(entity.data))
    return message


def _acquisition_message(entity: Acquisition) -> MessageBlock:
    header = acquisition_header(entity.header)
    trajectory = None
    if entity.trajectory is not None:
        trajectory = GadgetContainerMessage(entity.trajectory)
        trajectory.charge(BLOCK_OVERHEAD_BYTES + entity.trajectory.nbytes)
    samples = entity.samples
    if samples.dtype != COMPLEX:
        samples = _as_complex64(samples)
    data = GadgetContainerMessage(samples, trajectory)
    data.charge(BLOCK_OVERHEAD_BYTES + samples.nbytes)
    message = GadgetContainerMessage(header, data)
    message.charge(BLOCK_OVERHEAD_BYTES + ACQUISITION_HEADER_BYTES)
    return message


def _as_complex64(samples: NDArray[Any]) -> NDArray[np.complex64]:
    if samples.dtype.kind == "i":
        pairs: NDArray[np.complex64] = samples.astype(np.float32).view(np.complex64)[..., 0]
        return pairs
    with np.errstate(over="ignore"):
        converted = samples.astype(np.complex64)
    if not np.array_equal(np.isinf(samples), np.isinf(converted)):
        raise MalformedMessageError("acquisition samples are too large for complex64")
    return converted


def _waveform_message(entity: Waveform) -> MessageBlock:
    header = waveform_header(entity.header)
    values = entity.samples
    with np.errstate(invalid="ignore"):
        converted = values.astype(np.uint32)
    wrong = np.flatnonzero(~((values >= 0) & (values <= MAX_U32) & (converted == values)))
    if wrong.size:
        raise MalformedMessageError(
            f"waveform sample {wrong[0]} is {values[wrong[0]]} — a message has whole numbers from 0 to {MAX_U32}"
        )
    data = GadgetContainerMessage(converted.reshape(header.channels, header.number_of_samples))
    return GadgetContainerMessage(header, data)


def _image_message(entity: Image, limits: Limits) -> MessageBlock:
    pixels = entity.pixels
    storage = STORAGE[entity.storage_type]
    charged_bytes = pixels.nbytes
    if storage.message_pixel != storage.pixel:
        pixels = _as_message_pixels(pixels, storage.message_pixel)
        charged_bytes = pixels.nbytes
    header = image_header(entity.header, IMAGE_DATA_TYPES[storage.message_pixel])
    text = entity.attributes.rstrip(b"\0")
    meta = GadgetContainerMessage(parse_meta(text, "an image", limits.max_attribute_bytes)) if text else None
    data = GadgetContainerMessage(pixels, meta)
    data.charge(BLOCK_OVERHEAD_BYTES + charged_bytes)
    return GadgetContainerMessage(header, data)


def _as_message_pixels(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    room = np.iinfo(dtype)
    for value in (pixels.min(initial=0), pixels.max(initial=0)):
        if not room.min <= value <= room.max:
            raise LimitExceeded(f"image pixel ({pixels.dtype.name})", int(value), room.max if value > 0 else room.min)
    return pixels.astype(dtype)


def from_message(message: MessageBlock, limits: Limits) -> DataEntity | XmlHeader:
    """Make the entity of a message. Its stream is for the caller to set.

    Raises
    ------
    MalformedMessageError
        If it has no entity form, or contradicts itself.
    LimitExceeded
        If its meta attributes, or its bytes, are longer than a reader would take.
    """
    if isinstance(message, ParametersMessage):
        return XmlHeader(message.data)
    if isinstance(message, GadgetContainerMessage):
        first = message.object
        if isinstance(first, AcquisitionHeader):
            return _acquisition_entity(first, message.cont)
        if isinstance(first, ImageHeader):
            return _image_entity(first, message.cont, limits)
        if isinstance(first, WaveformHeader):
            return _waveform_entity(first, message.cont)
        if isinstance(first, bytes):
            return _blob_entity(first, message.cont, limits)
    raise MalformedMessageError(f"{message!r} has no form in the framed protocol")


def _array(block: MessageBlock | None, expected: Any, shape: tuple[int, ...], what: str) -> NDArray[Any]:
    container = as_container_message(block, expected)
    if container is None or container.object.shape != shape:
        found = "is missing" if container is None else f"has shape {container.object.shape}"
        raise MalformedMessageError(f"{what} {found} — the header says {shape}")
    array: NDArray[Any] = container.object
    return array


def _acquisition_entity(header: AcquisitionHeader, block: MessageBlock | None) -> Acquisition:
    n_samples, n_channels = header.number_of_samples, header.active_channels
    samples = _array(block, Array[np.complex64], (n_channels, n_samples), "acquisition data")
    shape = (n_samples, header.trajectory_dimensions)
    has_trajectory = shape[1] or (block is not None and block.cont is not None)
    trajectory = None
    if has_trajectory:
        trajectory = _array(block and block.cont, Array[np.float32], shape, "acquisition trajectory")
    return Acquisition(entity_acquisition_header(header), samples, trajectory)


def _image_entity(header: ImageHeader, block: MessageBlock | None, limits: Limits) -> Image:
    x, y, z = header.matrix_size
    pixels = _array(block, Array[Any], (header.channels, z, y, x), "image pixels")
    storage_type = PIXEL_STORAGE.get(pixels.dtype.newbyteorder("<"))
    if storage_type is None:
        raise MalformedMessageError(f"image pixels are {pixels.dtype.name} — an image can have {IMAGE_DTYPE_NAMES}")
    meta = as_container_message(block and block.cont, Meta)
    attributes = b"" if meta is None else serialize_meta(meta.object, "an image", limits.max_attribute_bytes)
    return Image(entity_image_header(header, len(attributes)), attributes, pixels, storage_type=storage_type)


def _waveform_entity(header: WaveformHeader, block: MessageBlock | None) -> Waveform:
    shape = (header.channels, header.number_of_samples)
    values = _array(block, Array[np.uint32], shape, "waveform data")
    return Waveform(entity_waveform_header(header), values.astype(np.float64).ravel())


def _blob_entity(data: bytes, block: MessageBlock | None, limits: Limits) -> Blob:
    name = as_container_message(block, str)
    description = b"" if name is None else name.object.encode("utf-8", errors="replace")
    check("blob bytes", len(data), limits.max_blob_bytes)
    check("description_length", len(description), limits.max_text_bytes)
    return Blob(description, data, storage_type=StorageType.CHAR)
