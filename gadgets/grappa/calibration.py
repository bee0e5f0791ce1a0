"""Unmixing coefficients of slices, from the lines that have come so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.message import Array
from gadgetron.recon_types import FLAG_CALIBRATION, FLAG_CALIBRATION_AND_IMAGING
from gadgetron.toolboxes.calibration_lines import regular_spacing, tell_dense_lines, tell_spacing
from gadgetron.toolboxes.grappa import CalibrationError
from gadgetron.toolboxes.grappa_lines import (
    GrappaSettings,
    WrapCorrection,
    calibration_region,
    equations_per_unknown,
    fill_gaps,
    line_spacing,
    slice_unmixing,
)
from gadgets.grappa.slices import E1, LineGrid, Slice, SliceWeights, is_imaging

ENOUGH_EQUATIONS = 2.0  # for each unknown
FLAGGED = FLAG_CALIBRATION | FLAG_CALIBRATION_AND_IMAGING


@dataclass(slots=True)
class _Lines:
    """What has come of a slice: k-space (coils, 1, y, x), the lines in it, and where the slice lies.

    `flagged` are the lines that calibrate, `extra` those of them that are not for the image.
    """

    place: tuple[float, ...]
    kspace: Array[np.complex64]
    lines: set[int] = field(default_factory=set)
    flagged: set[int] = field(default_factory=set)
    extra: set[int] = field(default_factory=set)
    has_weights: bool = False


class SliceCalibration:
    """Calibrates slices, each for itself.

    The lines of a slice are kept until it moves, newer ones replace older ones: with time-interleaved sampling k-space
    fills up, and the region that calibrates grows. Lines that are missing between those that are for calibration alone
    are found by GRAPPA from their neighbours.

    Parameters
    ----------
    warn
        Told once in a session what may spoil images: name of the event, and a text for the client.
    always
        Whether weights are computed for every slice that comes; otherwise when there are none, and when it has moved.
    n_targets
        How many of the combined coils, the first ones, are combined; 0 for all.
    """

    def __init__(
        self,
        grid: LineGrid,
        settings: GrappaSettings,
        warn: Callable[[str, str], None],
        *,
        always: bool = False,
        n_targets: int = 0,
    ) -> None:
        self._grid = grid
        self._settings = settings
        self._warn = warn
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
        for acquisition in piece.acquisitions:
            if acquisition.fields.flags & FLAGGED:
                lines.flagged.add(acquisition.fields.idx[E1])
                if not is_imaging(acquisition):
                    lines.extra.add(acquisition.fields.idx[E1])
        return lines

    def _estimate(self, piece: Slice, lines: _Lines) -> tuple[Array[np.complex64], WrapCorrection | None]:
        acceleration = self._acceleration(piece, lines)
        n_coils = len(lines.kspace)
        uncombined = [coil for coil in piece.uncombined if coil < n_coils]
        combined = [coil for coil in range(n_coils) if coil not in uncombined]
        if not combined:
            raise MalformedMessageError(f"active_channels ({n_coils}): all of them are uncombined, none is left")
        kspace, (first, last), is_there = self._region(lines, acceleration)
        if acceleration > 1:
            ratio = equations_per_unknown(is_there, kspace.shape[3], n_coils, acceleration, self._settings)
            if 0 < ratio < ENOUGH_EQUATIONS:
                self._warn(
                    "calibration.poor",
                    f"slice {piece.index}: {int(is_there.sum())} calibration lines around the center of k-space are "
                    f"few for {n_coils} coils and an acceleration of {acceleration}: images may be aliased",
                )
        return slice_unmixing(
            kspace,
            (first, last),
            acceleration,
            self._settings,
            combined[: self._n_targets or n_coils],
            uncombined,
            is_there,
        )

    def _region(self, lines: _Lines, acceleration: int) -> tuple[Array[np.complex64], tuple[int, int], Array[np.bool_]]:
        """Give k-space with what was found of missing calibration lines, the rows that calibrate, and which there are.

        These are rows without a gap around the center. Those that are for calibration alone tell how far they should
        reach, if the center is among them.
        """
        grid = self._grid
        is_there = np.zeros(grid.n_y, bool)
        is_there[[grid.row(line) for line in lines.lines]] = True
        kspace, present = lines.kspace, lines.lines
        first, last = min(lines.extra, default=0), max(lines.extra, default=-1)
        if acceleration > 1 and first <= grid.center <= last:
            kspace, is_there = fill_gaps(kspace, is_there, (grid.row(first), grid.row(last)), acceleration)
            if is_there[grid.row(grid.center)]:
                present = present.union(range(first, last + 1))
        region = calibration_region(present, grid.center)
        rows = (grid.row(region[0]), grid.row(region[1]))
        return kspace, rows, is_there[rows[0] : rows[1] + 1]

    def _acceleration(self, piece: Slice, lines: _Lines) -> int:
        """Give the distance of the imaging lines, or what the header says where they do not tell."""
        steps = np.unique([line.fields.idx[E1] for line in piece.acquisitions if is_imaging(line)]).astype(np.int64)
        if dense := tell_dense_lines(steps):
            self._warn("calibration.not_flagged", dense)
        said = self._grid.acceleration
        if not said:
            return line_spacing(steps.tolist())
        found = regular_spacing(steps, (min(lines.flagged), max(lines.flagged)) if lines.flagged else None)
        if found in (1, said):
            return said
        told = tell_spacing(found, said)
        if said == 1 and not lines.flagged:
            self._warn("acceleration.unknown", f"{told}; without calibration lines images are aliased")
            return said
        self._warn("acceleration.not_in_header", f"{told}: {found} is assumed")
        return found
