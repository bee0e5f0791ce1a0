"""Preparation of calibration data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.header import Encoding, IsmrmrdHeader
from gadgetron.image_arrays import slice_of
from gadgetron.limits import LIMITS, check
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.parallel_imaging import Acceleration, acceleration_of
from gadgetron.properties import Property
from gadgetron.recon_types import CalibrationResult, ReconBit, ReconBuffer, ReconData, SamplingLimit
from gadgetron.toolboxes.calibration_lines import has_neighbours, regular_spacing, repair_lines, tell_spacing
from gadgetron.toolboxes.reference import average_lines, sampled_lines, sampled_range
from gadgets.mri_core.waiting_calibration import CalibrationLines, LineHistory, WaitingLine

Key = tuple[int, int]  # encoding space and slice


class GenericReconCartesianReferencePrepGadget(Gadget1[ReconData]):
    """Average calibration data over N and S, and cut it to the lines that were acquired.

    Takes and emits recon data. Where there is no calibration data the imaging data takes its place. The sampling limits
    of the calibration data are then: along the readout those of the readout, with its center; along the phase encoding
    axes 0 to the last line, with the center of k-space.

    Calibration data of accelerated scans may have gaps. A line that is missing is taken from the imaging data if it is
    there, otherwise it is found by GRAPPA from its neighbours. Where lines have no neighbours at all, as those of
    undersampled imaging data, the last calibration data of the slice is used; if there was none, or if calibration is
    interleaved, the lines of successive images are put together, and images wait until they have neighbours.

    Mended against the C++ Gadgetron, which takes gaps for data: what is said above; a line that is missing in some N is
    averaged over the others, in every calibration mode; with `prepare_ref_always` off each slice keeps its own
    calibration data, not that of the first slice; headers without acquisitionSystemInformation, calibrationMode or
    parallelImaging are taken: the distance of the lines tells the acceleration, also where the header has another one.
    """

    average_all_ref_N = Property(True, doc="average calibration data over N")
    average_all_ref_S = Property(False, doc="average calibration data over S")
    N_for_ref = Property(-1, doc="take the calibration data of this N only; -1 for all")
    S_for_ref = Property(-1, doc="take the calibration data of this S only; -1 for all")
    ref_fill_into_data_embedded = Property(
        False, doc="put embedded calibration lines into the imaging data, before the calibration data is averaged"
    )
    prepare_ref_always = Property(
        True, doc="prepare the calibration data of each buffer; if false, of the first one only, for all that follow"
    )
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._header: IsmrmrdHeader | None = None
        self._found: dict[int, Acceleration] = {}  # of encoding spaces whose first imaging lines have come
        self._results: dict[Key, CalibrationResult] = {}
        self._early: dict[Key, ReconBuffer] = {}  # calibration data that came before its imaging data
        self._histories: dict[tuple[Key, int, int], LineHistory] = {}  # also by contrast and set
        self._waiting = WaitingLine()

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the encodings."""
        self._header = parameters.header

    def process(self, message: Container[ReconData]) -> None:
        """Prepare the calibration data of every encoding space."""
        if self._header is None:
            raise MalformedMessageError("recon data arrived before an ISMRMRD header: the encoding is not known")
        self._waiting.add(message)
        for space, bit in enumerate(message.object.bits):
            source = bit.reference or bit.data
            if source is not None:
                self._prepare(bit, source, space, self._acceleration(bit, self._header.encoding_space(space), space))
        self._send_ready()

    def close(self, flags: int) -> None:
        """Send what still waits: the reconstruction says what it lacks."""
        if flags:
            for key in self._waiting.keys:
                self._end_waiting(key)
            self._send_ready()

    def _send_ready(self) -> None:
        for message in self._waiting.ready():
            self.put_next(message)

    def _prepare(self, bit: ReconBit, source: ReconBuffer, space: int, acceleration: Acceleration) -> None:
        key = (space, slice_of(source))
        if key in self._results and not self.prepare_ref_always:
            bit.reference, bit.calibration = None, self._results[key]
            return
        self._fill_into_data(bit, acceleration)
        lines = self._average(source)
        if acceleration.is_accelerated:
            if bit.data is not None and bit.reference is not None and acceleration.mode == "embedded":
                lines = self._with_imaging_lines(lines, bit.data)
            if lines.lines.any() and not has_neighbours(lines.lines, (acceleration.e2, acceleration.e1)):
                self._use_other_lines(bit, source, lines, key, acceleration)
                return
        reference = self._cut(lines, source, acceleration)
        if bit.data is None and reference is not None:
            self._early[key] = reference
            bit.reference = None
        else:
            self._give(bit, key, reference)

    def _give(self, bit: ReconBit, key: Key, reference: ReconBuffer | None) -> None:
        """Hand over calibration data. If others of the slice wait for some, they come first, and all have the same."""
        bit.reference = reference
        if reference is None:
            bit.calibration = self._results.get(key)
            return
        result = self._results[key] = CalibrationResult(self._results.get(key))
        bits = [*(waiting for waiting, _ in self._waiting.release(key)), bit]
        for each in bits:
            each.reference, each.calibration = None, result
        bits[0].reference = reference
        self.debug_array("reference", reference.data)

    def _use_other_lines(
        self, bit: ReconBit, source: ReconBuffer, lines: CalibrationLines, key: Key, acceleration: Acceleration
    ) -> None:
        """Find calibration data elsewhere for a bit whose lines have no neighbours, or have it wait."""
        if key in self._early:
            self._give(bit, key, self._early.pop(key))
            return
        if key in self._results and acceleration.mode != "interleaved":
            bit.reference, bit.calibration = None, self._results[key]
            return
        first: Any = next((header for header in source.headers.flat if header is not None), None)
        image = (key, first.idx.contrast, first.idx.set) if first is not None else (key, 0, 0)
        history = self._histories.setdefault(image, LineHistory())
        known = history.add(lines)
        if has_neighbours(known.lines, (acceleration.e2, acceleration.e1)):
            self._give(bit, key, self._cut(known, source, acceleration))
            if acceleration.mode != "interleaved":  # from now on the result serves the whole slice
                self._histories = {image: kept for image, kept in self._histories.items() if image[0] != key}
            return
        n_bytes = sum(kept.nbytes for kept in self._histories.values())
        check("bytes of calibration lines that are kept", n_bytes, LIMITS.max_session_bytes)
        self._waiting.hold(key, bit, self._cut(lines, source, acceleration))
        if history.n_buffers >= acceleration.e1 * acceleration.e2:
            self._end_waiting(key)

    def _end_waiting(self, key: Key) -> None:
        """Give the bits that wait what they have themselves."""
        for bit, reference in self._waiting.release(key):
            bit.reference = reference
            bit.calibration = self._results[key] = CalibrationResult(self._results.get(key))

    def _acceleration(self, bit: ReconBit, encoding: Encoding, space: int) -> Acceleration:
        """Give what the first imaging lines tell of the acceleration, or what the header says where they do not."""
        said = acceleration_of(encoding)
        if bit.data is None or not encoding.is_cartesian:
            return self._found.get(space, said)
        if space not in self._found:
            self._found[space] = self._acceleration_of_lines(bit.data, bit.reference, said)
        found = self._found[space]
        bit.acceleration = found if found != said else None
        return found

    def _acceleration_of_lines(
        self, data: ReconBuffer, reference: ReconBuffer | None, said: Acceleration
    ) -> Acceleration:
        lines = sampled_lines(data.data).any(axis=3).reshape(-1, data.data.shape[5])
        frame = next((frame for frame in lines if frame.any()), lines[0])
        calibration = None if reference is None else sampled_range(sampled_lines(reference.data), -1)
        spacing = regular_spacing(np.flatnonzero(frame), calibration)
        if spacing in (1, said.e1):
            return said
        told = tell_spacing(spacing, said.e1)
        if calibration is None and not said.is_accelerated:
            self.warn_once("acceleration.unknown", f"{told}; without calibration lines images are aliased")
            return said
        self.warn_once("acceleration.not_in_header", f"{told}: {spacing} is assumed")
        return Acceleration(spacing, said.e2, said.mode if said.is_accelerated else "embedded")

    def _fill_into_data(self, bit: ReconBit, acceleration: Acceleration) -> None:
        data, reference = bit.data, bit.reference
        if not self.ref_fill_into_data_embedded or acceleration.mode != "embedded" or data is None or reference is None:
            return
        if data.data.shape != reference.data.shape:
            self.log.warning("reference.not_filled_in", data=data.data.shape, reference=reference.data.shape)
            return
        for loc, s, n, e2, e1 in np.argwhere(sampled_lines(reference.data)):
            data.data[loc, s, n, :, e2, e1] = reference.data[loc, s, n, :, e2, e1]

    def _average(self, source: ReconBuffer) -> CalibrationLines:
        data = source.data
        if 0 <= self.N_for_ref < data.shape[2]:
            data = data[:, :, self.N_for_ref : self.N_for_ref + 1]
        if 0 <= self.S_for_ref < data.shape[1]:
            data = data[:, self.S_for_ref : self.S_for_ref + 1]
        lines = sampled_lines(data)
        data = average_lines(data, lines, average_n=self.average_all_ref_N, average_s=self.average_all_ref_S)
        if self.average_all_ref_N:
            lines = np.asarray(lines.any(axis=2, keepdims=True))
        if self.average_all_ref_S:
            lines = np.asarray(lines.any(axis=1, keepdims=True))
        return CalibrationLines(data, lines, source.headers)

    def _with_imaging_lines(self, lines: CalibrationLines, data: ReconBuffer) -> CalibrationLines:
        """Fill gaps of embedded calibration data with lines of the imaging data."""
        e1, e2 = sampled_range(lines.lines, -1), sampled_range(lines.lines, -2)
        if e1 is None or e2 is None:
            return lines
        inside = np.zeros(lines.lines.shape, bool)
        inside[..., e2[0] : e2[1] + 1, e1[0] : e1[1] + 1] = True
        if lines.lines[inside].all():
            return lines
        imaging = self._average(data)
        if imaging.data.shape != lines.data.shape:
            return lines
        return lines.with_lines_of(replace(imaging, lines=imaging.lines & inside))

    def _cut(self, lines: CalibrationLines, source: ReconBuffer, acceleration: Acceleration) -> ReconBuffer | None:
        """Cut calibration data to its lines, and find those that are missing between them."""
        data = lines.data
        e1, e2 = sampled_range(lines.lines, -1), sampled_range(lines.lines, -2)
        if e1 is None or e2 is None:
            self.log.warning("reference.empty", shape=data.shape)
            return None
        along_x, along_y, along_z = source.sampling.sampling_limits
        n_e0 = data.shape[-1]
        e0 = (along_x.min, along_x.max) if along_x.min < n_e0 else (0, n_e0 - 1)
        e0 = (e0[0], min(e0[1], n_e0 - 1))
        rows: Any = (..., slice(e2[0], e2[1] + 1), slice(e1[0], e1[1] + 1))
        data = data[(*rows, slice(e0[0], e0[1] + 1))]
        if acceleration.is_accelerated:
            data = _repaired(data, lines.lines[rows], acceleration)
        limits = (
            SamplingLimit(e0[0], n_e0 // 2, e0[1]),
            _limit(e1, along_y, acceleration),
            _limit(e2, along_z, acceleration),
        )
        return ReconBuffer(data, lines.headers[rows], replace(source.sampling, sampling_limits=limits))


def _repaired(data: Array[np.complex64], lines: Array[np.bool_], acceleration: Acceleration) -> Array[np.complex64]:
    """Find missing lines wherever there are some; the data itself if there are none."""
    with_gaps = [place for place in np.ndindex(*lines.shape[:3]) if lines[place].any() and not lines[place].all()]
    if with_gaps:
        data = data.copy()
    for place in with_gaps:
        data[place], _ = repair_lines(data[place], lines[place], acceleration.e1)
    return data


def _limit(lines: tuple[int, int], before: SamplingLimit, acceleration: Acceleration) -> SamplingLimit:
    last = lines[1] - lines[0]
    return SamplingLimit(0, before.center - lines[0] if acceleration.keeps_center else (last + 1) // 2, last)
