"""From what people have (files' items, objects of the ismrmrd package) to messages, and from messages to images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.errors import MalformedMessageError
from gadgetron.message import Array, MessageBlock, as_container_message, make_message
from gadgetron.recon_types import ImageArray


def as_message(item: Any) -> MessageBlock:
    """Make a message of an item of a scan.

    Parameters
    ----------
    item
        A message, which is given as it is; an `ismrmrd.Acquisition` or `ismrmrd.Waveform`, whose header and arrays are
        copied, because a message is given away; or a tuple of a message's objects, as `gadgetron.dataset` has them, of
        which those that are None are left out.

    Raises
    ------
    MalformedMessageError
        If it is something else.
    """
    if isinstance(item, MessageBlock):
        return item
    if isinstance(item, ismrmrd.Acquisition):
        header = ismrmrd.AcquisitionHeader.from_buffer_copy(item.getHead())
        data = np.array(item.data, np.complex64)
        trajectory = np.array(item.traj, np.float32) if header.trajectory_dimensions else None
        return make_message(header, data) if trajectory is None else make_message(header, data, trajectory)
    if isinstance(item, ismrmrd.Waveform):
        return make_message(ismrmrd.WaveformHeader.from_buffer_copy(item.getHead()), np.array(item.data, np.uint32))
    if isinstance(item, tuple):
        parts = [part for part in item if part is not None]
        if parts:
            return make_message(*parts)
    raise MalformedMessageError(
        f"{type(item).__name__}: no item of a scan — a message, an acquisition or a waveform is"
    )


@dataclass(eq=False, slots=True)
class ReconstructedImage:
    """An image that came out of a reconstruction. `numpy.asarray(image)` is its data.

    Attributes
    ----------
    header
        Geometry, counters, series and index; `header.image_series_index` and its kin.
    data
        Pixels, shape (channels, z, y, x), one of ISMRMRD's eight types. Belongs to the caller.
    meta
        Meta attributes; empty if there are none.
    message_id
        Id of the message it would be on the wire.
    """

    header: ismrmrd.ImageHeader
    data: NDArray[Any]
    meta: ismrmrd.Meta = field(default_factory=ismrmrd.Meta)
    message_id: int = 0

    @property
    def series(self) -> int:
        """Number of the series it belongs to."""
        return int(self.header.image_series_index)

    @property
    def index(self) -> int:
        """Its number within the series."""
        return int(self.header.image_index)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data (channels, z, y, x)."""
        return self.data.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self.data, dtype)
        return self.data if dtype is None else self.data.astype(dtype, copy=False)

    def __repr__(self) -> str:
        where = (
            f"series {self.series}, index {self.index}, slice {self.header.slice}, repetition {self.header.repetition}"
        )
        return f"<ReconstructedImage {self.data.shape} {self.data.dtype}, {where}>"


def as_image(message: MessageBlock, message_id: int = 0) -> ReconstructedImage | None:
    """Make an image of an image message; None if it is another kind of message."""
    header = as_container_message(message, ismrmrd.ImageHeader)
    data = as_container_message(message.cont, Array[Any])
    if header is None or data is None:
        return None
    meta = as_container_message(data.cont, ismrmrd.Meta)
    return ReconstructedImage(
        header.object, data.object, ismrmrd.Meta() if meta is None else meta.object, int(message_id)
    )


def as_images(message: MessageBlock, message_id: int = 0) -> list[ReconstructedImage]:
    """Make the images of an image message, or of an image array; none if it is another kind of message.

    An image array has one for each location, S and N, in this order, the location slowest: as ImageArraySplitGadget
    sends them. Its waveforms and the headers of its readouts are left out.

    Parameters
    ----------
    message
        Given away: the images are views of its arrays.
    message_id
        Id of the message on the wire.
    """
    block = as_container_message(message, ImageArray)
    if block is None:
        image = as_image(message, message_id)
        return [] if image is None else [image]
    array = block.object
    images = []
    for place in np.ndindex(*array.headers.shape):
        header: ismrmrd.ImageHeader = array.headers[place]
        header.attribute_string_len = 0  # who writes it knows, from the meta attributes
        meta = array.meta[place]
        images.append(
            ReconstructedImage(header, array.data[place], ismrmrd.Meta() if meta is None else meta, int(message_id))
        )
    return images
