"""Image arrays as foreign modules see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.external import constants, readers, writers
from gadgetron.external.readers import Source
from gadgetron.external.writers import Destination
from gadgetron.limits import LIMITS, check

MAX_ITEMS = LIMITS.max_recon_data_bytes // 198


class ImageArray:
    """Images of one reconstruction.

    Attributes
    ----------
    data
        Shape (x, y, z, CHA, N, S, LOC), complex64, in Fortran order.
    headers
        Shape (N, S, LOC): ImageHeader objects.
    meta
        Meta attributes, a text (XML) for each image, N fastest.
    waveform
        List of Waveform objects, or None.
    acq_headers
        Shape (E1, E2, N, S, LOC): AcquisitionHeader objects, or None.
    """

    def __init__(
        self,
        data: NDArray[np.complex64] | None = None,
        headers: NDArray[np.object_] | None = None,
        meta: Sequence[Any] | None = None,
        waveform: Sequence[ismrmrd.Waveform] | None = None,
        acq_headers: NDArray[np.object_] | None = None,
    ) -> None:
        self.data = data
        self.headers = headers
        self.meta = meta
        self.waveform = waveform
        self.acq_headers = acq_headers


def read_image_array(source: Source) -> ImageArray:
    """Read an image array."""
    return ImageArray(
        data=readers.read_array(source, np.complex64),
        headers=readers.read_object_array(source, readers.read_image_header),
        meta=read_meta_container_vector(source),
        waveform=readers.read_optional(source, read_waveforms),
        acq_headers=readers.read_optional(source, readers.read_object_array, readers.read_acquisition_header),
    )


def read_meta_container_vector(source: Source) -> list[str]:
    """Read a number of meta attributes, and these."""
    count = readers.read(source, constants.uint64)
    check("meta attributes of an image array", count, MAX_ITEMS)
    return [read_meta_container(source) for _ in range(count)]


def read_meta_container(source: Source) -> str:
    """Read the meta attributes of an image, XML."""
    return readers.read_byte_string(source, constants.uint64).rstrip(b"\0").decode("utf-8", errors="replace")


def read_waveforms(source: Source) -> list[ismrmrd.Waveform]:
    """Read a number of waveforms, and these."""
    count = readers.read(source, constants.uint64)
    check("waveforms of an image array", count, MAX_ITEMS)
    return [readers.read_waveform(source) for _ in range(count)]


def write_image_array(destination: Destination, image_array: ImageArray) -> None:
    """Write an image array.

    Raises
    ------
    TypeError
        If it has no data or no headers.
    """
    data, headers = image_array.data, image_array.headers
    if data is None or headers is None:
        raise TypeError("an image array needs data and headers")
    destination.write(constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_IMAGE_ARRAY))
    writers.write_array(destination, data, np.complex64)
    writers.write_object_array(destination, headers, writers.write_image_header)
    write_meta_container_vector(destination, [] if image_array.meta is None else image_array.meta)
    writers.write_optional(destination, image_array.waveform, write_waveforms)
    writers.write_optional(
        destination, image_array.acq_headers, writers.write_object_array, writers.write_acquisition_header
    )


def write_meta_container_vector(destination: Destination, containers: Sequence[Any]) -> None:
    """Write meta attributes, behind their number."""
    destination.write(constants.uint64.pack(len(containers)))
    for container in containers:
        write_meta_container(destination, container)


def write_meta_container(destination: Destination, container: Any) -> None:
    """Write the meta attributes of an image: XML, or an `ismrmrd.Meta`."""
    writers.write_byte_string(destination, _meta_bytes(container), constants.uint64)


def _meta_bytes(container: Any) -> bytes:
    text = container.serialize() if isinstance(container, ismrmrd.Meta) else container
    return text.encode("ascii", errors="xmlcharrefreplace") if isinstance(text, str) else bytes(text)


def write_waveforms(destination: Destination, waveforms: Sequence[ismrmrd.Waveform]) -> None:
    """Write waveforms, behind their number."""
    destination.write(constants.uint64.pack(len(waveforms)))
    for waveform in waveforms:
        for piece in writers.waveform_pieces(waveform):
            destination.write(piece)
