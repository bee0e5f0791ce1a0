"""What the pre-flight check knows of a scan: its header, its readouts' headers, and samples of the first ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gadgetron.acquisition import (
    FLAG_CALIBRATION,
    FLAG_CALIBRATION_AND_IMAGING,
    FLAG_NOISE,
    FLAG_PHASE_CORRECTION,
    FLAGS_NOT_IMAGING,
)
from gadgetron.dataset import ScanFile
from gadgetron.header import Encoding, IsmrmrdHeader, parse_ismrmrd_header
from gadgetron.limits import MIB

__all__ = ["Scan", "ScanSummary", "load_scan"]

MAX_HEADERS: Final = 500_000
MAX_SAMPLE_BYTES: Final = 128 * MIB
MAX_SAMPLED: Final = 4096


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """Of one imaging readout: its place in the file, energy, and sample of largest magnitude."""

    index: int
    energy: float
    peak_sample: int


@dataclass(slots=True)
class Scan:
    """A scan, as far as it is looked at.

    Attributes
    ----------
    header
        The ISMRMRD header.
    heads
        Headers of the readouts, structured array.
    n_readouts, n_waveforms
        How many there are in all; `heads` may have fewer.
    summaries
        Of the first imaging readouts.
    n_images
        How many images there are instead of readouts.
    image_types
        Names of their pixels' types.
    n_not_finite, n_silent
        How many of these have samples that are not finite, and how many are all zero.
    n_noise_sampled, n_noise_silent, n_noise_not_finite
        How many noise readouts were looked at, how many of them are all zero, and how many have samples that are not
        finite.
    """

    header: IsmrmrdHeader
    heads: NDArray[np.void]
    n_readouts: int
    n_waveforms: int
    summaries: list[ScanSummary] = field(default_factory=list)
    n_images: int = 0
    image_types: tuple[str, ...] = ()
    n_not_finite: int = 0
    n_silent: int = 0
    n_noise_sampled: int = 0
    n_noise_silent: int = 0
    n_noise_not_finite: int = 0

    @property
    def flags(self) -> NDArray[np.uint64]:
        """Flags of the readouts."""
        return np.asarray(self.heads["flags"], np.uint64)

    def flagged(self, bits: int) -> NDArray[np.bool_]:
        """Tell which readouts have one of these flags."""
        return np.asarray((self.flags & np.uint64(bits)) != 0)

    @property
    def is_noise(self) -> NDArray[np.bool_]:
        """Which readouts are noise."""
        return self.flagged(FLAG_NOISE)

    @property
    def is_navigator(self) -> NDArray[np.bool_]:
        """Which readouts are phase correction."""
        return self.flagged(FLAG_PHASE_CORRECTION)

    @property
    def is_calibration(self) -> NDArray[np.bool_]:
        """Which readouts are parallel imaging calibration, imaging as well or not."""
        return self.flagged(FLAG_CALIBRATION | FLAG_CALIBRATION_AND_IMAGING)

    @property
    def is_imaging(self) -> NDArray[np.bool_]:
        """Which readouts become lines of an image."""
        return ~self.flagged(FLAGS_NOT_IMAGING | FLAG_CALIBRATION | FLAG_PHASE_CORRECTION)

    def encodings(self) -> list[tuple[int, Encoding, NDArray[np.bool_]]]:
        """Give number, description and readouts of each encoding space that has imaging or calibration readouts."""
        spaces = np.asarray(self.heads["encoding_space_ref"])
        used = self.is_imaging | self.is_calibration
        return [
            (number, encoding, used & (spaces == number))
            for number, encoding in enumerate(self.header.encoding)
            if (used & (spaces == number)).any()
        ]

    def counter(self, name: str) -> NDArray[np.int64]:
        """Give an encoding counter of all readouts."""
        return np.asarray(self.heads["idx"][name], np.int64)


def load_scan(path: str | Path, group: str = "dataset") -> Scan:
    """Look at a scan in an ISMRMRD HDF5 file.

    Raises
    ------
    StorageError
        If it cannot be read.
    MalformedMessageError
        If its header is none.
    """
    with ScanFile(path, group) as file:
        header = parse_ismrmrd_header(file.header_xml)
        heads = file.readout_headers(MAX_HEADERS)
        scan = Scan(
            header, heads, file.n_acquisitions, file.n_waveforms, n_images=file.n_images, image_types=file.image_types
        )
        _sample(scan, file)
    return scan


def _sample(scan: Scan, file: ScanFile) -> None:
    """Look at the samples of the first imaging and noise readouts."""
    is_imaging, is_noise = scan.is_imaging, scan.is_noise
    n_bytes = 0
    for index, acquisition in enumerate(file.acquisitions()):
        n_bytes += acquisition.data.nbytes
        if index >= len(is_imaging) or len(scan.summaries) >= MAX_SAMPLED or n_bytes > MAX_SAMPLE_BYTES:
            return
        if is_noise[index]:
            scan.n_noise_sampled += 1
            scan.n_noise_silent += not acquisition.data.any()
            scan.n_noise_not_finite += not np.isfinite(acquisition.data).all()
        if not is_imaging[index] or acquisition.data.size == 0:
            continue
        power = (np.abs(acquisition.data) ** 2).sum(axis=0, dtype=np.float64)
        energy = float(power.sum())
        if not np.isfinite(energy):
            scan.n_not_finite += 1
            energy = 0.0
        elif energy == 0:
            scan.n_silent += 1
        scan.summaries.append(ScanSummary(index, energy, int(np.argmax(power))))
