"""Collection of image arrays into larger ones."""

from __future__ import annotations

from typing import Final

import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.limits import LIMITS
from gadgetron.message import Array, Container, GadgetContainerMessage, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray

AXES: Final = {"LOC": 0, "slice": 0, "S": 1, "N": 2}
DIMENSIONS: Final = ("average", "slice", "contrast", "phase", "repetition", "set")


class ImageAccumulatorGadget(Gadget1[ImageArray]):
    """Collect image arrays until all values of a counter have come, and send them as one.

    Takes image arrays; emits one for each round, joined along N, S or LOC in the order of arrival. The values that are
    waited for are those of the header's encodingLimits; without a limit, one is enough. What is left at the end of the
    stream is sent, too, with a warning: the C++ Gadgetron drops it.
    """

    accumulate_dimension = Property("contrast", doc="counter whose values are collected", choices=DIMENSIONS)
    combine_along = Property("N", doc="axis along which arrays are joined", choices=tuple(AXES))

    emits = ((ImageArray,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._wanted: frozenset[int] = frozenset()
        self._seen: set[int] = set()
        self._arrays: list[ImageArray] = []
        self._n_bytes = 0

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read which values there are."""
        limit = getattr(parameters.header.encoding[0].encodingLimits, self.accumulate_dimension)
        self._wanted = frozenset() if limit is None else frozenset(range(limit.minimum, limit.maximum + 1))

    def process(self, message: Container[ImageArray]) -> None:
        """Keep one array, and send what is complete."""
        array = message.object
        self._n_bytes += array.nbytes
        if self._n_bytes > LIMITS.max_session_bytes:
            raise LimitExceeded("bytes of images waiting for others", self._n_bytes, LIMITS.max_session_bytes)
        self._arrays.append(array)
        self._seen.update(getattr(header, self.accumulate_dimension) for header in array.headers.flat)
        if self._wanted <= self._seen:
            self._send()

    def _send(self) -> None:
        arrays, self._arrays, self._seen, self._n_bytes = self._arrays, [], set(), 0
        self.put_next(GadgetContainerMessage(_joined(arrays, AXES[self.combine_along])))

    def close(self, flags: int) -> None:
        """Send what is left."""
        if flags and self._arrays:
            missing = sorted(self._wanted - self._seen)
            self.log.warning("images.incomplete", dimension=self.accumulate_dimension, missing=missing[:16])
            self._send()
        self._arrays = []


def _joined(arrays: list[ImageArray], axis: int) -> ImageArray:
    if len(arrays) == 1:
        return arrays[0]
    shapes = {array.data.shape[:axis] + array.data.shape[axis + 1 :] for array in arrays}
    if len(shapes) > 1:
        raise MalformedMessageError(f"image arrays of shapes {sorted(shapes)[:4]} cannot be joined")
    return ImageArray(
        data=np.concatenate([array.data for array in arrays], axis=axis),
        headers=np.concatenate([array.headers for array in arrays], axis=axis),
        meta=np.concatenate([array.meta for array in arrays], axis=axis),
        waveforms=[waveform for array in arrays for waveform in array.waveforms],
        acquisition_headers=_joined_acquisitions(arrays, axis),
    )


def _joined_acquisitions(arrays: list[ImageArray], axis: int) -> Array[np.object_] | None:
    """Join the headers of the readouts where all arrays have them, of equally many lines."""
    parts = [array.acquisition_headers for array in arrays if array.acquisition_headers is not None]
    if len(parts) < len(arrays) or len({part.shape[3:] for part in parts}) > 1:
        return None
    return np.concatenate(parts, axis=axis)
