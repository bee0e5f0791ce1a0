"""How a scan was accelerated, as its header says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gadgetron.header import Encoding

__all__ = ["Acceleration", "acceleration_of"]


@dataclass(frozen=True, slots=True)
class Acceleration:
    """Acceleration of an encoding space.

    Attributes
    ----------
    e1, e2
        Factors along the two phase encoding axes.
    mode
        `embedded`, `interleaved`, `separate`, `external` or `other`; `none` if both factors are 1.
    """

    e1: int
    e2: int
    mode: str

    @property
    def is_accelerated(self) -> bool:
        """Whether lines were left out."""
        return self.e1 > 1 or self.e2 > 1

    @property
    def keeps_center(self) -> bool:
        """Whether calibration data lies in k-space as imaging data does, with k-space center where the header says."""
        return self.mode in ("none", "interleaved")


def acceleration_of(encoding: Encoding) -> Acceleration:
    """Read the acceleration of an encoding; calibration lines are embedded if the header does not say."""
    parallel = encoding.parallelImaging
    if parallel is None:
        return Acceleration(1, 1, "none")
    factor = parallel.accelerationFactor
    e1, e2 = max(1, factor.kspace_encoding_step_1), max(1, factor.kspace_encoding_step_2)
    mode = (parallel.calibrationMode or "embedded") if e1 > 1 or e2 > 1 else "none"
    return Acceleration(e1, e2, mode)
