"""A whole reconstruction in one foreign module: readouts in, one magnitude image for each slice out."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.util.cfft import cfftn, cifftn

if TYPE_CHECKING:
    from gadgetron.external import Connection

log = logging.getLogger(__name__)

USUAL_NOISE_BANDWIDTH = 0.793

Readouts = Iterable[ismrmrd.Acquisition]
Complex = NDArray[np.complex64]


def noise_adjust(readouts: Readouts, header: Any) -> Iterator[ismrmrd.Acquisition]:
    """Decorrelate the channels with the noise readouts at the beginning, which go no further."""
    system = header.acquisitionSystemInformation
    bandwidth = getattr(system, "relativeReceiverNoiseBandwidth", None) or USUAL_NOISE_BANDWIDTH
    noise: list[Complex] = []
    noise_dwell_us = 0.0
    whitening: Complex | None = None
    for readout in readouts:
        if readout.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            noise.append(readout.data.copy())
            noise_dwell_us = noise_dwell_us or readout.sample_time_us
            continue
        if noise and whitening is None:
            samples = np.concatenate(noise, axis=1)
            covariance = samples @ samples.conj().T / (samples.shape[1] - 1)
            scale = np.sqrt(2 * readout.sample_time_us * bandwidth / noise_dwell_us)
            whitening = scale * np.linalg.inv(np.linalg.cholesky(covariance))
        if whitening is not None:
            readout.data[:] = whitening @ readout.data
        yield readout


def remove_oversampling(readouts: Readouts, header: Any) -> Iterator[ismrmrd.Acquisition]:
    """Crop each readout to the field of view of the image."""
    encoded = header.encoding[0].encodedSpace.matrixSize.x
    recon = header.encoding[0].reconSpace.matrixSize.x
    first = (encoded - recon) // 2
    for readout in readouts:
        if encoded != recon:
            line = cifftn(readout.data, axes=[1])[:, first : first + recon]
            readout.resize(recon, readout.active_channels, readout.trajectory_dimensions)
            readout.center_sample = recon // 2
            readout.data[:] = cfftn(line, axes=[1])
        yield readout


def collect_slices(readouts: Readouts, header: Any) -> Iterator[tuple[ismrmrd.Acquisition, Complex]]:
    """Put readouts on the k-space grid; give (last readout, k-space (channels, z, y, x)) when a slice is complete."""
    encoding = header.encoding[0]
    matrix = encoding.encodedSpace.matrixSize
    offsets = [
        size // 2 - limit.center if limit is not None else 0
        for size, limit in (
            (matrix.y, encoding.encodingLimits.kspace_encoding_step_1),
            (matrix.z, encoding.encodingLimits.kspace_encoding_step_2),
        )
    ]
    slices: dict[int, Complex] = {}
    for readout in readouts:
        shape = (readout.active_channels, matrix.z, matrix.y, readout.number_of_samples)
        grid = slices.setdefault(readout.idx.slice, np.zeros(shape, np.complex64))
        grid[:, readout.idx.kspace_encode_step_2 + offsets[1], readout.idx.kspace_encode_step_1 + offsets[0]] = (
            readout.data
        )
        if readout.is_flag_set(ismrmrd.ACQ_LAST_IN_SLICE):
            yield readout, slices.pop(readout.idx.slice)


def recon_acquisitions(connection: Connection) -> None:
    """Reconstruct images from readouts; everything else passes."""
    connection.filter(ismrmrd.Acquisition)
    header = connection.header
    readouts = remove_oversampling(noise_adjust(iter(connection), header), header)
    counter = itertools.count(1)
    for readout, kspace in collect_slices(readouts, header):
        connection.send(make_image(kspace, readout, next(counter), header))
    log.info("Sent %d images.", next(counter) - 1)


def make_image(kspace: Complex, readout: Any, index: int, header: Any) -> ismrmrd.Image:
    """Transform k-space (channels, z, y, x), and combine the channels by root sum of squares."""
    magnitude = np.sqrt(np.sum(np.square(np.abs(cifftn(kspace, axes=[1, 2, 3]))), axis=0))
    field_of_view = header.encoding[0].reconSpace.fieldOfView_mm
    return ismrmrd.Image.from_array(
        magnitude.astype(np.float32, copy=False),
        acquisition=readout,
        image_index=index,
        image_type=ismrmrd.IMTYPE_MAGNITUDE,
        field_of_view=(field_of_view.x, field_of_view.y, field_of_view.z),
        transpose=False,
    )
