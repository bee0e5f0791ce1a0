"""Images without aliasing, from aliased ones and their weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import ismrmrd
import numpy as np

from gadgetron.gadget import CLOSE_NORMAL
from gadgetron.merge import Merge
from gadgetron.message import Array, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgets.grappa.pairing import ImageMaker, Pair, Pairing
from gadgets.grappa.slices import SliceImage, SliceWeights


class Unmixing(Merge):
    """Multiply the coils' images with the weights of their slice, and sum.

    Takes SliceImage from the stream `images` and SliceWeights from the stream `weights`, emits a complex image for each
    SliceImage; coils that are not combined are further channels of it. An image gets the last weights that were
    computed not later than with its own readouts; if there were none, the first ones that come. Images that none come
    for are an error, which says what is missing.

    Image headers have the slice, average, contrast, phase, set and time stamp of the first readout, and the place. The
    repetition is 0, as the C++ Gadgetron has it. Images are numbered from 1.
    """

    inputs: ClassVar = {"images": ((SliceImage,),), "weights": ((SliceWeights,),)}
    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)

    image_series = Property(0, doc="number of the image series", minimum=0, maximum=65_535)
    unmixing_scale = Property(1.0, doc="factor on all images")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._pairing = Pairing()
        self._maker: ImageMaker | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large images are, as encoded and as wanted."""
        self._maker = ImageMaker(parameters.header)

    def process(self, key: str, message: Any) -> None:
        """Take an image or weights."""
        add: Any = self._pairing.add_image if key == "images" else self._pairing.add_weights
        self._send(add(message.object))

    def _send(self, pairs: Iterable[Pair]) -> None:
        for image, unmixing, correction in pairs:
            if self._maker is not None:
                data = self._maker.unmix(image.data, unmixing, correction)
                if self.unmixing_scale != 1.0:
                    data *= np.float32(self.unmixing_scale)
                self.put_next(make_message(self._maker.header(image, len(data), self.image_series), data))

    def close(self, flags: int) -> None:
        """Send what waits for the last weights; complain about what never got any."""
        if flags == CLOSE_NORMAL:
            self._send(self._pairing.rest())
