"""Images without aliasing, from aliased ones and their weights."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import CLOSE_NORMAL
from gadgetron.header import EncodingSpace
from gadgetron.limits import LIMITS, check
from gadgetron.merge import Merge
from gadgetron.message import Array, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgetron.recon_types import make_image_header
from gadgetron.toolboxes.grappa_lines import apply_unmixing
from gadgetron.toolboxes.resize import crop_centred, resize_image
from gadgets.grappa.slices import SliceImage, SliceWeights


class Unmixing(Merge):
    """Multiply the coils' images with the weights of their slice, and sum.

    Takes SliceImage from the stream `images` and SliceWeights from the stream `weights`, emits a complex image for each
    SliceImage. An image gets the last weights that were computed not later than with its own readouts; if there were
    none, the first ones that come. Images that none come for are an error, which says what is missing.

    Image headers have the slice, the place, and the time stamp of the first readout; other counters are 0, as the C++
    Gadgetron has them. Images are numbered from 1.
    """

    inputs: ClassVar = {"images": ((SliceImage,),), "weights": ((SliceWeights,),)}
    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)

    image_series = Property(0, doc="number of the image series", minimum=0, maximum=65_535)
    unmixing_scale = Property(1.0, doc="factor on all images")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._images: deque[SliceImage] = deque()  # those whose turn has not come
        self._weights: deque[SliceWeights] = deque()  # those that are later than the images
        self._n_known = 0  # slices whose weights have come
        self._current: dict[int, Array[np.complex64]] = {}
        self._without: dict[int, list[SliceImage]] = {}
        self._waiting_nbytes = 0
        self._reasons: dict[int, str] = {}
        self._n_images = 0
        self._spaces: tuple[EncodingSpace, EncodingSpace] | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large images are, as encoded and as wanted."""
        encoding = parameters.header.encoding[0]
        self._spaces = (encoding.encodedSpace, encoding.reconSpace)

    def process(self, key: str, message: Any) -> None:
        """Take an image or weights."""
        if key == "images":
            self._images.append(message.object)
            self._waiting_nbytes += message.object.nbytes
            check("bytes of images that wait for weights", self._waiting_nbytes, LIMITS.max_session_bytes)
        else:
            self._weights.append(message.object)
            self._n_known = message.object.number + 1
        while self._images and self._images[0].number < self._n_known:
            image = self._images.popleft()
            while self._weights and self._weights[0].number <= image.number:
                self._apply(self._weights.popleft())
            if image.index in self._current:
                self._send(image)
            else:
                self._without.setdefault(image.index, []).append(image)

    def _apply(self, weights: SliceWeights) -> None:
        """Make weights current; send the images that have waited for them."""
        self._reasons[weights.index] = weights.reason
        if weights.unmixing is not None:
            self._current[weights.index] = weights.unmixing
            for image in self._without.pop(weights.index, []):
                self._send(image)

    def _send(self, image: SliceImage) -> None:
        self._waiting_nbytes -= image.nbytes
        unmixing = self._current[image.index]
        if unmixing.shape != image.data.shape:
            raise MalformedMessageError(
                f"active_channels ({len(image.data)}): {len(unmixing)} expected, as in the calibration"
            )
        data = self._in_recon_space(apply_unmixing(image.data, unmixing)[np.newaxis])
        if self.unmixing_scale != 1.0:
            data *= np.float32(self.unmixing_scale)
        self.put_next(make_message(self._header(image, data), data))

    def _in_recon_space(self, data: Array[np.complex64]) -> Array[np.complex64]:
        """Cut an image (1, 1, y, x) to the field of view along y, and give it the wanted number of lines."""
        if self._spaces is None:
            return data
        encoded, recon = self._spaces
        ratio = recon.fieldOfView_mm.y / encoded.fieldOfView_mm.y if encoded.fieldOfView_mm.y else 1.0
        n_kept = min(data.shape[2], max(1, round(data.shape[2] * ratio)))
        cut = np.ascontiguousarray(crop_centred(data, (n_kept, data.shape[3])))
        return resize_image(cut, (recon.matrixSize.y, recon.matrixSize.x))

    def _header(self, image: SliceImage, data: Array[np.complex64]) -> ismrmrd.ImageHeader:
        view = self._spaces[1].fieldOfView_mm if self._spaces else None
        header = make_image_header(
            None,
            channels=len(data),
            matrix_size=(data.shape[3], data.shape[2], data.shape[1]),
            field_of_view=(view.x, view.y, view.z) if view else (0.0, 0.0, 0.0),
        )
        header.slice = image.index
        header.acquisition_time_stamp = image.first.acquisition_time_stamp
        for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
            getattr(header, name)[:] = getattr(image.last, name)[:]
        self._n_images += 1
        header.image_index = self._n_images & 0xFFFF
        header.image_series_index = self.image_series
        return header

    def close(self, flags: int) -> None:
        """Send what waits for the last weights; complain about what never got any."""
        if flags != CLOSE_NORMAL:
            return
        while self._weights:
            self._apply(self._weights.popleft())
        for index, images in self._without.items():
            reason = self._reasons.get(index) or "no calibration lines came"
            raise MalformedMessageError(
                f"slice {index}: {len(images)} images cannot be reconstructed: {reason}. This reconstruction takes its "
                "calibration from lines without a gap around the center of k-space"
            )
