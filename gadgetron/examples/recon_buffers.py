"""Reconstruction of buffered k-space, or of buckets, in a foreign module."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.examples.recon_acquisitions import make_image
from gadgetron.types import AcquisitionBucket, ReconBuffer, ReconData

if TYPE_CHECKING:
    from gadgetron.external import Connection

Kspace = tuple[NDArray[np.complex64], Any]


def from_bucket(bucket: AcquisitionBucket, header: Any) -> Iterator[Kspace]:
    """Put the readouts of a bucket on the k-space grid, slice by slice."""
    encoding = header.encoding[0]
    matrix, limit = encoding.encodedSpace.matrixSize, encoding.encodingLimits.kspace_encoding_step_1
    offset = matrix.y // 2 - limit.center if limit is not None else 0
    for slice_ in sorted({readout.idx.slice for readout in bucket.data}):
        readouts = [readout for readout in bucket.data if readout.idx.slice == slice_]
        n_channels, n_samples = readouts[0].data.shape
        kspace = np.zeros((n_channels, matrix.z, matrix.y, n_samples), np.complex64)
        for readout in readouts:
            kspace[:, readout.idx.kspace_encode_step_2, readout.idx.kspace_encode_step_1 + offset] = readout.data
        yield kspace, readouts[0]


def from_buffer(buffer: ReconBuffer) -> Iterator[Kspace]:
    """Take a buffer (E0, E1, E2, CHA, N, S, LOC) apart, with the first readout of each part."""
    n_n, n_s, n_loc = buffer.data.shape[4:]
    for loc, s, n in itertools.product(range(n_loc), range(n_s), range(n_n)):
        headers = buffer.headers[:, :, n, s, loc].ravel(order="F")
        acquired = next((header for header in headers if header.number_of_samples), None)
        if acquired is not None:
            yield buffer.data[:, :, :, :, n, s, loc].T, acquired


def recon_buffers(connection: Connection) -> None:
    """Reconstruct an image of each slice; what is neither a bucket nor recon data passes."""
    connection.filter(lambda item: isinstance(item, AcquisitionBucket | ReconData))
    header = connection.header
    counter = itertools.count(1)
    for item in connection:
        if isinstance(item, AcquisitionBucket):
            parts = from_bucket(item, header)
        else:
            parts = itertools.chain.from_iterable(from_buffer(bit.data) for bit in item)
        for kspace, readout in parts:
            connection.send(make_image(kspace, readout, next(counter), header))
