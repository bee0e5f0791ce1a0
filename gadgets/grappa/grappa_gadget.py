"""The older form of the slice-wise GRAPPA chain: one gadget for images and weights, one that multiplies them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ismrmrd
import numpy as np

from gadgetron.gadget import CLOSE_NORMAL, Gadget2, Gadget3
from gadgetron.message import Array, Container, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgetron.toolboxes.grappa_lines import GrappaSettings, WrapCorrection
from gadgets.grappa.calibration import SliceCalibration
from gadgets.grappa.channel_reorderer import find_channels
from gadgets.grappa.collecting import SliceCollector, slice_image
from gadgets.grappa.pairing import ImageMaker, Pair, Pairing
from gadgets.grappa.slices import LineGrid, Slice
from gadgets.mri_core.left_out import LeftOutReadouts


@dataclass(slots=True)
class GrappaUnmixingJob:
    """What aliased images are multiplied with, shape (images, coils, 1, y, x). Shared between messages: read only."""

    unmixing: Array[np.complex64]
    correction: WrapCorrection | None = None


class GrappaGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Make aliased images of undersampled slices, and what takes their aliasing away.

    Takes acquisitions, emits a GrappaUnmixingJob, an image header and the coils' images (coils, 1, y, x) for each
    image, for GrappaUnmixingGadget. It does what SliceAccumulator, ImageAccumulator and cpuWeightsCalculator do; what
    their notes say holds here, too. A slice's weights are computed once, and again when it moves.
    """

    emits = ((GrappaUnmixingJob, ismrmrd.ImageHeader, Array[np.complex64]),)

    target_coils = Property(0, doc="how many coils, the first ones, are combined; 0 for all", minimum=0)
    use_gpu = Property(True, doc="accepted for old configurations; has no effect")
    device_channels = Property(0, doc="how many coils, the first ones, get images of their own", minimum=0)
    uncombined_channels = Property("", doc="comma separated numbers of coils that get images of their own")
    uncombined_channels_by_name = Property("", doc="comma separated names of coils that get images of their own")
    image_series = Property(0, doc="number of the image series", minimum=0, maximum=65_535)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._left_out = LeftOutReadouts(self)
        self._collector = SliceCollector(self._left_out)
        self._pairing = Pairing()
        self._uncombined: tuple[int, ...] = ()
        self._tools: tuple[LineGrid, SliceCalibration, ImageMaker] | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large images are, and which coils are combined."""
        header = parameters.header
        self._collector = SliceCollector(self._left_out, header)
        grid = LineGrid(header)
        calibration = SliceCalibration(grid, GrappaSettings(), self.warn_once, n_targets=self.target_coils)
        self._tools = (grid, calibration, ImageMaker(header))
        named = find_channels(self.uncombined_channels, self.uncombined_channels_by_name, header)
        self._uncombined = tuple(sorted({*named, *range(self.device_channels)}))

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Take one readout."""
        self._work(self._collector.add(header.object, readout.object, self._uncombined))

    def _work(self, pieces: Iterable[Slice]) -> None:
        for piece in pieces:
            if self._tools is None:
                continue
            grid, calibration, maker = self._tools
            image = slice_image(piece, grid)
            if image is not None:
                self._send(self._pairing.add_image(image), maker)
            self._send(self._pairing.add_weights(calibration.weights(piece)), maker)

    def _send(self, pairs: Iterable[Pair], maker: ImageMaker) -> None:
        for image, unmixing, correction in pairs:
            header = maker.header(image, len(unmixing), self.image_series)
            self.put_next(make_message(GrappaUnmixingJob(unmixing, correction), header, image.data))

    def close(self, flags: int) -> None:
        """Send what waits for a flag, or for weights."""
        self._left_out.summarize()
        if flags == CLOSE_NORMAL and self._tools is not None:
            self._work(self._collector.rest(self._uncombined))
            self._send(self._pairing.rest(), self._tools[2])


class GrappaUnmixingGadget(Gadget3[GrappaUnmixingJob, ismrmrd.ImageHeader, Array[np.complex64]]):
    """Multiply the coils' images with their weights, and sum.

    Takes what GrappaGadget emits; emits complex images, the combined one and those of uncombined coils as channels.
    """

    emits = ((ismrmrd.ImageHeader, Array[np.complex64]),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._maker: ImageMaker | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large images are."""
        self._maker = ImageMaker(parameters.header)

    def process(
        self,
        job: Container[GrappaUnmixingJob],
        header: Container[ismrmrd.ImageHeader],
        images: Container[Array[np.complex64]],
    ) -> None:
        """Unmix one image."""
        if self._maker is not None:
            self.put_next(
                make_message(
                    header.object, self._maker.unmix(images.object, job.object.unmixing, job.object.correction)
                )
            )
