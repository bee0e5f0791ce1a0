"""Aliased images of undersampled slices."""

from __future__ import annotations

from gadgetron.gadget import Gadget1
from gadgetron.message import Container, ParametersMessage, make_message
from gadgetron.toolboxes.fft import ifft
from gadgets.grappa.slices import LineGrid, Slice, SliceImage, is_imaging


class ImageAccumulator(Gadget1[Slice]):
    """Transform the imaging readouts of a slice to images of the single coils.

    Takes slices, emits one SliceImage for each that has imaging readouts; those for calibration alone stay out.

    Mended against the C++ Gadgetron: lines that came more than once are averaged.
    """

    emits = ((SliceImage,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._grid: LineGrid | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large the image is."""
        self._grid = LineGrid(parameters.header)

    def process(self, m1: Container[Slice]) -> None:
        """Transform one slice."""
        imaging = [acquisition for acquisition in m1.object.acquisitions if is_imaging(acquisition)]
        if self._grid is None or not imaging:
            return
        kspace, _ = self._grid.lay_out(imaging)
        images = ifft(kspace, (2, 3))
        self.put_next(
            make_message(SliceImage(m1.object.number, m1.object.index, images, imaging[0].head, imaging[-1].head))
        )
