"""Partial Fourier sampling handled by projection onto convex sets."""

from __future__ import annotations

import numpy as np

from gadgetron.message import Array
from gadgetron.properties import Property
from gadgetron.toolboxes.partial_fourier import pocs
from gadgets.mri_core.generic_recon_partial_fourier import Extents, GenericReconPartialFourierHandlingGadget


class GenericReconPartialFourierHandlingPOCSGadget(GenericReconPartialFourierHandlingGadget):
    """Fill in k-space that was not sampled so that images have the smooth phase of k-space's center."""

    partial_fourier_POCS_iters = Property(6, doc="iterations at most", minimum=1)
    partial_fourier_POCS_thres = Property(0.01, doc="relative change at which iterations end", minimum=0.0)
    partial_fourier_POCS_transitBand = Property(
        24, doc="samples along RO and E1 over which acquired k-space is blended into what was filled in", minimum=0
    )
    partial_fourier_POCS_transitBand_E2 = Property(16, doc="the same along E2", minimum=0)

    def handle(self, kspace: Array[np.complex64], extents: Extents) -> Array[np.complex64]:
        """Fill in k-space."""
        band = self.partial_fourier_POCS_transitBand
        return pocs(
            kspace,
            extents,
            (self.partial_fourier_POCS_transitBand_E2, band, band),
            self.partial_fourier_POCS_iters,
            self.partial_fourier_POCS_thres,
        )
