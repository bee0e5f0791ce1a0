"""Unmixing coefficients of slices, from the lines that have come so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.message import Array, Container, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgetron.toolboxes.grappa import CalibrationError
from gadgetron.toolboxes.grappa_lines import GrappaSettings, calibration_region, line_spacing, slice_unmixing
from gadgets.grappa.slices import E1, LineGrid, Slice, SliceWeights, is_imaging


class Update(Enum):
    """When the weights of a slice are computed."""

    ONCE = "once"
    ALWAYS = "always"


@dataclass(slots=True)
class _Lines:
    """What has come of a slice: k-space (coils, 1, y, x), the lines in it, and where the slice lies."""

    place: tuple[float, ...]
    kspace: Array[np.complex64]
    lines: set[int] = field(default_factory=set)
    has_weights: bool = False


class cpuWeightsCalculator(Gadget1[Slice]):  # noqa: N801  # the name that configurations have for it
    """Estimate what aliased images are multiplied with: a GRAPPA kernel and coil maps, from the lines without a gap.

    Takes slices, emits SliceWeights for each: new coefficients when there were none, when the slice has moved, and with
    `update_weights` = always for every slice. The lines of a slice are kept until it moves, newer ones replace older
    ones: with time-interleaved sampling k-space fills up, and the region that calibrates grows.

    Mended against the C++ Gadgetron: which image gets which weights does not depend on the computer's speed (there they
    are computed again whenever there is time); the header's acceleration counts before the lines' spacing; what cannot
    be calibrated is said; slices that alternate do not delete each other's lines.
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
        self._grid: LineGrid | None = None
        self._slices: dict[int, _Lines] = {}

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find out how large the image is."""
        self._grid = LineGrid(parameters.header)
        self._slices.clear()

    def process(self, m1: Container[Slice]) -> None:
        """Take the lines of one slice."""
        if self._grid is None:
            return
        number, index = m1.object.number, m1.object.index
        lines = self._add(m1.object, self._grid)
        weights = SliceWeights(number, index)
        if self.update_weights is Update.ALWAYS or not lines.has_weights:
            try:
                weights.unmixing = self._estimate(m1.object, lines, self._grid)
                lines.has_weights = True
            except CalibrationError as error:
                weights.reason = "" if lines.has_weights else str(error)
        self.put_next(make_message(weights))

    def _add(self, piece: Slice, grid: LineGrid) -> _Lines:
        kspace, new_lines = grid.lay_out(piece.acquisitions)
        head = piece.acquisitions[-1].head
        place = (*head.position[:], *head.read_dir[:], *head.phase_dir[:], *head.slice_dir[:])
        lines = self._slices.get(piece.index)
        if lines is None or lines.place != place:
            lines = self._slices[piece.index] = _Lines(place, kspace)
        elif lines.kspace.shape != kspace.shape:
            raise MalformedMessageError(f"active_channels ({len(kspace)}): {len(lines.kspace)} expected, as before")
        else:
            rows = [grid.row(line) for line in new_lines]
            lines.kspace[:, :, rows] = kspace[:, :, rows]
        lines.lines |= new_lines
        return lines

    def _estimate(self, piece: Slice, lines: _Lines, grid: LineGrid) -> Array[np.complex64]:
        acceleration = grid.acceleration or line_spacing(
            [acquisition.fields.idx[E1] for acquisition in piece.acquisitions if is_imaging(acquisition)]
        )
        first, last = calibration_region(lines.lines, grid.center)
        settings = GrappaSettings(
            kernel_samples=self.block_size_samples | 1,
            kernel_lines=self.block_size_lines,
            regularization=self.convolution_kernel_threshold,
            map_kernel=self.coil_map_estimation_ks,
            map_iterations=self.coil_map_estimation_power,
            reads_past_lines=self.calibration_reads_past_lines,
        )
        unmixing = slice_unmixing(lines.kspace, (grid.row(first), grid.row(last)), acceleration, settings)
        self.log.info(
            "grappa.calibrated", slice=piece.index, acceleration=acceleration, first_line=first, last_line=last
        )
        return unmixing


class gpuWeightsCalculator(cpuWeightsCalculator):  # noqa: N801  # the name that configurations have for it
    """The same on the processor: there is no other. For configurations that ask for a graphics card."""
