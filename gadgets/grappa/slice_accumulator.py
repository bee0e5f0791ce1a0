"""Collection of the readouts of a slice."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import CLOSE_NORMAL, Gadget2
from gadgetron.message import Array, Container, ParametersMessage, as_container_message, blocks, make_message
from gadgets.grappa.collecting import SliceCollector
from gadgets.grappa.slices import ChannelAnnotation, Slice
from gadgets.mri_core.left_out import LeftOutReadouts


class SliceAccumulator(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Collect readouts until their slice is complete, and send them on together.

    Takes acquisitions, emits one Slice for each image, that is for each slice, contrast, phase, repetition and set: at
    the readout that is flagged as the last of its slice (of the last average, where the header has several), when it
    has all its lines and another image of the slice begins, and at the end. Noise, feedback, dummy and phase correction
    readouts are dropped, and those with samples that are not finite.

    Mended against the C++ Gadgetron: what is interleaved does not mix, be it slices, contrasts or phases; averages are
    averaged; a last slice without a flag is not lost.
    """

    emits = ((Slice,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._left_out = LeftOutReadouts(self)
        self._collector = SliceCollector(self._left_out)
        self._uncombined: tuple[int, ...] = ()

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how many lines and averages an image has."""
        self._collector = SliceCollector(self._left_out, parameters.header)

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Take one readout."""
        for block in blocks(readout):
            annotation = as_container_message(block, ChannelAnnotation)
            if annotation is not None:
                self._uncombined = annotation.object.uncombined
        for piece in self._collector.add(header.object, readout.object, self._uncombined):
            self.put_next(make_message(piece))

    def close(self, flags: int) -> None:
        """Send what waits for a flag."""
        self._left_out.summarize()
        if flags == CLOSE_NORMAL:
            for piece in self._collector.rest(self._uncombined):
                self.put_next(make_message(piece))
            if self._collector.n_late:
                self.log.warning(
                    "readouts.late", n_readouts=self._collector.n_late, hint="behind their slice's last one"
                )
