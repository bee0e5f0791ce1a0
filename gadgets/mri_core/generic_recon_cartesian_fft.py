"""Cartesian reconstruction without parallel imaging."""

from __future__ import annotations

from typing import Any

import numpy as np

from gadgetron.image_arrays import ROLE_IMAGE, describe_images
from gadgetron.recon_types import ReconBit, ReconBuffer
from gadgetron.toolboxes.grappa import unmix
from gadgets.mri_core.generic_recon import GenericReconGadget, shared_place


class GenericReconCartesianFFTGadget(GenericReconGadget):
    """Transform k-space to images, and combine coils with their maps.

    Takes recon data, emits one image array per encoding space, in series image_series + 1 + encoding space. Missing
    lines are not filled in. Coil maps come from the calibration data as GenericReconCartesianReferencePrepGadget leaves
    it, or from the imaging data.
    """

    def reconstruct(self, bit: ReconBit, data: ReconBuffer, space: int, waveforms: list[Any]) -> None:
        """Reconstruct one encoding space."""
        maps = self.estimate_coil_maps(bit.reference or data, data, self.acceleration(bit, space))
        bit.reference = None
        shape = data.data.shape
        images = np.empty((*shape[:3], 1, *shape[4:]), np.complex64)
        for place in np.ndindex(*shape[:3]):
            coil_map = maps[shared_place(place, maps.shape)]
            images[(*place, 0)] = unmix(data.data[place], coil_map.conj())
        array = describe_images(images, data, self.header, space, waveforms)
        self.send(array, space, space + 1, ROLE_IMAGE)
