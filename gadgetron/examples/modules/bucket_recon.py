"""Transforms buffered k-space to an image of each coil."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
from ismrmrd.xsd import CreateFromDocument

from gadgetron.legacy import Gadget
from gadgetron.util.cfft import cifftn


class BucketRecon(Gadget):
    """Put an image (x, y, z, channels) for each slice, repetition and set of recon data's first encoding space."""

    def __init__(self, next_gadget: Any = None) -> None:
        super().__init__(next_gadget)
        self._field_of_view: Any = None
        self._n_images = 0

    def process_config(self, config: Any) -> None:
        """Remember the field of view."""
        self._field_of_view = CreateFromDocument(config).encoding[0].reconSpace.fieldOfView_mm

    def process(self, recon_data: Any) -> None:
        """Reconstruct one set of recon data."""
        buffer = recon_data[0].data
        images = cifftn(buffer.data, axes=[0, 1, 2])
        for n, s, loc in np.ndindex(images.shape[4:]):
            headers = buffer.headers[:, :, n, s, loc].ravel(order="F")
            readout = next((header for header in headers if header.number_of_samples), None)
            if readout is not None:
                image = images[:, :, :, :, n, s, loc]
                self.put_next(self._image_header(readout, image.shape), image.astype(np.complex64))

    def _image_header(self, readout: Any, shape: tuple[int, ...]) -> Any:
        header = ismrmrd.ImageHeader.from_acquisition(ismrmrd.Acquisition(readout))
        header.version = 1
        self._n_images += 1
        header.image_index = self._n_images
        header.data_type = ismrmrd.DATATYPE_CXFLOAT
        header.channels = shape[3]
        header.matrix_size[:] = shape[:3]
        header.field_of_view[:] = (self._field_of_view.x, self._field_of_view.y, self._field_of_view.z)
        return header
