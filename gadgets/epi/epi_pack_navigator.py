"""Navigators and readouts, packed into one."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import FLAG_NOISE, FLAG_PHASE_CORRECTION, acquisition_fields
from gadgetron.toolboxes.arrays import owned, quiet

DATA_SCALE = np.float32(1e2)
MAX_NAVIGATORS = 4096
NAVIGATOR_SCALE = np.float32(1e6)


class EPIPackNavigatorGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Hide the navigators of a shot in its first readouts, for programs that correct ghosts later.

    Takes acquisitions, consumes navigators (phase correction readouts), emits the others. To each of the first
    readouts of a shot, multiplied by 100, the navigator of the same number is added, multiplied by 10⁶ and rounded:
    rounding the sum gives the navigator back, the rest is the readout, if its real and imaginary parts are below
    0.005. Readouts of encoding spaces above 0, and noise, pass unchanged.
    """

    verboseMode = Property(False, doc="log how many navigators each shot has")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_navigators: int | None = None
        self._navigators: list[Array[np.complex64]] = []
        self._echo = 0

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read how many navigators a shot has."""
        description = parameters.header.encoding[0].trajectoryDescription
        n_navigators = description.find("numberOfNavigators") if description else None
        self._n_navigators = n_navigators if isinstance(n_navigators, int) and n_navigators > 0 else None

    @quiet
    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Keep one navigator, or pack it into a readout."""
        fields = acquisition_fields(header.object)
        if fields.encoding_space_ref > 0 or fields.flags & FLAG_NOISE:
            self.put_next(header)
            return
        if fields.flags & FLAG_PHASE_CORRECTION:
            if self._echo or len(self._navigators) == self._n_navigators:
                self._navigators, self._echo = [], 0
            if len(self._navigators) < MAX_NAVIGATORS:
                self._navigators.append(owned(readout.object))
            return
        if self._echo == 0 and self.verboseMode:
            self.log.info("navigators.packed", n_navigators=len(self._navigators))
        if self._echo < len(self._navigators) and self._navigators[self._echo].shape == readout.object.shape:
            packed = DATA_SCALE * readout.object + np.round(NAVIGATOR_SCALE * self._navigators[self._echo])
            readout.object = packed.astype(np.complex64)
        self._echo += 1
        self.put_next(header)
