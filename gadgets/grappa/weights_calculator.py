"""Unmixing coefficients of slices."""

from __future__ import annotations

from enum import Enum

from gadgetron.gadget import Gadget1
from gadgetron.message import Container, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgetron.toolboxes.grappa_lines import GrappaSettings
from gadgets.grappa.calibration import SliceCalibration
from gadgets.grappa.slices import LineGrid, Slice, SliceWeights


class Update(Enum):
    """When the weights of a slice are computed."""

    ONCE = "once"
    ALWAYS = "always"


class cpuWeightsCalculator(Gadget1[Slice]):  # noqa: N801  # the name that configurations have for it
    """Estimate what aliased images are multiplied with: a GRAPPA kernel and coil maps, from the central lines.

    Takes slices, emits SliceWeights for each: new coefficients when there were none, when the slice has moved, and with
    `update_weights` = always for every slice. The lines of a slice are kept until it moves, newer ones replace older
    ones: with time-interleaved sampling k-space fills up, and the region that calibrates grows.

    Mended against the C++ Gadgetron: which image gets which weights does not depend on the computer's speed (there they
    are computed again whenever there is time); the header's acceleration counts unless the lines' spacing is regular
    and another one; calibration lines that are missing are found from their neighbours; what cannot be calibrated is
    said, and calibration that is poor, or lost its flags; slices that alternate do not delete each other's lines.
    """

    emits = ((SliceWeights,),)

    coil_map_estimation_ks = Property(5, doc="edge length of the neighbourhood for coil maps", minimum=1, maximum=63)
    coil_map_estimation_power = Property(3, doc="power iterations for coil maps", minimum=1, maximum=100)
    block_size_samples = Property(5, doc="samples of a line that a missing sample is made of", minimum=1, maximum=63)
    block_size_lines = Property(4, doc="acquired lines that a missing sample is made of", minimum=2, maximum=32)
    convolution_kernel_threshold = Property(5e-4, doc="Tikhonov regularization of the kernel", minimum=0.0)
    update_weights = Property(Update.ONCE, doc="compute the weights of a slice once, or always when lines of it come")
    calibration_reads_past_lines = Property(
        True, doc="let the calibration region be one sample too long, as in the C++ Gadgetron; changes images by 0.1 %"
    )

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._calibration: SliceCalibration | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large the image is."""
        settings = GrappaSettings(
            kernel_samples=self.block_size_samples | 1,
            kernel_lines=self.block_size_lines,
            regularization=self.convolution_kernel_threshold,
            map_kernel=self.coil_map_estimation_ks,
            map_iterations=self.coil_map_estimation_power,
            reads_past_lines=self.calibration_reads_past_lines,
        )
        grid = LineGrid(parameters.header)
        self._calibration = SliceCalibration(
            grid, settings, self.warn_once, always=self.update_weights is Update.ALWAYS
        )

    def process(self, m1: Container[Slice]) -> None:
        """Take the lines of one slice."""
        if self._calibration is not None:
            self.put_next(make_message(self._calibration.weights(m1.object)))


class gpuWeightsCalculator(cpuWeightsCalculator):  # noqa: N801  # the name that configurations have for it
    """The same on the processor: there is no other. For configurations that ask for a graphics card."""
