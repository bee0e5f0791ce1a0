"""Preparation of calibration data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.header import IsmrmrdHeader
from gadgetron.image_arrays import slice_of
from gadgetron.message import Container, ParametersMessage
from gadgetron.parallel_imaging import Acceleration, acceleration_of
from gadgetron.properties import Property
from gadgetron.recon_types import CalibrationResult, ReconBit, ReconBuffer, ReconData, SamplingLimit
from gadgetron.toolboxes.reference import average_lines, sampled_lines, sampled_range


class GenericReconCartesianReferencePrepGadget(Gadget1[ReconData]):
    """Average calibration data over N and S, and cut it to the lines that were acquired.

    Takes and emits recon data. Where there is no calibration data the imaging data takes its place. The sampling limits
    of the calibration data are then: along the readout those of the readout, with its center; along the phase encoding
    axes 0 to the last line, with the center of k-space.

    Mended against the C++ Gadgetron: a line that is missing in some N is averaged over the others, in every
    calibration mode; with `prepare_ref_always` off each slice keeps its own calibration data, not that of the first
    slice; headers without acquisitionSystemInformation or calibrationMode are taken.
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
        self._results: dict[tuple[int, int], CalibrationResult] = {}  # by encoding space and slice

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the encodings."""
        self._header = parameters.header

    def process(self, message: Container[ReconData]) -> None:
        """Prepare the calibration data of every encoding space."""
        if self._header is None:
            raise MalformedMessageError("recon data arrived before an ISMRMRD header: the encoding is not known")
        for space, bit in enumerate(message.object.bits):
            acceleration = acceleration_of(self._header.encoding_space(space))
            source = bit.reference or bit.data
            if source is None:
                continue
            key = (space, slice_of(source))
            if key in self._results and not self.prepare_ref_always:
                bit.reference = None
            else:
                self._fill_into_data(bit, acceleration)
                bit.reference = self._prepare(source, acceleration)
                if bit.reference is not None:
                    self.debug_array("reference", bit.reference.data)
                    self._results[key] = CalibrationResult()
            bit.calibration = self._results.get(key)
        self.put_next(message)

    def _fill_into_data(self, bit: ReconBit, acceleration: Acceleration) -> None:
        data, reference = bit.data, bit.reference
        if not self.ref_fill_into_data_embedded or acceleration.mode != "embedded" or data is None or reference is None:
            return
        if data.data.shape != reference.data.shape:
            self.log.warning("reference.not_filled_in", data=data.data.shape, reference=reference.data.shape)
            return
        for loc, s, n, e2, e1 in np.argwhere(sampled_lines(reference.data)):
            data.data[loc, s, n, :, e2, e1] = reference.data[loc, s, n, :, e2, e1]

    def _prepare(self, reference: ReconBuffer, acceleration: Acceleration) -> ReconBuffer | None:
        data = reference.data
        if 0 <= self.N_for_ref < data.shape[2]:
            data = data[:, :, self.N_for_ref : self.N_for_ref + 1]
        if 0 <= self.S_for_ref < data.shape[1]:
            data = data[:, self.S_for_ref : self.S_for_ref + 1]
        lines = sampled_lines(data)
        e1, e2 = sampled_range(lines, -1), sampled_range(lines, -2)
        if e1 is None or e2 is None:
            self.log.warning("reference.empty", shape=data.shape)
            return None
        data = average_lines(data, lines, average_n=self.average_all_ref_N, average_s=self.average_all_ref_S)
        along_x, along_y, along_z = reference.sampling.sampling_limits
        n_e0 = data.shape[-1]
        e0 = (along_x.min, along_x.max) if along_x.min < n_e0 else (0, n_e0 - 1)
        e0 = (e0[0], min(e0[1], n_e0 - 1))
        data = data[..., e2[0] : e2[1] + 1, e1[0] : e1[1] + 1, e0[0] : e0[1] + 1]
        limits = (
            SamplingLimit(e0[0], n_e0 // 2, e0[1]),
            _limit(e1, along_y, acceleration),
            _limit(e2, along_z, acceleration),
        )
        return ReconBuffer(data, reference.headers, replace(reference.sampling, sampling_limits=limits))


def _limit(lines: tuple[int, int], before: SamplingLimit, acceleration: Acceleration) -> SamplingLimit:
    last = lines[1] - lines[0]
    return SamplingLimit(0, before.center - lines[0] if acceleration.keeps_center else (last + 1) // 2, last)
