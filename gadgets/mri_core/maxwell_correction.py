"""Correction of concomitant gradient fields."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.properties import Property
from gadgetron.toolboxes.flow import PATIENT_TO_SCANNER, maxwell_phase

N_COEFFICIENTS = 4
DEFAULT_POSITION = "HFS"


class MaxwellCorrectionGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Take the phase of concomitant gradient fields out of images with flow encoding.

    Takes and emits complex images. The coefficients are the header's userParameterDouble MaxwellCoefficient_0 to _3;
    without any of them images pass unchanged. Mended against the C++ Gadgetron: all channels are corrected, not the
    first only, and a header that does not tell how the patient lies does not crash it.
    """

    directions = Property(
        "scanner",
        doc="directions of the image: scanner turns the header's from patient coordinates, as the C++ Gadgetron 4 "
        "does; header takes them as they are, as the C++ Gadgetron 3 did",
        choices=("scanner", "header"),
    )

    thread_safe = True

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._coefficients: tuple[float, ...] | None = None
        self._to_scanner = PATIENT_TO_SCANNER[DEFAULT_POSITION]

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the coefficients, and how the patient lies."""
        header = parameters.header
        doubles = header.userParameters.userParameterDouble if header.userParameters else ()
        values = {parameter.name: parameter.value for parameter in doubles}
        names = [f"MaxwellCoefficient_{index}" for index in range(N_COEFFICIENTS)]
        if not any(name in values for name in names):
            self._coefficients = None
            self.log.warning("maxwell.no_coefficients", hint="userParameters has no MaxwellCoefficient_0 to _3")
            return
        self._coefficients = tuple(values.get(name, 0.0) for name in names)
        measurement = header.measurementInformation
        position = (measurement.patientPosition if measurement else None) or ""
        if position.upper() not in PATIENT_TO_SCANNER:
            self.log.warning("maxwell.no_patient_position", assumed=DEFAULT_POSITION)
        self._to_scanner = PATIENT_TO_SCANNER.get(position.upper(), PATIENT_TO_SCANNER[DEFAULT_POSITION])

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Correct one image."""
        data = image.object
        if self._coefficients is not None and data.ndim == 4:
            head = header.object
            position = np.array(head.position[:], np.float64)
            directions = np.array([head.read_dir[:], head.phase_dir[:], head.slice_dir[:]], np.float64)
            if self.directions == "scanner":
                position = self._to_scanner @ position
                directions = -(directions @ self._to_scanner.T)
            n_z, n_y, n_x = data.shape[1:]
            phase = maxwell_phase((n_z, n_y, n_x), head.field_of_view[:], position, directions, self._coefficients)
            image.object = data * np.exp(1j * phase).astype(np.complex64)
        self.put_next(header)
