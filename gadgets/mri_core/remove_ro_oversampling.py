"""Removal of readout oversampling."""

from __future__ import annotations

from collections.abc import Sequence

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.message import BLOCK_OVERHEAD_BYTES, Array, Container, MessageBlock, ParametersMessage
from gadgetron.recon_types import FLAG_NOISE
from gadgetron.toolboxes.arrays import shared_pool
from gadgetron.toolboxes.readout import crop_readouts, resample_trajectory
from gadgetron.toolboxes.turns import heavy_work

Readout = Array[np.complex64]

ROUNDING = 1e-3  # fields of view come as decimal numbers: 256 / 128.0001 is a ratio of 2


class RemoveROOversamplingGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Crop readouts to the recon field of view.

    Takes and emits acquisitions. Active if matrix or field of view of the first encoding differ between encoded and
    recon space along x; their ratio applies to every encoding space. Noise readouts pass unchanged: their bandwidth
    must not alter.

    Mended against the C++ Gadgetron, which leaves a trajectory at its old length: it is resampled with the readout.
    """

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._ratio = 1.0

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find the ratio of encoded to recon field of view."""
        encoding = parameters.header.encoding[0]
        encoded, recon = encoding.encodedSpace, encoding.reconSpace
        self._ratio = 1.0
        if encoded.matrixSize.x == recon.matrixSize.x and encoded.fieldOfView_mm.x == recon.fieldOfView_mm.x:
            return
        if recon.fieldOfView_mm.x > 0 and encoded.fieldOfView_mm.x > 0:
            self._ratio = encoded.fieldOfView_mm.x / recon.fieldOfView_mm.x
        else:
            self._ratio = encoded.matrixSize.x / recon.matrixSize.x

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Crop readouts in batches of equal shape."""
        waiting: list[tuple[Container[ismrmrd.AcquisitionHeader], Container[Readout]]] = []
        shape: tuple[int, ...] = ()
        for message in messages:
            if not self.matches(message):
                self._crop(waiting)
                waiting = []
                self.pass_on(message)
                continue
            readout: Container[Readout] = message.cont  # type: ignore[assignment]  # matched
            if readout.object.shape != shape:
                self._crop(waiting)
                waiting = []
                shape = readout.object.shape
            waiting.append((message, readout))  # type: ignore[arg-type]  # matched
        self._crop(waiting)

    def _crop(self, messages: list[tuple[Container[ismrmrd.AcquisitionHeader], Container[Readout]]]) -> None:
        """Crop readouts of equal shape, and pass them on."""
        if not messages:
            return
        n_samples = messages[0][1].object.shape[-1]
        n_out = int(n_samples / self._ratio + ROUNDING)
        if self._ratio > 1.0 and n_out < n_samples:
            if n_out == 0:
                raise MalformedMessageError(
                    f"number_of_samples ({n_samples}): none is left after the crop by {self._ratio:g}"
                )
            imaging = [pair for pair in messages if not pair[0].object.flags & FLAG_NOISE]
            if imaging:
                self._crop_imaging(imaging, n_samples, n_out)
        for header, _ in messages:
            self.put_next(header)

    def _crop_imaging(
        self,
        messages: list[tuple[Container[ismrmrd.AcquisitionHeader], Container[Readout]]],
        n_samples: int,
        n_out: int,
    ) -> None:
        with heavy_work:
            results = crop_readouts([readout.object for _, readout in messages], n_out, shared_pool.take)
        ratio = self._ratio
        n_bytes = results[0].nbytes + BLOCK_OVERHEAD_BYTES
        for (header, readout), result in zip(messages, results, strict=True):
            readout.object = result
            readout.charge(n_bytes)  # its part of a block that neighbours share
            head = header.object
            head.number_of_samples = n_out
            head.center_sample = int(head.center_sample / ratio)
            head.discard_pre = int(head.discard_pre / ratio)
            head.discard_post = int(head.discard_post / ratio)
            if readout.cont is not None and isinstance(readout.cont, Container):
                trajectory = readout.cont.object
                if isinstance(trajectory, np.ndarray) and trajectory.shape[:1] == (n_samples,):
                    readout.cont.object = resample_trajectory(trajectory, n_out, ratio)
