"""A simulated scan of the Shepp-Logan phantom: ISMRMRD header, readouts with their flags, and the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from gadgetron.dataset import Acquisition, ScanWriter
from gadgetron.phantom_header import make_phantom_header
from gadgetron.toolboxes import phantom as numerics
from gadgetron.toolboxes.fft import fft

MAX_EXTENT = 65535  # counters and sizes of ISMRMRD have 16 bits
SAMPLE_TIME_US = 5.0
TICKS_PER_READOUT = 4  # acquisition time stamps count 2.5 ms; TR is 10 ms
NOISE_SAMPLES_PER_COIL = 64  # enough for a covariance matrix that can be inverted


@dataclass(frozen=True, kw_only=True)
class PhantomOptions:
    """What to simulate.

    Attributes
    ----------
    matrix, matrix_y, n_partitions
        Pixels of the image along x, along y (as along x when None), and along z (more than 1: a 3D scan).
    n_coils
        Receive coils, on a circle around the object.
    oversampling
        How many times more samples a readout has than the image has pixels.
    n_slices, n_contrasts, n_repetitions
        Extent of the outer loops. Several slices are cuts through the three-dimensional phantom.
    acceleration
        Every n-th line or spoke is measured. Without calibration lines the measured set moves on with each repetition.
    calibration_width
        Lines in the middle of k-space that are all measured.
    noise_level
        Standard deviation of the noise, in the real and in the imaginary part of a k-space sample, as a fraction of
        `intensity`.
    noise_correlation
        Magnitude of the noise correlation of neighbouring coils, from 0 to below 1.
    noise_calibration
        Begin with noise readouts.
    trajectory
        Cartesian lines, or radial spokes.
    n_spokes, golden_angle
        Spokes of a full radial scan (`matrix` when None), evenly spaced over 180 degrees or by the golden angle.
    store_coordinates
        Store the k-space positions with Cartesian readouts too.
    field_of_view_mm, slice_thickness_mm
        Edge length of the image along x, and thickness of a slice or partition [mm].
    intensity
        Value of the brightest pixel.
    seed
        Seed of the noise: the same seed, the same scan.

    Raises
    ------
    ValueError
        If a number is out of range, or options contradict each other.
    """

    matrix: int = 256
    matrix_y: int | None = None
    n_partitions: int = 1
    n_coils: int = 8
    oversampling: int = 2
    n_slices: int = 1
    n_contrasts: int = 1
    n_repetitions: int = 1
    acceleration: int = 1
    calibration_width: int = 0
    noise_level: float = 0.05
    noise_correlation: float = 0.0
    noise_calibration: bool = False
    trajectory: Literal["cartesian", "radial"] = "cartesian"
    n_spokes: int | None = None
    golden_angle: bool = False
    store_coordinates: bool = False
    field_of_view_mm: float = 300.0
    slice_thickness_mm: float = 6.0
    intensity: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("matrix", "n_y", "n_partitions", "n_coils", "oversampling", "n_slices", "n_contrasts"):
            _check_range(name, getattr(self, name), 1, MAX_EXTENT)
        for name in ("n_repetitions", "acceleration", "n_samples", "n_lines"):
            _check_range(name, getattr(self, name), 1, MAX_EXTENT)
        _check_range("calibration_width", self.calibration_width, 0, self.n_y)
        _check_range("acceleration", self.acceleration, 1, self.n_lines)
        if not 0 <= self.noise_correlation < 1:
            raise ValueError(f"noise_correlation is {self.noise_correlation} — from 0 to below 1")
        for name in ("noise_level", "field_of_view_mm", "slice_thickness_mm", "intensity"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)} — a positive number is expected")
        if self.is_radial and (self.n_partitions > 1 or self.calibration_width or self.n_y != self.matrix):
            raise ValueError("a radial scan has a square matrix, one partition and no calibration lines")
        if not self.is_radial and (self.n_spokes is not None or self.golden_angle):
            raise ValueError("spokes belong to a radial scan")

    @property
    def is_radial(self) -> bool:
        """Whether readouts are spokes."""
        return self.trajectory == "radial"

    @property
    def n_y(self) -> int:
        """Pixels of the image along y."""
        return self.matrix if self.matrix_y is None else self.matrix_y

    @property
    def n_samples(self) -> int:
        """Samples of a readout."""
        return self.matrix * self.oversampling

    @property
    def n_lines(self) -> int:
        """Phase encoding steps, or spokes, of a full scan."""
        if self.is_radial:
            return self.matrix if self.n_spokes is None else self.n_spokes
        return self.n_y

    @property
    def calibration_lines(self) -> range:
        """The lines that are all measured."""
        start = self.n_y // 2 - self.calibration_width // 2
        return range(start, start + self.calibration_width)

    @property
    def shifts_lines(self) -> bool:
        """Whether the measured set of lines moves on with each repetition."""
        return self.acceleration > 1 and not self.calibration_width

    def is_on_grid(self, line: int, repetition: int) -> bool:
        """Whether a line belongs to the accelerated pattern of this repetition."""
        offset = repetition if self.shifts_lines else 0
        return (line - offset) % self.acceleration == 0

    def measured_lines(self, repetition: int) -> list[int]:
        """Give the lines, or spokes, of a repetition in the order in which they are measured."""
        calibration = self.calibration_lines
        return [n for n in range(self.n_lines) if self.is_on_grid(n, repetition) or n in calibration]


def _check_range(name: str, value: int, minimum: int, maximum: int) -> None:
    if not minimum <= value <= maximum:
        raise ValueError(f"{name} is {value} — from {minimum} to {maximum}")


class PhantomScan:
    """A scan of the phantom that is computed while it is read: one slice at a time is in memory.

    Parameters
    ----------
    options
        What to simulate.
    """

    def __init__(self, options: PhantomOptions) -> None:
        self.options = options
        self._slice_k_space = lru_cache(maxsize=1)(self._compute_slice)

    @cached_property
    def header_xml(self) -> bytes:
        """The ISMRMRD header."""
        return make_phantom_header(self.options)

    @cached_property
    def phantom(self) -> NDArray[np.float32]:
        """The object, shape (slices * partitions, y, x)."""
        options = self.options
        heights = None
        if options.n_partitions > 1:  # the whole object, from its one end to the other
            heights = numerics.coordinates(options.n_slices * options.n_partitions)
        elif options.n_slices > 1:  # where there is something to see
            heights = 0.6 * ((2 * np.arange(options.n_slices) + 1) / options.n_slices - 1)
        return numerics.shepp_logan(options.n_y, options.matrix, heights) * np.float32(options.intensity)

    @cached_property
    def sensitivities(self) -> NDArray[np.complex64]:
        """The coils, shape (coils, partitions, y, x); the same in every slice."""
        options = self.options
        return numerics.coil_sensitivities(options.n_coils, options.n_partitions, options.n_y, options.matrix)

    @property
    def n_noise_readouts(self) -> int:
        """Noise readouts at the beginning."""
        options = self.options
        if not options.noise_calibration:
            return 0
        return math.ceil(NOISE_SAMPLES_PER_COIL * options.n_coils / options.n_samples)

    @property
    def n_acquisitions(self) -> int:
        """All readouts, noise included."""
        options = self.options
        per_image = [len(options.measured_lines(repetition)) for repetition in range(options.n_repetitions)]
        return self.n_noise_readouts + sum(per_image) * options.n_partitions * options.n_slices * options.n_contrasts

    def acquisitions(self) -> Iterator[Acquisition]:
        """Iterate over the readouts: noise, then repetitions > contrasts > slices > partitions > lines."""
        options = self.options
        rng = np.random.default_rng(options.seed)
        mixing = numerics.noise_mixing(options.n_coils, options.noise_correlation)
        for counter, (header, data, trajectory) in enumerate(self._noiseless()):
            white = rng.standard_normal((options.n_coils, 2 * options.n_samples), np.float32).view(np.complex64)
            header.scan_counter = counter
            header.acquisition_time_stamp = TICKS_PER_READOUT * counter
            scale = np.float32(options.noise_level * options.intensity)
            yield Acquisition(header, data + scale * (mixing @ white), trajectory)

    def _noiseless(self) -> Iterator[Acquisition]:
        options = self.options
        silence = np.zeros((options.n_coils, options.n_samples), np.complex64)
        for _ in range(self.n_noise_readouts):
            header = self._header()
            header.center_sample = 0
            header.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            yield Acquisition(header, silence, None)
        for repetition in range(options.n_repetitions):
            lines = options.measured_lines(repetition)
            for contrast in range(options.n_contrasts):
                for slice_ in range(options.n_slices):
                    for partition in range(options.n_partitions):
                        for line in lines:
                            header = self._header()
                            header.position[2] = options.slice_thickness_mm * (slice_ - (options.n_slices - 1) / 2)
                            header.idx.kspace_encode_step_1, header.idx.kspace_encode_step_2 = line, partition
                            header.idx.repetition, header.idx.contrast = repetition, contrast
                            header.idx.slice = slice_
                            self._set_flags(header, lines)
                            yield self._readout(header)

    def _readout(self, header: ismrmrd.AcquisitionHeader) -> Acquisition:
        options, index = self.options, header.idx
        line, partition = index.kspace_encode_step_1, index.kspace_encode_step_2
        trajectory = self._trajectory(line, partition, index.repetition)
        if trajectory is not None:
            header.trajectory_dimensions = trajectory.shape[1]
        k_space = self._slice_k_space(index.slice)
        if options.is_radial and trajectory is not None:
            data = numerics.sample_k_space(k_space[:, 0], trajectory)
        else:
            data = k_space[:, partition, line]
        return Acquisition(header, data * np.float32(echo_amplitude(index.contrast)), trajectory)

    def _header(self) -> ismrmrd.AcquisitionHeader:
        options = self.options
        header = ismrmrd.AcquisitionHeader()
        header.version = 1
        header.measurement_uid = 1
        header.number_of_samples = options.n_samples
        header.center_sample = options.n_samples // 2
        header.active_channels = header.available_channels = options.n_coils
        for channel in range(min(options.n_coils, 64 * len(header.channel_mask))):
            header.channel_mask[channel // 64] |= 1 << (channel % 64)
        header.sample_time_us = SAMPLE_TIME_US
        header.read_dir[0] = header.phase_dir[1] = header.slice_dir[2] = 1.0
        return header

    def _set_flags(self, header: ismrmrd.AcquisitionHeader, lines: list[int]) -> None:
        """Mark the readout as the first or last of every loop that it begins or ends, from the inner to the outer."""
        options = self.options
        line, partition = header.idx.kspace_encode_step_1, header.idx.kspace_encode_step_2
        ends = {
            "ENCODE_STEP1": (line == lines[0], line == lines[-1]),
            "ENCODE_STEP2": (partition == 0, partition == options.n_partitions - 1),
            "SLICE": (True, True),
            "CONTRAST": (header.idx.slice == 0, header.idx.slice == options.n_slices - 1),
            "REPETITION": (header.idx.contrast == 0, header.idx.contrast == options.n_contrasts - 1),
        }
        is_first = is_last = True
        for loop, (begins, finishes) in ends.items():
            is_first, is_last = is_first and begins, is_last and finishes
            if is_first:
                header.setFlag(getattr(ismrmrd, f"ACQ_FIRST_IN_{loop}"))
            if is_last:
                header.setFlag(getattr(ismrmrd, f"ACQ_LAST_IN_{loop}"))
        if is_last and header.idx.repetition == options.n_repetitions - 1:
            header.setFlag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        if line in options.calibration_lines:
            on_grid = options.is_on_grid(line, header.idx.repetition)
            kind = "ACQ_IS_PARALLEL_CALIBRATION" + ("_AND_IMAGING" if on_grid else "")
            header.setFlag(getattr(ismrmrd, kind))

    def _trajectory(self, line: int, partition: int, repetition: int) -> NDArray[np.float32] | None:
        options = self.options
        if options.is_radial:
            angle = math.pi * line / options.n_lines
            if options.golden_angle:
                angle = numerics.GOLDEN_ANGLE * (line + repetition * options.n_lines)
            return numerics.radial_trajectory(options.n_samples, angle)
        if not options.store_coordinates:
            return None
        positions = np.empty((options.n_samples, 2 if options.n_partitions == 1 else 3), np.float32)
        positions[:, 0] = (np.arange(options.n_samples) - options.n_samples // 2) / options.n_samples
        positions[:, 1] = (line - options.n_y // 2) / options.n_y
        if options.n_partitions > 1:
            positions[:, 2] = (partition - options.n_partitions // 2) / options.n_partitions
        return positions

    def _compute_slice(self, slice_: int) -> NDArray[np.complex64]:
        """Give k-space of a slice, shape (coils, partitions, lines, samples); for a radial scan the coil images."""
        options = self.options
        first = slice_ * options.n_partitions
        images = self.sensitivities * self.phantom[first : first + options.n_partitions]
        if options.is_radial:
            return images
        padded = numerics.zero_pad_readout(images, options.n_samples)
        return fft(padded, (1, 2, 3))


def echo_time_ms(contrast: int) -> float:
    """Echo time of a contrast [ms]."""
    return 5.0 * (contrast + 1)


def echo_amplitude(contrast: int) -> float:
    """Signal of a contrast, relative to the first: T2* decay with 30 ms."""
    return math.exp((echo_time_ms(0) - echo_time_ms(contrast)) / 30.0)


def write_phantom(
    path: str | Path,
    options: PhantomOptions,
    *,
    group: str = "dataset",
    overwrite: bool = False,
    progress: Callable[[Iterable[Acquisition]], Iterable[Acquisition]] = iter,
) -> PhantomScan:
    """Write a scan readout by readout, with the object (`phantom`) and the coils (`csm`) beside it.

    Parameters
    ----------
    path
        The file to be.
    options
        What to simulate.
    group
        The group to hold the scan.
    overwrite
        Replace a file of that name.
    progress
        Wraps the readouts on their way into the file, as tqdm does.

    Returns
    -------
        The scan.

    Raises
    ------
    StorageError
        If the file exists already, or cannot be written.
    """
    scan = PhantomScan(options)
    with ScanWriter(path, group, overwrite=overwrite) as writer:
        writer.write_header(scan.header_xml)
        for acquisition in progress(scan.acquisitions()):
            writer.append(*acquisition)
        writer.write_array("phantom", scan.phantom)
        writer.write_array("csm", scan.sensitivities)
    return scan
