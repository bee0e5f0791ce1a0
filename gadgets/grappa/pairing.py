"""Which image gets which weights, and what becomes of both."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.header import IsmrmrdHeader
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array
from gadgetron.recon_types import make_image_header
from gadgetron.toolboxes.grappa_lines import WrapCorrection, apply_unmixing
from gadgetron.toolboxes.resize import crop_centred, resize_image
from gadgets.grappa.slices import SliceImage, SliceWeights, cropped_length


class Pair(NamedTuple):
    """An image, and what unmixes it."""

    image: SliceImage
    unmixing: Array[np.complex64]
    correction: WrapCorrection | None


class Pairing:
    """Pairs images with weights, whichever come first: the result does not depend on it.

    An image gets the last weights of its slice that were computed not later than with its own readouts; if there were
    none, the first ones that come.
    """

    def __init__(self) -> None:
        self._images: deque[SliceImage] = deque()  # those whose turn has not come
        self._weights: deque[SliceWeights] = deque()  # those that are later than the images
        self._n_known = 0  # slices whose weights have come
        self._current: dict[int, SliceWeights] = {}
        self._without: dict[int, list[SliceImage]] = {}
        self._reasons: dict[int, str] = {}
        self._waiting_nbytes = 0

    def add_image(self, image: SliceImage) -> Iterator[Pair]:
        """Take an image, and give the pairs that are ready.

        Raises
        ------
        LimitExceeded
            If more waits for weights than a session may hold.
        """
        self._images.append(image)
        self._waiting_nbytes += image.nbytes
        check("bytes of images that wait for weights", self._waiting_nbytes, LIMITS.max_session_bytes)
        return self._ready()

    def add_weights(self, weights: SliceWeights) -> Iterator[Pair]:
        """Take weights, and give the pairs that are ready."""
        self._weights.append(weights)
        self._n_known = weights.number + 1
        return self._ready()

    def rest(self) -> Iterator[Pair]:
        """Give the pairs that are ready when nothing comes any more.

        Raises
        ------
        MalformedMessageError
            If there are images without weights; says what is missing.
        """
        while self._weights:
            yield from self._apply(self._weights.popleft())
        for index, images in self._without.items():
            reason = self._reasons.get(index) or "no calibration lines came"
            raise MalformedMessageError(
                f"slice {index}: {len(images)} images cannot be reconstructed: {reason}. This reconstruction takes its "
                "calibration from lines without a gap around the center of k-space"
            )

    def _ready(self) -> Iterator[Pair]:
        while self._images and self._images[0].number < self._n_known:
            image = self._images.popleft()
            while self._weights and self._weights[0].number <= image.number:
                yield from self._apply(self._weights.popleft())
            if image.index in self._current:
                yield self._pair(image)
            else:
                self._without.setdefault(image.index, []).append(image)

    def _apply(self, weights: SliceWeights) -> Iterator[Pair]:
        """Make weights current; give the images that have waited for them."""
        self._reasons[weights.index] = weights.reason
        if weights.unmixing is not None:
            self._current[weights.index] = weights
            for image in self._without.pop(weights.index, []):
                yield self._pair(image)

    def _pair(self, image: SliceImage) -> Pair:
        self._waiting_nbytes -= image.nbytes
        weights = self._current[image.index]
        unmixing = weights.unmixing
        if unmixing is None or unmixing.shape[1:] != image.data.shape:
            found, expected = (
                None if array is None else (array.shape[-4], array.shape[-1]) for array in (image.data, unmixing)
            )
            raise MalformedMessageError(
                f"active_channels, number_of_samples {found}: {expected} expected, as in the calibration"
            )
        return Pair(image, unmixing, weights.correction)


class ImageMaker:
    """Makes images of the header's recon space, and their headers.

    Image headers have the slice, average, contrast, phase, set and time stamp of the first readout, and the place. The
    repetition is 0, as the C++ Gadgetron has it. Images are numbered from 1.
    """

    def __init__(self, header: IsmrmrdHeader) -> None:
        encoding = header.encoding[0]
        self._encoded, self._recon = encoding.encodedSpace, encoding.reconSpace
        self._n_images = 0

    def unmix(
        self, images: Array[np.complex64], unmixing: Array[np.complex64], correction: WrapCorrection | None
    ) -> Array[np.complex64]:
        """Give images without aliasing, shape (images, 1, y, x), as many pixels as the recon space has."""
        data = apply_unmixing(images, unmixing, correction)
        n_y, n_x = data.shape[2:]
        encoded, recon = self._encoded.fieldOfView_mm, self._recon.fieldOfView_mm
        kept_y = min(n_y, max(1, round(n_y * recon.y / encoded.y))) if encoded.y else n_y
        kept_x = min(n_x, cropped_length(self._encoded, self._recon)) if n_x == self._encoded.matrixSize.x else n_x
        cut = np.ascontiguousarray(crop_centred(data, (kept_y, kept_x)))
        return resize_image(cut, (self._recon.matrixSize.y, self._recon.matrixSize.x))

    def header(self, image: SliceImage, channels: int, series: int) -> ismrmrd.ImageHeader:
        """Make the header of the next image."""
        matrix, view = self._recon.matrixSize, self._recon.fieldOfView_mm
        header = make_image_header(
            None, channels=channels, matrix_size=(matrix.x, matrix.y, 1), field_of_view=(view.x, view.y, view.z)
        )
        header.slice = image.index
        for name in ("average", "contrast", "phase", "set"):
            setattr(header, name, getattr(image.first.idx, name))
        header.acquisition_time_stamp = image.first.acquisition_time_stamp
        for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
            getattr(header, name)[:] = getattr(image.last, name)[:]
        self._n_images += 1
        header.image_index = self._n_images & 0xFFFF
        header.image_series_index = series
        return header
