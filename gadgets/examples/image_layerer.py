"""A merge that waits for both of two streams."""

from __future__ import annotations

from typing import Any, ClassVar

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import CLOSE_NORMAL
from gadgetron.merge import Merge
from gadgetron.message import Array, MessageBlock, make_message

IMAGE = (ismrmrd.ImageHeader, Array[Any])


class ImageLayerer(Merge):
    """Lay an image of the stream `unchanged` and its counterpart of the stream `inverted` one behind the other.

    The n-th image of the one belongs to the n-th of the other. Emits one image for each pair, with the channels of both
    and the header of the unchanged one; meta attributes are not kept.
    """

    inputs: ClassVar = {"unchanged": (IMAGE,), "inverted": (IMAGE,)}

    def process(self, key: str, message: MessageBlock) -> None:
        """Put a pair, if this image makes one complete."""
        self.stash(key, message)
        if self.n_stashed("unchanged") and self.n_stashed("inverted"):
            self.put_next(_layered(self.take("unchanged"), self.take("inverted")))

    def close(self, flags: int) -> None:
        """Say how many images have no counterpart."""
        unpaired = self.n_stashed("unchanged") + self.n_stashed("inverted")
        if unpaired and flags == CLOSE_NORMAL:
            self.log.warning("layerer.unpaired_images", count=unpaired)


def _layered(unchanged: Any, inverted: Any) -> MessageBlock:
    header, data, other = unchanged.object, unchanged.cont.object, inverted.cont.object
    if (data.dtype, data.shape) != (other.dtype, other.shape):
        raise MalformedMessageError(
            f"matrix_size: images of {data.shape} {data.dtype} and of {other.shape} {other.dtype} cannot be layered"
        )
    header.channels = 2 * data.shape[0]
    return make_message(header, np.concatenate([data, other]))
