"""Collection of lines into k-space images, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.header import Encoding
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array, Container, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgetron.recon_types import (
    COUNTERS,
    FLAG_LAST_IN_SLICE,
    FLAG_PHASE_CORRECTION,
    FLAGS_NOT_IMAGING,
    AcquisitionFields,
    acquisition_fields,
    make_image_header,
)
from gadgetron.toolboxes.kspace import Received, phase_encoding_grid
from gadgets.mri_core.left_out import LeftOutReadouts

E1, E2, SLICE, AVERAGE = (
    COUNTERS.index(name) for name in ("kspace_encode_step_1", "kspace_encode_step_2", "slice", "average")
)
IMAGE_COUNTERS = tuple(COUNTERS.index(name) for name in ("contrast", "phase", "repetition", "set"))

Image = tuple[int, ...]  # what contrast, phase, repetition and set say


@dataclass(slots=True)
class _Slice:
    """K-space of a slice, shape (channels, z, y, x), and the header of the line that came last.

    `lines` has for each (z, y) the image that its line belongs to, and how many readouts it is the mean of.
    `flagged` is the image whose last line has come, of an average that is not the last.
    """

    kspace: Array[np.complex64]
    last: ismrmrd.AcquisitionHeader | None = None
    lines: dict[tuple[int, int], tuple[Image, int]] = field(default_factory=dict)
    flagged: Image | None = None

    def add(self, image: Image, data: Array[np.complex64], place: tuple[int, int], start: int) -> None:
        """Put a line into its place; one that comes again for the same image is averaged."""
        earlier, n = self.lines.get(place, (image, 0))
        n = n + 1 if earlier == image else 1
        line = self.kspace[:, place[0], place[1], start : start + data.shape[1]]
        if n == 1:
            line[...] = data
        else:
            line += (data - line) * np.float32(1 / n)
        self.lines[place] = (image, n)


class AccumulatorGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Collect lines into k-space, and send a slice when its last line has come.

    Takes acquisitions of one encoding space, emits complex images (channels, z, y, x) that hold k-space. A slice is
    sent at the line flagged ACQ_LAST_IN_SLICE, of the last average if the header has several, and what was not sent is
    sent at the end of the stream. Lines that did not arrive are zero, and so are those with samples that are not
    finite. Readouts that are no imaging data are dropped. Undeclared properties are kept, and have no effect.

    Mended against the C++ Gadgetron: averages, and lines that come more than once, are averaged; there the last of them
    stays.
    """

    accepts_any_property = True
    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)

    image_series = Property(0, doc="series number of the images", minimum=0, maximum=65535)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._encoding: Encoding | None = None
        self._slices: dict[int, _Slice] = {}
        self._last_average = 0
        self._n_images = 0
        self._offsets = (0, 0)
        self._left_out = LeftOutReadouts(self)

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the encoding."""
        header = parameters.header
        if len(header.encoding) != 1:
            raise MalformedMessageError(
                f"encoding: {type(self).__name__} supports one, the header has {len(header.encoding)}"
            )
        self._encoding = header.encoding[0]
        average = self._encoding.encodingLimits.average
        self._last_average = average.maximum if average is not None else 0

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Put one line into its slice."""
        fields = acquisition_fields(header.object)
        if fields.flags & (FLAGS_NOT_IMAGING | FLAG_PHASE_CORRECTION):
            return
        if self._encoding is None:
            raise MalformedMessageError("readouts arrived before an ISMRMRD header: the matrix is not known")
        self._check_slice(fields.idx[SLICE])
        data = readout.object
        image_key = tuple(fields.idx[counter] for counter in IMAGE_COUNTERS)
        entry = self._entry(fields, image_key)
        n_channels, n_z, n_y, n_x = entry.kspace.shape
        if data.shape[0] != n_channels:
            raise MalformedMessageError(_complaint("active_channels", data.shape[0], f"{n_channels} expected", fields))
        e1, e2 = fields.idx[E1] + self._offsets[0], fields.idx[E2] + self._offsets[1]
        if not 0 <= e1 < n_y:
            raise MalformedMessageError(
                _complaint("kspace_encode_step_1", fields.idx[E1], _expected(n_y, self._offsets[0]), fields)
            )
        if not 0 <= e2 < n_z:
            raise MalformedMessageError(
                _complaint("kspace_encode_step_2", fields.idx[E2], _expected(n_z, self._offsets[1]), fields)
            )
        start = n_x // 2 - fields.center_sample
        n_samples = data.shape[1]
        if n_samples == n_x and start != 0:
            start = 0  # a line that fills the matrix has its center in the middle, even where center_sample is not set
        if start < 0 or start + n_samples > n_x:
            expected = f"at most {n_x} expected, with center_sample {fields.center_sample} in the middle"
            raise MalformedMessageError(_complaint("number_of_samples", n_samples, expected, fields))
        if self._left_out.is_usable(data, fields.scan_counter):
            entry.add(image_key, data, (e2, e1), start)
        entry.last = header.object
        if fields.flags & FLAG_LAST_IN_SLICE:
            entry.flagged = image_key
            if fields.idx[AVERAGE] >= self._last_average:
                self._send(fields.idx[SLICE])

    def _entry(self, fields: AcquisitionFields, image: Image) -> _Slice:
        """Give the k-space that a readout belongs to."""
        index = fields.idx[SLICE]
        entry = self._slices.get(index)
        if entry is not None and entry.flagged not in (None, image):
            self._send(index)  # there are fewer averages than the header says
            entry = None
        if entry is None:
            entry = self._slices[index] = _Slice(self._empty(fields))
        return entry

    def _check_slice(self, slice_index: int) -> None:
        limit = self._encoding.encodingLimits.slice if self._encoding else None
        if limit is not None and slice_index > limit.maximum:
            raise MalformedMessageError(f"slice ({slice_index}): at most {limit.maximum} expected, from encodingLimits")

    def _empty(self, fields: AcquisitionFields) -> Array[np.complex64]:
        """Make k-space for a slice; x is the recon matrix if the readout fits it (oversampling was removed)."""
        encoding: Any = self._encoding
        encoded, recon = encoding.encodedSpace.matrixSize, encoding.reconSpace.matrixSize
        n_x = recon.x if fields.number_of_samples <= recon.x else encoded.x
        along_y = phase_encoding_grid(encoding, 1, Received(0, encoded.y - 1), for_reference=False)
        along_z = phase_encoding_grid(encoding, 2, Received(0, encoded.z - 1), for_reference=False)
        self._offsets = (along_y.offset, along_z.offset)
        shape = (fields.active_channels, along_z.size, along_y.size, n_x)
        n_bytes = int(np.dtype(np.complex64).itemsize) * shape[0] * shape[1] * shape[2] * shape[3]
        check("bytes of k-space", n_bytes * (len(self._slices) + 1), LIMITS.max_session_bytes)
        return np.zeros(shape, np.complex64)

    def _send(self, slice_index: int) -> None:
        """Send a slice, and begin it anew."""
        entry = self._slices.pop(slice_index)
        encoding: Any = self._encoding
        n_channels, n_z, n_y, n_x = entry.kspace.shape
        encoded, recon = encoding.encodedSpace, encoding.reconSpace
        along_x = recon if n_x == recon.matrixSize.x else encoded
        header = make_image_header(
            entry.last,
            channels=n_channels,
            matrix_size=(n_x, n_y, n_z),
            field_of_view=(along_x.fieldOfView_mm.x, encoded.fieldOfView_mm.y, encoded.fieldOfView_mm.z),
        )
        self._n_images += 1
        header.image_index = self._n_images & 0xFFFF
        header.image_series_index = self.image_series
        self.put_next(make_message(header, entry.kspace))

    def close(self, flags: int) -> None:
        """Send the slices whose last line never came."""
        self._left_out.summarize()
        if flags:
            for slice_index in sorted(self._slices):
                self._send(slice_index)
        self._slices = {}


def _expected(n: int, offset: int) -> str:
    """Say which encoding steps find room in a matrix."""
    if offset == 0:
        return f"below {n} expected"
    return f"{-offset} to {n - 1 - offset} expected, with the header's center, {n // 2 - offset}, in the middle of {n}"


def _complaint(field: str, value: int, expected: str, fields: AcquisitionFields) -> str:
    return f"{field} ({value}): {expected} — scan_counter {fields.scan_counter}"
