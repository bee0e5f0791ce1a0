"""Partial Fourier sampling handled with a filter."""

from __future__ import annotations

import numpy as np

from gadgetron.message import Array
from gadgetron.properties import Property
from gadgetron.toolboxes.kspace_filters import apply_filters
from gadgetron.toolboxes.partial_fourier import partial_fourier_filter
from gadgets.mri_core.generic_recon_partial_fourier import Extents, GenericReconPartialFourierHandlingGadget


class GenericReconPartialFourierHandlingFilterGadget(GenericReconPartialFourierHandlingGadget):
    """Taper k-space where its sampling ended early, so that the edge does not ring. Noise keeps its level."""

    partial_fourier_filter_RO_width = Property(
        0.15, doc="part of the readout that the taper takes", minimum=0.0, maximum=1.0
    )
    partial_fourier_filter_E1_width = Property(0.15, doc="part of E1 that the taper takes", minimum=0.0, maximum=1.0)
    partial_fourier_filter_E2_width = Property(0.15, doc="part of E2 that the taper takes", minimum=0.0, maximum=1.0)
    partial_fourier_filter_densityComp = Property(
        False, doc="double what has no counterpart on the other side of the center"
    )

    def handle(self, kspace: Array[np.complex64], extents: Extents) -> Array[np.complex64]:
        """Filter k-space."""
        widths = (
            self.partial_fourier_filter_E2_width,
            self.partial_fourier_filter_E1_width,
            self.partial_fourier_filter_RO_width,
        )
        filters = [
            partial_fourier_filter(n, extent, width, density_compensation=self.partial_fourier_filter_densityComp)
            for n, extent, width in zip(kspace.shape[-3:], extents, widths, strict=True)
        ]
        return apply_filters(kspace, filters)
