"""Unmixing coefficients of slices, from the lines that have come so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.message import Array
from gadgetron.toolboxes.grappa import CalibrationError
from gadgetron.toolboxes.grappa_lines import (
    GrappaSettings,
    WrapCorrection,
    calibration_region,
    line_spacing,
    slice_unmixing,
)
from gadgets.grappa.slices import E1, LineGrid, Slice, SliceWeights, is_imaging


@dataclass(slots=True)
class _Lines:
    """What has come of a slice: k-space (coils, 1, y, x), the lines in it, and where the slice lies."""

    place: tuple[float, ...]
    kspace: Array[np.complex64]
    lines: set[int] = field(default_factory=set)
    has_weights: bool = False


class SliceCalibration:
    """Calibrates slices, each for itself.

    The lines of a slice are kept until it moves, newer ones replace older ones: with time-interleaved sampling k-space
    fills up, and the region that calibrates grows.

    Parameters
    ----------
    always
        Whether weights are computed for every slice that comes; otherwise when there are none, and when it has moved.
    n_targets
        How many of the combined coils, the first ones, are combined; 0 for all.
    """

    def __init__(self, grid: LineGrid, settings: GrappaSettings, *, always: bool = False, n_targets: int = 0) -> None:
        self._grid = grid
        self._settings = settings
        self._always = always
        self._n_targets = n_targets
        self._slices: dict[int, _Lines] = {}

    def weights(self, piece: Slice) -> SliceWeights:
        """Take the lines of a slice, and give what is known behind it.

        Raises
        ------
        MalformedMessageError
            If a readout does not fit the grid, or the number of coils has changed.
        """
        lines = self._add(piece)
        weights = SliceWeights(piece.number, piece.index)
        if self._always or not lines.has_weights:
            try:
                weights.unmixing, weights.correction = self._estimate(piece, lines)
                lines.has_weights = True
            except CalibrationError as error:
                weights.reason = "" if lines.has_weights else str(error)
        return weights

    def _add(self, piece: Slice) -> _Lines:
        kspace, new_lines = self._grid.lay_out(piece.acquisitions)
        head = piece.acquisitions[-1].head
        place = (*head.position[:], *head.read_dir[:], *head.phase_dir[:], *head.slice_dir[:])
        lines = self._slices.get(piece.index)
        if lines is None or lines.place != place:
            lines = self._slices[piece.index] = _Lines(place, kspace)
        elif lines.kspace.shape != kspace.shape:
            raise MalformedMessageError(f"active_channels ({len(kspace)}): {len(lines.kspace)} expected, as before")
        else:
            rows = [self._grid.row(line) for line in new_lines]
            lines.kspace[:, :, rows] = kspace[:, :, rows]
        lines.lines |= new_lines
        return lines

    def _estimate(self, piece: Slice, lines: _Lines) -> tuple[Array[np.complex64], WrapCorrection | None]:
        grid = self._grid
        acceleration = grid.acceleration or line_spacing(
            [acquisition.fields.idx[E1] for acquisition in piece.acquisitions if is_imaging(acquisition)]
        )
        n_coils = len(lines.kspace)
        uncombined = [coil for coil in piece.uncombined if coil < n_coils]
        combined = [coil for coil in range(n_coils) if coil not in uncombined]
        if not combined:
            raise MalformedMessageError(f"active_channels ({n_coils}): all of them are uncombined, none is left")
        first, last = calibration_region(lines.lines, grid.center)
        return slice_unmixing(
            lines.kspace,
            (grid.row(first), grid.row(last)),
            acceleration,
            self._settings,
            combined[: self._n_targets or n_coils],
            uncombined,
        )
