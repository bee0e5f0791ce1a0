"""The session that is measured, as bytes for a client and as arrays for NumPy, and NumPy's way to do its arithmetic."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

N_COILS = 16
N_SAMPLES = 512
MATRIX = 256

CONFIG_FILE_ID = 1
CONFIG_SCRIPT_ID = 2
HEADER_ID = 3
CLOSE_ID = 4
ACQUISITION_ID = 1008

CLOSE = struct.pack("<H", CLOSE_ID)

HEADER_XML = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <acquisitionSystemInformation><receiverChannels>{coils}</receiverChannels></acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace>
      <matrixSize><x>{samples}</x><y>{matrix}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>600</x><y>300</y><z>6</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>{matrix}</x><y>{matrix}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>300</x><y>300</y><z>6</z></fieldOfView_mm>
    </reconSpace>
    <trajectory>cartesian</trajectory>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>{last_line}</maximum><center>{center}</center>
      </kspace_encoding_step_1>
      <repetition><minimum>0</minimum><maximum>{last_repetition}</maximum><center>0</center></repetition>
    </encodingLimits>
  </encoding>
</ismrmrdHeader>
"""


@dataclass(frozen=True)
class Workload:
    """Readouts of `n_repetitions` images.

    Attributes
    ----------
    readouts
        Shape (repetitions, lines, coils, samples), complex64.
    """

    readouts: NDArray[np.complex64]

    @property
    def n_repetitions(self) -> int:
        return self.readouts.shape[0]

    def header(self) -> bytes:
        text = HEADER_XML.format(
            coils=N_COILS,
            samples=N_SAMPLES,
            matrix=MATRIX,
            last_line=MATRIX - 1,
            center=MATRIX // 2,
            last_repetition=self.n_repetitions - 1,
        )
        return text.encode()

    def acquisitions(self) -> bytearray:
        """Give all readouts as messages, one after another."""
        head = ismrmrd.AcquisitionHeader()
        head.version = 1
        head.number_of_samples = N_SAMPLES
        head.center_sample = N_SAMPLES // 2
        head.active_channels = head.available_channels = N_COILS
        head.read_dir[0] = head.phase_dir[1] = head.slice_dir[2] = 1.0
        head.sample_time_us = 5.0
        messages = bytearray()
        for repetition, lines in enumerate(self.readouts):
            for line, readout in enumerate(lines):
                head.scan_counter = repetition * MATRIX + line
                head.idx.kspace_encode_step_1 = line
                head.idx.repetition = repetition
                messages += struct.pack("<H", ACQUISITION_ID)
                messages += bytes(head)
                messages += readout.tobytes()
        return messages


def make_workload(n_repetitions: int) -> Workload:
    """Make the same noise in every process that asks for it."""
    rng = np.random.default_rng(20)
    shape = (n_repetitions, MATRIX, N_COILS, N_SAMPLES)
    readouts = np.empty(shape, np.complex64)
    rng.standard_normal(out=readouts.view(np.float32), dtype=np.float32)
    return Workload(readouts)


def config_file(name: str) -> bytes:
    return struct.pack("<H1024s", CONFIG_FILE_ID, name.encode())


def parameters(header: bytes) -> bytes:
    return struct.pack("<HI", HEADER_ID, len(header)) + header


def centred_ifft(x: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


def centred_fft(x: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes), axes=axes, norm="ortho"), axes)


def reconstruct_with_numpy(workload: Workload) -> NDArray[np.float32]:
    """Do what default.xml does, as one writes it in NumPy: readout by readout, then image by image."""
    images = np.empty((workload.n_repetitions, MATRIX, MATRIX), np.float32)
    first = (N_SAMPLES - MATRIX) // 2
    for image, lines in zip(images, workload.readouts, strict=True):
        kspace = np.empty((N_COILS, MATRIX, MATRIX), np.complex64)
        for line, readout in enumerate(lines):
            along_x = centred_ifft(readout, (1,))[:, first : first + MATRIX]
            kspace[:, line] = centred_fft(along_x, (1,))
        coil_images = centred_ifft(kspace, (1, 2))
        image[...] = np.sqrt(np.sum(np.abs(coil_images) ** 2, axis=0))
    return images
