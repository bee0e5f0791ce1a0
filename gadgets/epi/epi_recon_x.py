"""Echo planar readouts to images along x."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.header import Encoding, IsmrmrdHeader
from gadgetron.limits import check
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import FLAG_NOISE, FLAG_PHASE_CORRECTION, FLAG_REVERSE, AcquisitionFields, acquisition_fields
from gadgetron.toolboxes.arrays import quiet
from gadgetron.toolboxes.epi import (
    ReadoutRegridder,
    TrapezoidReadout,
    even_positions,
    flat_grid,
    profile_roughness,
    stretched_grid,
)

IDENTIFIER = "ConventionalEPI"
MAX_MATRIX_ENTRIES = 2048 * 2048
MAX_OPERATORS = 256
POSITION_STEP_MM = 0.01


@dataclass(frozen=True, slots=True)
class _Key:
    """What an operator depends on."""

    encoding_space_ref: int
    n_samples: int
    center_sample: int
    sample_time_us: float
    is_reverse: bool
    position_steps: int


class EPIReconXGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Make images along x of echo planar readouts, ramp samples and reversed readouts included.

    Takes acquisitions, emits acquisitions with (coils, x) in image space: EPICorrGadget corrects their phases and
    FFTXGadget takes them back to k-space. The gradient comes from the header's trajectoryDescription
    `ConventionalEPI`. Encoding spaces above 0 are evenly sampled calibration (FLASH). Noise passes unchanged.

    Mended against the C++ Gadgetron: pixels cover the recon field of view, also where the header's encoded one is
    oversampled; their places are exact, not stretched by half a pixel; what a readout cannot see stays dark instead of
    being filled with noise; slices have their own off-center correction, and no sample need be exactly at k = 0. Some
    scanners (Siemens from VE11) demodulate readouts on the ramps so that nothing is left to correct: `auto` compares
    both on the first navigator, and takes the smoother one.
    """

    verboseMode = Property(False, doc="log what is computed")
    off_center_correction = Property(
        "auto",
        doc="correct the phase of shifted slices on the ramps: always as the C++ Gadgetron does, never, or as the "
        "first navigator looks better",
        choices=("auto", "always", "never"),
    )
    grid = Property(
        "recon",
        doc="pixels along x: recon covers the recon field of view, gadgetron is the C++ Gadgetron's stretched grid "
        "over the encoded one",
        choices=("recon", "gadgetron"),
    )

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._header: IsmrmrdHeader | None = None
        self._is_corrected = True
        self._is_decided = False
        self._regridders: dict[tuple[int, int, int, float], ReadoutRegridder] = {}
        self._operators: OrderedDict[_Key, Array[np.complex64]] = OrderedDict()

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the encodings."""
        header = parameters.header
        description = header.encoding[0].trajectoryDescription
        if description is None or description.identifier != IDENTIFIER:
            found = "is missing" if description is None else f"({description.identifier[:64]!r})"
            raise MalformedMessageError(
                f"encoding[0].trajectoryDescription {found}: {IDENTIFIER!r} expected — {type(self).__name__} needs its "
                f"rampUpTime, rampDownTime, flatTopTime and dwellTime"
            )
        self._header = header
        self._regridders.clear()
        self._operators.clear()
        self._is_decided = self.off_center_correction != "auto"
        self._is_corrected = self.off_center_correction != "never"

    @quiet
    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Make the image of one readout."""
        head = header.object
        fields = acquisition_fields(head)
        if fields.flags & FLAG_NOISE:
            self.put_next(header)
            return
        if readout.object.shape[1] == 0:
            raise MalformedMessageError(f"number_of_samples (0): nothing to grid — scan_counter {fields.scan_counter}")
        shift = _off_center_distance(head) if fields.encoding_space_ref == 0 else 0.0
        if not self._is_decided and fields.encoding_space_ref == 0:
            self._decide(fields, readout.object, shift)
        image = readout.object @ self._operator(fields, shift if self._is_corrected else 0.0)
        readout.object = image
        head.number_of_samples = image.shape[1]
        head.center_sample = image.shape[1] // 2
        head.discard_pre = head.discard_post = 0
        self.put_next(header)

    def _decide(self, fields: AcquisitionFields, data: Array[np.complex64], shift: float) -> None:
        """Find out from the first readout with signal and no phase encoding whether phases are to be corrected."""
        if not fields.flags & FLAG_PHASE_CORRECTION or not np.isfinite(data).all():
            return
        self._is_decided = True
        with_correction = profile_roughness(data @ self._operator(fields, shift))
        without = profile_roughness(data @ self._operator(fields, 0.0))
        self._is_corrected = with_correction <= without
        self.log.info(
            "off_center_correction.decided",
            is_corrected=self._is_corrected,
            distance_mm=round(shift, 2),
            roughness_with=round(with_correction, 5),
            roughness_without=round(without, 5),
        )

    def _operator(self, fields: AcquisitionFields, off_center_mm: float) -> Array[np.complex64]:
        steps = round(off_center_mm / POSITION_STEP_MM)
        is_reverse = bool(fields.flags & FLAG_REVERSE)
        space, n_samples = fields.encoding_space_ref, fields.number_of_samples
        key = _Key(space, n_samples, fields.center_sample, fields.sample_time_us, is_reverse, steps)
        operator = self._operators.get(key)
        if operator is None:
            encoding = self._encoding(space)
            extent = encoding.encodedSpace.fieldOfView_mm.x
            shift = steps * POSITION_STEP_MM / extent if extent > 0 else 0.0
            operator = self._regridder(encoding, fields).operator(is_reverse=is_reverse, shift=shift)
            self._operators[key] = operator
            if len(self._operators) > MAX_OPERATORS:
                self._operators.popitem(last=False)
        return operator

    def _encoding(self, space: int) -> Encoding:
        if self._header is None:
            raise MalformedMessageError("readouts arrived before an ISMRMRD header: the readout gradient is not known")
        return self._header.encoding_space(space)

    def _regridder(self, encoding: Encoding, fields: AcquisitionFields) -> ReadoutRegridder:
        key = (fields.encoding_space_ref, fields.number_of_samples, fields.center_sample, fields.sample_time_us)
        regridder = self._regridders.get(key)
        if regridder is None:
            if len(self._regridders) >= MAX_OPERATORS:
                self._regridders.clear()
            regridder = self._regridders[key] = self._make_regridder(encoding, fields)
            if self.verboseMode:
                self.log.info("regridding.computed", n_samples=fields.number_of_samples, encoding_space=key[0])
        return regridder

    def _make_regridder(self, encoding: Encoding, fields: AcquisitionFields) -> ReadoutRegridder:
        encoded, recon = encoding.encodedSpace, encoding.reconSpace
        n_samples, n_recon = fields.number_of_samples, recon.matrixSize.x
        n_encoded = encoded.matrixSize.x if fields.encoding_space_ref == 0 else n_recon
        check(
            f"entries of the gridding matrix (number_of_samples {n_samples}, matrixSize.x {n_encoded} and {n_recon})",
            max(n_samples, n_recon) * n_encoded,
            MAX_MATRIX_ENTRIES,
        )
        if fields.encoding_space_ref > 0:
            center = fields.center_sample if fields.center_sample < n_samples else n_samples // 2
            positions = even_positions(n_samples, center, n_recon / encoded.matrixSize.x)
            return ReadoutRegridder(positions, n_encoded, flat_grid(n_recon, 1.0))
        try:
            positions = _gradient(encoding, fields).positions(n_samples, n_encoded)
        except ValueError as error:
            raise MalformedMessageError(f"encoding[0].trajectoryDescription: {error}") from error
        if self.grid == "gadgetron":
            return ReadoutRegridder(positions, n_encoded, stretched_grid(n_recon))
        has_fields = encoded.fieldOfView_mm.x > 0 and recon.fieldOfView_mm.x > 0
        extent = recon.fieldOfView_mm.x / encoded.fieldOfView_mm.x if has_fields else 1.0
        return ReadoutRegridder(positions, n_encoded, flat_grid(n_recon, extent))


def _gradient(encoding: Encoding, fields: AcquisitionFields) -> TrapezoidReadout:
    description = encoding.trajectoryDescription

    def number(name: str, default: float = 0.0) -> float:
        value: Any = description.find(name) if description is not None else None
        if value is None:
            return default
        if isinstance(value, str):
            raise MalformedMessageError(f"encoding[0].trajectoryDescription.{name} ({value[:32]!r}): number expected")
        return float(value)

    return TrapezoidReadout(
        ramp_up_us=number("rampUpTime"),
        flat_top_us=number("flatTopTime"),
        ramp_down_us=number("rampDownTime"),
        dwell_time_us=number("dwellTime", fields.sample_time_us),
    )


def _off_center_distance(head: ismrmrd.AcquisitionHeader) -> float:
    """Give the distance of the slice's middle from the isocenter along the readout [mm]."""
    distance = float(np.dot(np.array(head.position[:]), np.array(head.read_dir[:])))
    return distance if np.isfinite(distance) and abs(distance) < 1e4 else 0.0
