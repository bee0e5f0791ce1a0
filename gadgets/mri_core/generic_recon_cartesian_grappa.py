"""Cartesian reconstruction with GRAPPA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.image_arrays import ROLE_GFACTOR, ROLE_IMAGE, ROLE_SNR_MAP, describe_images, part_of
from gadgetron.message import Array
from gadgetron.parallel_imaging import Acceleration
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray, ReconBit, ReconBuffer
from gadgetron.toolboxes.calibration_lines import tell_dense_lines
from gadgetron.toolboxes.coil_compression import n_energetic_channels
from gadgetron.toolboxes.grappa import (
    GrappaKernel,
    calibrate,
    g_factor,
    unmix,
    unmixing_coefficients,
    wrapped_lines,
)
from gadgetron.toolboxes.reference import noise_of_averages, sampled_lines, snr_scale
from gadgets.mri_core.generic_recon import GenericReconGadget, shared_place


@dataclass(slots=True)
class _Coefficients:
    """Unmixing coefficients (LOC, S, N, CHA, z, y, x), and g-factors (LOC, S, N, 1, z, y, x) if accelerated.

    Where the matrix is no multiple of the acceleration also the kernels, and the maps (LOC, S, N, targets, z, y, x).
    """

    unmixing: Array[np.complex64]
    gfactor: Array[np.float32] | None
    kernels: dict[tuple[int, ...], GrappaKernel] = field(default_factory=dict)
    maps: Array[np.complex64] | None = None


class GenericReconCartesianGrappaGadget(GenericReconGadget):
    """Reconstruct undersampled Cartesian k-space with GRAPPA, in units of SNR if the noise was whitened.

    Takes recon data with calibration data as GenericReconCartesianReferencePrepGadget leaves it; recon data without
    uses the coefficients of the last one that had some. Emits, for each encoding space e, the g-factor if asked for
    (series image_series + 10 (e + 2)), the SNR map if asked for (image_series + 100 (e + 3)), and the images
    (image_series + e + 1). Without acceleration coils are combined with their maps. Where n lines were averaged, images
    have the signal of one and less noise; the SNR map is sqrt(n) times that of one.

    Mended against the C++ Gadgetron: the map of a single coil has unit norm, it does not square the image; pixels where
    all coils are zero are zero, not NaN; lines are counted in every slice and S, not only in the first; on a matrix
    that is no multiple of the acceleration, lines beyond one end of k-space are not added to those at the other.
    """

    send_out_gfactor = Property(False, doc="send the g-factor, the amplification of noise by GRAPPA")
    send_out_snr_map = Property(False, doc="send SNR maps: the images divided by the g-factor")
    grappa_kSize_RO = Property(5, doc="kernel size along the readout, odd", minimum=1, maximum=31)
    grappa_kSize_E1 = Property(4, doc="kernel size along E1, in acquired lines", minimum=1, maximum=31)
    grappa_kSize_E2 = Property(4, doc="kernel size along E2, in acquired lines", minimum=1, maximum=31)
    grappa_reg_lamda = Property(0.0005, doc="regularization of the calibration, relative", minimum=0.0)
    grappa_calib_over_determine_ratio = Property(
        45.0, doc="equations per unknown that suffice in 3D calibration; 0 uses all", minimum=0.0
    )
    downstream_coil_compression = Property(
        True, doc="reconstruct only as many channels as carry signal; they are to be sorted by it"
    )
    downstream_coil_compression_thres = Property(
        0.002,
        doc="channels with less than this part of the first one's energy are left out; negative: none are",
    )
    downstream_coil_compression_num_modesKept = Property(
        0, doc="number of channels to reconstruct; 0 leaves that to the threshold", minimum=0
    )

    let_kspace_wrap_around = Property(
        False, doc="leave the error of a matrix that is no multiple of the acceleration, as in the C++ Gadgetron"
    )

    def reconstruct(self, bit: ReconBit, data: ReconBuffer, space: int, waveforms: list[Any]) -> None:
        """Reconstruct one encoding space."""
        acceleration = self.acceleration(bit, space)
        coefficients, are_new = self.calibrated(bit, lambda reference: self._calibrate(reference, data, acceleration))
        if coefficients.unmixing.shape[-3:] != data.data.shape[-3:]:
            raise MalformedMessageError(
                f"matrix {data.data.shape[:-4:-1]}: {coefficients.unmixing.shape[:-4:-1]} expected, that of the "
                f"calibration data — encoding space {space}"
            )
        images = self._unmix(data, coefficients, acceleration)
        array = describe_images(images, data, self.header, space, waveforms)
        if self.send_out_gfactor and are_new and coefficients.gfactor is not None:
            self.send(part_of(array, coefficients.gfactor.astype(np.complex64)), space, 10 * (space + 2), ROLE_GFACTOR)
        if self.send_out_snr_map:
            self.send(self._snr_map(array, coefficients, data), space, 100 * (space + 3), ROLE_SNR_MAP)
        self.send(array, space, space + 1, ROLE_IMAGE)

    def _calibrate(self, reference: ReconBuffer, data: ReconBuffer, acceleration: Acceleration) -> _Coefficients:
        n_targets = self._n_targets(reference)
        maps = self.estimate_coil_maps(reference, data, acceleration, n_targets)
        if not acceleration.is_accelerated:
            return _Coefficients(np.conjugate(maps, out=maps), None)
        n_loc, n_s, n_n = maps.shape[:3]
        matrix = data.data.shape[-3:]
        unmixing = np.empty((n_loc, n_s, n_n, reference.data.shape[3], *matrix), np.complex64)
        gfactor = np.empty((n_loc, n_s, n_n, 1, *matrix), np.float32)
        factors = (acceleration.e2, acceleration.e1)
        lines = sampled_lines(reference.data)
        wraps = bool(matrix[0] % acceleration.e2 or matrix[1] % acceleration.e1) and not self.let_kspace_wrap_around
        coefficients = _Coefficients(unmixing, gfactor, maps=maps if wraps else None)
        for place in np.ndindex(n_loc, n_s, n_n):
            source = reference.data[place]
            kernel = calibrate(
                source,
                source[:n_targets],
                factors,
                (self.grappa_kSize_E2, self.grappa_kSize_E1, self.grappa_kSize_RO),
                self.grappa_reg_lamda,
                self.grappa_calib_over_determine_ratio,
                lines[place],
            )
            unmixing[place] = unmixing_coefficients(kernel, maps[place])
            gfactor[(*place, 0)] = g_factor(unmixing[place], factors)
            if wraps:
                coefficients.kernels[place] = kernel
        self.debug_array("unmixing", unmixing)
        return coefficients

    def _n_targets(self, reference: ReconBuffer) -> int:
        n_channels = int(reference.data.shape[3])
        wanted, threshold = self.downstream_coil_compression_num_modesKept, self.downstream_coil_compression_thres
        if not self.downstream_coil_compression or (threshold < 0 and wanted == 0):
            return n_channels
        if 0 < wanted <= n_channels:
            return int(wanted)
        return n_energetic_channels(reference.data[0, 0, 0], threshold)

    def _unmix(self, data: ReconBuffer, coefficients: _Coefficients, acceleration: Acceleration) -> Array[np.complex64]:
        shape = data.data.shape
        along_x = data.sampling.sampling_limits[0]
        lines = sampled_lines(data.data)
        if acceleration.e1 > 1 and shape[4] == 1:
            self._check_lines(lines)
        undersampling, scale = snr_scale(lines, shape[-1], along_x.min, along_x.max)
        scale = scale / (acceleration.e1 * acceleration.e2) if undersampling > 1 else 1.0
        images = np.empty((*shape[:3], 1, *shape[4:]), np.complex64)
        for place in np.ndindex(*shape[:3]):
            used = shared_place(place, coefficients.unmixing.shape)
            image = unmix(data.data[place], coefficients.unmixing[used])
            if coefficients.maps is not None:
                wrapped = wrapped_lines(data.data[place], coefficients.kernels[used])
                image -= unmix(wrapped, coefficients.maps[used].conj())
            np.multiply(image, np.float32(scale), out=images[(*place, 0)])
        return images

    def _check_lines(self, lines: Array[np.bool_]) -> None:
        """Tell the client if imaging lines of the first image are those for calibration, too."""
        frames = lines.reshape(-1, lines.shape[-1])
        frame = next((frame for frame in frames if frame.any()), frames[0])
        if told := tell_dense_lines(np.flatnonzero(frame)):
            self.warn_once("calibration.not_flagged", told)

    def _snr_map(self, array: ImageArray, coefficients: _Coefficients, data: ReconBuffer) -> ImageArray:
        snr = array.data.copy()
        if data.averages is not None:
            snr /= np.float32(noise_of_averages(data.averages))
        if coefficients.gfactor is not None:
            for place in np.ndindex(*snr.shape[:3]):
                factor = coefficients.gfactor[shared_place(place, coefficients.gfactor.shape)]
                np.divide(snr[place], factor, out=snr[place], where=factor > 0)
        return part_of(array, snr)
