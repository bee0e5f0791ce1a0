"""Aliased images of undersampled slices."""

from __future__ import annotations

from gadgetron.gadget import Gadget1
from gadgetron.message import Container, ParametersMessage, make_message
from gadgets.grappa.collecting import slice_image
from gadgets.grappa.slices import LineGrid, Slice, SliceImage


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
        image = slice_image(m1.object, self._grid) if self._grid is not None else None
        if image is not None:
            self.put_next(make_message(image))
