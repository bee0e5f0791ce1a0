"""Collects the readouts of a slice, and transforms them to an image of each coil."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
from ismrmrd.xsd import CreateFromDocument

from gadgetron.legacy import Gadget
from gadgetron.util.cfft import cifftn

IMAGES_PER_SERIES = 5


class AccumulateAndRecon(Gadget):
    """Put one image (x, y, z, channels) for each slice, when its last readout has come. Noise readouts are dropped."""

    def __init__(self, next_gadget: Any = None) -> None:
        super().__init__(next_gadget)
        self._encoding: Any = None
        self._slices: dict[int, Any] = {}
        self._n_images = 0

    def process_config(self, config: Any) -> None:
        """Remember the encoding."""
        self._encoding = CreateFromDocument(config).encoding[0]

    def process(self, header: Any, data: Any) -> None:
        """Put one readout on the grid."""
        if header.isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            return
        matrix, limits = self._encoding.encodedSpace.matrixSize, self._encoding.encodingLimits
        n_samples, n_channels = data.shape
        shape = (n_samples, matrix.y, matrix.z, n_channels)
        grid = self._slices.setdefault(header.idx.slice, np.zeros(shape, np.complex64))
        lines, partitions = limits.kspace_encoding_step_1, limits.kspace_encoding_step_2
        line = header.idx.kspace_encode_step_1 + (matrix.y // 2 - lines.center if lines is not None else 0)
        partition = header.idx.kspace_encode_step_2 + (matrix.z // 2 - partitions.center if partitions else 0)
        grid[:, line, partition, :] = data
        if header.isFlagSet(ismrmrd.ACQ_LAST_IN_SLICE):
            image = cifftn(self._slices.pop(header.idx.slice), axes=[0, 1, 2])
            self.put_next(self._image_header(header, image.shape), image.astype(np.complex64))

    def _image_header(self, readout: Any, shape: tuple[int, ...]) -> Any:
        field_of_view = self._encoding.reconSpace.fieldOfView_mm
        header = ismrmrd.ImageHeader.from_acquisition(ismrmrd.Acquisition(readout))
        header.version = 1
        header.data_type = ismrmrd.DATATYPE_CXFLOAT
        header.channels = shape[3]
        header.matrix_size[:] = shape[:3]
        header.field_of_view[:] = (field_of_view.x, field_of_view.y, field_of_view.z)
        header.image_index = self._n_images % IMAGES_PER_SERIES + 1
        header.image_series_index = self._n_images // IMAGES_PER_SERIES + 1
        self._n_images += 1
        return header
