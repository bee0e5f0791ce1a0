"""Correction of echo planar readouts with navigators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import ismrmrd
import numpy as np

from gadgetron.errors import ConfigurationError, LimitExceeded
from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import (
    COUNTERS,
    FLAG_LAST_IN_SLICE,
    FLAG_NOISE,
    FLAG_PHASE_CORRECTION,
    FLAG_REVERSE,
    FLAGS_NOT_IMAGING,
    AcquisitionFields,
    acquisition_fields,
)
from gadgetron.toolboxes.arrays import owned, quiet
from gadgetron.toolboxes.epi_coils import with_coil_differences
from gadgetron.toolboxes.epi_navigators import GhostCorrection, ParameterFilter, find_ghost_correction, unchanged
from gadgetron.toolboxes.epi_refinement import refine_ghost_correction

Header = Container[ismrmrd.AcquisitionHeader]
Readout = Container[Array[np.complex64]]

SHOT_COUNTERS: Final = tuple(
    COUNTERS.index(name) for name in ("average", "slice", "contrast", "phase", "repetition", "set")
)
SLICE, SET = COUNTERS.index("slice"), COUNTERS.index("set")
STEP_1, STEP_2 = COUNTERS.index("kspace_encode_step_1"), COUNTERS.index("kspace_encode_step_2")
EXCITATION_COUNTERS: Final = tuple(
    COUNTERS.index(name) for name in ("average", "slice", "phase", "repetition", "set")
)  # echoes of several contrasts may share navigators
DEFAULT_ECHOES: Final = 1024
MAX_NAVIGATORS: Final = 4096
MAX_FILTERS: Final = 65536


@dataclass(slots=True)
class _Shot:
    """Navigators and readouts that wait for each other."""

    key: tuple[int, ...]
    navigators: list[Array[np.complex64]] = field(default_factory=list)
    are_reversed: list[bool] = field(default_factory=list)
    candidates: tuple[GhostCorrection, ...] = ()
    correction: GhostCorrection | None = None
    excitation: tuple[int, ...] | None = None  # counters of its readouts, once there are any

    def add_navigator(self, data: Array[np.complex64], *, is_reverse: bool) -> None:
        """Keep a navigator."""
        self.navigators.append(owned(data))
        self.are_reversed.append(is_reverse)

    @property
    def has_readouts(self) -> bool:
        """Whether readouts of it have come."""
        return self.excitation is not None

    @property
    def is_finite(self) -> bool:
        """Whether all samples of its navigators are numbers."""
        return all(bool(np.isfinite(navigator).all()) for navigator in self.navigators)

    @property
    def alternates(self) -> bool:
        """Whether each navigator runs opposite to the one before it, and all have one shape."""
        pairs = zip(self.are_reversed, self.are_reversed[1:], strict=False)
        return all(a != b for a, b in pairs) and len({navigator.shape for navigator in self.navigators}) == 1


class EPICorrGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Make odd and even readouts of echo planar imaging alike, so that no ghost appears in the image.

    Takes acquisitions in image space along x (from EPIReconXGadget); emits the imaging ones, in order, phases corrected
    and no longer flagged as reversed. Navigators (phase correction readouts, of alternating polarity) are consumed; a
    shot's readouts wait until it has as many as trajectoryDescription.numberOfNavigators says. Readouts of encoding
    spaces above 0, noise, and what is no part of the image (dummy scans, feedback) pass unchanged, and do not count as
    echoes.

    What navigators say of all coils together is not all: coils differ, and the echo train is not quite as navigators
    are. `coil_differences` and `refine_from_readouts` see to that, where the model is linear or polynomial. For the
    second the readouts of a shot wait for its last one: as many as trajectoryDescription.etl, or last in slice, or what
    comes before the next navigators. With both off this is the C++ Gadgetron's correction, and no readout waits longer.

    Where navigators are missing, do not alternate, hold samples that are no numbers, or do not come before as many
    readouts as an echo train has, the last shot's correction is used, or none, and a warning says so: the C++ Gadgetron
    sends nothing then. A lost navigator costs it all later shots, here one.
    """

    verboseMode = Property(False, doc="log each correction")
    referenceNavigatorNumber = Property(
        1, doc="navigator whose magnitude is the weight when parameters are filtered, from 0", minimum=0
    )
    B0CorrectionMode = Property(
        "mean", doc="model of the phase that grows from echo to echo", choices=("none", "mean", "linear")
    )
    OEPhaseCorrectionMode = Property(
        "polynomial",
        doc="model of the phase between odd and even echoes along x",
        choices=("none", "mean", "linear", "polynomial"),
    )
    coil_differences = Property(
        True, doc="find from the navigators how coils differ, in phase and magnitude; off as in the C++ Gadgetron"
    )
    refine_from_readouts = Property(
        True,
        doc="add a linear phase that makes a shot's odd and even readouts agree, where they show one; off as in the "
        "C++ Gadgetron",
    )
    navigatorParameterFilterLength = Property(
        0,
        doc="number of repetitions over which the models' parameters are smoothed; up to 1 not at all",
        maximum=10_000,
    )
    navigatorParameterFilterExcludeVols = Property(
        0, doc="number of repetitions at the beginning that are not smoothed", minimum=0
    )

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_navigators: int | None = None
        self._n_echoes = DEFAULT_ECHOES
        self._n_partitions = 1
        self._shot = _Shot(())
        self._echo = 0
        self._last: GhostCorrection | None = None
        self._waiting: list[tuple[Header, Readout, AcquisitionFields]] = []
        self._n_waiting_echoes = 0  # without what is no part of the image
        self._n_bytes = 0
        self._filters: dict[tuple[int, int], ParameterFilter] = {}

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read how many navigators and echoes a shot has."""
        encoding = parameters.header.encoding[0]
        description = encoding.trajectoryDescription
        n_navigators = description.find("numberOfNavigators") if description else None
        self._n_navigators = n_navigators if isinstance(n_navigators, int) and n_navigators > 0 else None
        if self._n_navigators is not None and self.referenceNavigatorNumber >= self._n_navigators:
            raise ConfigurationError(
                f"referenceNavigatorNumber ({self.referenceNavigatorNumber}): below {self._n_navigators} expected, "
                f"from trajectoryDescription.numberOfNavigators"
            )
        if self._n_navigators is not None and self._n_navigators > MAX_NAVIGATORS:
            raise LimitExceeded("trajectoryDescription.numberOfNavigators", self._n_navigators, MAX_NAVIGATORS)
        n_echoes = description.find("etl") if description else None
        if not isinstance(n_echoes, int) or n_echoes < 1:
            n_echoes = encoding.echoTrainLength or encoding.encodedSpace.matrixSize.y
        self._n_echoes = max(1, n_echoes)
        limit = encoding.encodingLimits.kspace_encoding_step_2
        self._n_partitions = limit.size if limit is not None else 1

    def process(self, header: Header, readout: Readout) -> None:
        """Take one navigator, or correct one readout."""
        fields = acquisition_fields(header.object)
        if fields.encoding_space_ref > 0 or fields.flags & FLAG_NOISE:
            self._release()  # order is kept
            self.put_next(header)
        elif fields.flags & FLAG_PHASE_CORRECTION:
            self._take_navigator(fields, readout.object)
        elif fields.flags & FLAGS_NOT_IMAGING and not self._waiting:
            self.put_next(header)
        elif fields.flags & FLAGS_NOT_IMAGING:
            self._hold(header, readout, fields)
        else:
            self._take_readout(header, readout, fields)

    def _take_navigator(self, fields: AcquisitionFields, data: Array[np.complex64]) -> None:
        key = tuple(fields.idx[counter] for counter in SHOT_COUNTERS)
        shot = self._shot
        is_full = self._n_navigators is not None and len(shot.navigators) >= self._n_navigators
        is_over = self._n_navigators is None and shot.has_readouts
        if is_full or is_over or (shot.navigators and key != shot.key) or len(shot.navigators) >= MAX_NAVIGATORS:
            self._release()
            shot = self._shot = _Shot(key)
            self._echo = 0
        elif not shot.navigators:
            shot.key = key
        shot.add_navigator(data, is_reverse=bool(fields.flags & FLAG_REVERSE))
        if len(shot.navigators) == self._n_navigators:
            self._compute(fields)
            is_complete = self._n_waiting_echoes >= self._n_echoes
            if is_complete or shot.correction is not None or not shot.candidates:
                self._release()

    def _take_readout(self, header: Header, readout: Readout, fields: AcquisitionFields) -> None:
        shot = self._shot
        excitation = tuple(fields.idx[counter] for counter in EXCITATION_COUNTERS)
        if shot.has_readouts and excitation != shot.excitation:  # no navigators came before it
            self._release()
            shot = self._shot = _Shot(())
            self._echo = 0
        if self._n_navigators is None and shot.navigators and not shot.has_readouts:
            self._compute(fields)
        shot.excitation = excitation
        self._n_waiting_echoes += 1
        self._hold(header, readout, fields)
        is_last = self._n_waiting_echoes >= self._n_echoes or bool(fields.flags & FLAG_LAST_IN_SLICE)
        if shot.correction is not None or (shot.candidates and is_last) or self._n_waiting_echoes > self._n_echoes:
            self._release()

    def _hold(self, header: Header, readout: Readout, fields: AcquisitionFields) -> None:
        self._waiting.append((header, readout, fields))
        self._n_bytes += readout.nbytes
        if self._n_bytes > LIMITS.max_session_bytes:
            raise LimitExceeded("bytes of readouts waiting for their shot", self._n_bytes, LIMITS.max_session_bytes)

    def _compute(self, fields: AcquisitionFields) -> None:
        """Find the correction of a shot whose navigators are complete."""
        shot = self._shot
        if len(shot.navigators) < 2 or not shot.alternates or not shot.is_finite:
            self.warn_once(
                "navigators.not_usable",
                "a shot has less than two navigators, or they do not alternate, or hold samples that are no numbers: "
                "another shot's correction is used, or none",
                n_navigators=len(shot.navigators),
                are_reversed=shot.are_reversed,
                are_finite=shot.is_finite,
            )
            return
        navigators = np.stack(shot.navigators)
        smooth = self._filter(fields, navigators) or unchanged
        found = find_ghost_correction(
            navigators,
            starts_reversed=shot.are_reversed[0],
            offset_mode=self.B0CorrectionMode,  # type: ignore[arg-type]  # one of the property's choices
            polarity_mode=self.OEPhaseCorrectionMode,  # type: ignore[arg-type]
            smooth=smooth,
        )
        shot.candidates = (found,)
        if self._is_linear and self.coil_differences:
            each = with_coil_differences(found, navigators, starts_reversed=shot.are_reversed[0], smooth=smooth)
            shot.candidates = (each, found)
        if not self._refines:
            shot.correction = self._last = shot.candidates[0]
        if self.verboseMode:
            phase = found.polarity
            self.log.info(
                "ghost_correction.computed", mean_phase=round(float(phase.mean()), 4), slice=fields.idx[SLICE]
            )

    @property
    def _is_linear(self) -> bool:
        """Whether the model has a phase that varies with x."""
        return self.OEPhaseCorrectionMode in {"linear", "polynomial"}

    @property
    def _refines(self) -> bool:
        return self._is_linear and self.refine_from_readouts

    def _filter(self, fields: AcquisitionFields, navigators: Array[np.complex64]) -> ParameterFilter | None:
        """Give the filter of a slice and set, begun for this excitation."""
        if self.navigatorParameterFilterLength <= 1:
            return None
        key = (fields.idx[SLICE], fields.idx[SET])
        n_excluded = self.navigatorParameterFilterExcludeVols * self._n_partitions
        if len(self._filters) >= MAX_FILTERS and key not in self._filters:
            raise LimitExceeded("slices and sets whose navigators are filtered", len(self._filters) + 1, MAX_FILTERS)
        smooth = self._filters.setdefault(key, ParameterFilter(self.navigatorParameterFilterLength, n_excluded))
        smooth.begin(float(abs(navigators[min(self.referenceNavigatorNumber, len(navigators) - 1)].mean())))
        return smooth

    def _choose(self) -> GhostCorrection | None:
        """Settle the correction of the shot whose readouts wait; without navigators of its own, the last one's."""
        shot = self._shot
        if shot.correction is None and shot.candidates:
            echoes = [waiting for waiting in self._waiting if not waiting[2].flags & FLAGS_NOT_IMAGING]
            readouts = _echo_train(echoes)
            shot.correction = shot.candidates[0]
            if readouts is not None and shot.correction.fits(readouts.shape[1:]):
                starts_reversed = bool(echoes[0][2].flags & FLAG_REVERSE)
                shot.correction = refine_ghost_correction(
                    readouts, starts_reversed=starts_reversed, corrections=shot.candidates
                )
            self._last = shot.correction
        if shot.correction is None:
            self.warn_once(
                "navigators.missing",
                "a shot has no usable navigators of its own: another shot's correction is used, or none",
                n_found=len(shot.navigators),
                n_expected=self._n_navigators,
            )
            return self._last
        return shot.correction

    @quiet
    def _release(self) -> None:
        """Send the readouts that wait, as well corrected as can be."""
        if not self._waiting:
            return
        correction = self._choose()
        waiting, self._waiting, self._n_bytes = self._waiting, [], 0
        self._n_waiting_echoes = 0
        for header, readout, fields in waiting:
            if fields.flags & FLAGS_NOT_IMAGING:
                self.put_next(header)
                continue
            is_reverse = bool(fields.flags & FLAG_REVERSE)
            data = readout.object
            if correction is not None and correction.fits(data.shape):
                readout.object = data * correction.factors(self._echo, is_reverse=is_reverse)
            if is_reverse:
                header.object.flags = fields.flags & ~FLAG_REVERSE
            self._echo += 1
            self.put_next(header)

    def close(self, flags: int) -> None:
        """Send what still waits for navigators."""
        if flags:
            self._release()
        self._waiting = []
        self._shot = _Shot(())


def _echo_train(waiting: list[tuple[Header, Readout, AcquisitionFields]]) -> Array[np.complex64] | None:
    """Give the readouts of one shot, if they alternate and are equally far from each other, else None."""
    heads = [fields for _, _, fields in waiting]
    places = np.array([(head.idx[STEP_1], head.idx[STEP_2]) for head in heads], np.int64)
    steps = np.diff(places, axis=0)
    is_reverse = np.array([bool(head.flags & FLAG_REVERSE) for head in heads])
    if len(waiting) < 2 or not steps[0].any() or (steps != steps[0]).any() or (is_reverse[1:] == is_reverse[:-1]).any():
        return None
    if len({tuple(head.idx[counter] for counter in SHOT_COUNTERS) for head in heads}) > 1:
        return None
    if len({readout.object.shape for _, readout, _ in waiting}) > 1:
        return None
    return np.stack([readout.object for _, readout, _ in waiting])
