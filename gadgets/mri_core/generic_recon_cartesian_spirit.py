"""Cartesian reconstruction with linear SPIRiT."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.image_arrays import ROLE_IMAGE, describe_images
from gadgetron.message import Array
from gadgetron.parallel_imaging import Acceleration
from gadgetron.properties import Property
from gadgetron.recon_types import ReconBit, ReconBuffer
from gadgetron.toolboxes.grappa import unmix
from gadgetron.toolboxes.reference import sampled_lines, snr_scale
from gadgetron.toolboxes.spirit import SpiritKernel, calibrate_spirit, fill_in
from gadgets.mri_core.generic_recon import GenericReconGadget, shared_place

DEFAULT_ITERATIONS = {1: 50, 2: 50, 3: 60, 4: 100, 5: 120}
MANY_ITERATIONS = 150
DEFAULT_THRESHOLD = 0.0015
DEFAULT_REGULARIZATION = 0.005
DEFAULT_REGULARIZATION_E2 = 0.01


class _Calibration(NamedTuple):
    """Coil maps (LOC, S, N, CHA, z, y, x), and the kernel of each (LOC, S, N) if accelerated."""

    maps: Array[np.complex64]
    kernels: dict[tuple[int, ...], SpiritKernel]


class GenericReconCartesianSpiritGadget(GenericReconGadget):
    """Reconstruct undersampled Cartesian k-space with SPIRiT: what is missing is found iteratively from its neighbours.

    Takes recon data with calibration data as GenericReconCartesianReferencePrepGadget leaves it; recon data without
    uses the kernels of the last one that had some. Emits the images, in series image_series + 1 + encoding space.
    Where lines are missing k-space is scaled by the root of the undersampling, as in the C++ Gadgetron.
    """

    spirit_kSize_RO = Property(7, doc="kernel size along the readout, odd", minimum=1, maximum=31)
    spirit_kSize_E1 = Property(7, doc="kernel size along E1, odd", minimum=1, maximum=31)
    spirit_kSize_E2 = Property(5, doc="kernel size along E2, odd", minimum=1, maximum=31)
    spirit_reg_lamda = Property(
        0.0, doc="regularization of the calibration, relative; 0 for 0.005, or 0.01 if E2 is accelerated", minimum=0.0
    )
    spirit_calib_over_determine_ratio = Property(
        45.0, doc="equations per unknown that suffice in 3D calibration; 0 uses all", minimum=0.0
    )
    spirit_iter_max = Property(0, doc="iterations at most; 0 for 50 to 150, by the acceleration", minimum=0)
    spirit_iter_thres = Property(0.0, doc="relative gradient at which iterations end; 0 for 0.0015", minimum=0.0)
    spirit_print_iter = Property(False, doc="accepted for old configurations; has no effect")

    def reconstruct(self, bit: ReconBit, data: ReconBuffer, space: int, waveforms: list[Any]) -> None:
        """Reconstruct one encoding space."""
        acceleration = self.acceleration(bit, space)
        calibration, _ = self.calibrated(bit, lambda reference: self._calibrate(reference, data, acceleration))
        if calibration.maps.shape[-3:] != data.data.shape[-3:]:
            raise MalformedMessageError(
                f"matrix {data.data.shape[:-4:-1]}: {calibration.maps.shape[:-4:-1]} expected, that of the "
                f"calibration data — encoding space {space}"
            )
        shape = data.data.shape
        along_x = data.sampling.sampling_limits[0]
        undersampling, scale = snr_scale(sampled_lines(data.data), shape[-1], along_x.min, along_x.max)
        scale = scale if undersampling > 1 else 1.0
        images = np.empty((*shape[:3], 1, *shape[4:]), np.complex64)
        for place in np.ndindex(*shape[:3]):
            used = shared_place(place, calibration.maps.shape)
            kspace = data.data[place]
            if used in calibration.kernels:
                kspace = self._fill_in(kspace, calibration.kernels[used], acceleration)
            image = unmix(kspace, calibration.maps[used].conj())
            np.multiply(image, np.float32(scale), out=images[(*place, 0)])
        array = describe_images(images, data, self.header, space, waveforms)
        self.send(array, space, space + 1, ROLE_IMAGE)

    def _calibrate(self, reference: ReconBuffer, data: ReconBuffer, acceleration: Acceleration) -> _Calibration:
        maps = self.estimate_coil_maps(reference, data, acceleration)
        kernels: dict[tuple[int, ...], SpiritKernel] = {}
        if acceleration.is_accelerated:
            default = DEFAULT_REGULARIZATION_E2 if acceleration.e2 > 1 else DEFAULT_REGULARIZATION
            lines = sampled_lines(reference.data)
            for place in np.ndindex(*maps.shape[:3]):
                kernels[place] = calibrate_spirit(
                    reference.data[place],
                    (self.spirit_kSize_E2, self.spirit_kSize_E1, self.spirit_kSize_RO),
                    self.spirit_reg_lamda or default,
                    self.spirit_calib_over_determine_ratio,
                    lines[place],
                )
        return _Calibration(maps, kernels)

    def _fill_in(
        self, kspace: Array[np.complex64], kernel: SpiritKernel, acceleration: Acceleration
    ) -> Array[np.complex64]:
        if kspace.any(axis=-1).all():
            return kspace
        factor = acceleration.e1 * acceleration.e2
        n_iterations = self.spirit_iter_max or DEFAULT_ITERATIONS.get(factor, MANY_ITERATIONS)
        threshold = self.spirit_iter_thres or DEFAULT_THRESHOLD
        return fill_in(kspace, kernel, n_iterations, threshold, lambda: self.inbox.is_closed)
