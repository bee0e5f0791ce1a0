"""Filters of k-space against ringing."""

from __future__ import annotations

from typing import Any

from gadgetron.gadget import Gadget1
from gadgetron.image_arrays import SKIP_PROCESSING, first_meta, meta_numbers
from gadgetron.message import Container
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray
from gadgetron.toolboxes.fft import fft, ifft
from gadgetron.toolboxes.kspace_filters import FILTER_KINDS, apply_filters, sampled_filter

AXES = (-3, -2, -1)
DIMENSIONS = ("E2", "E1", "RO")


class GenericReconKSpaceFilteringGadget(Gadget1[ImageArray]):
    """Multiply the k-space of images by a filter along each axis. Noise keeps its level.

    Takes and emits image arrays. The sampled ranges come from the meta attributes: where sampling ended early on both
    sides the filter is as long as the longer one.

    Mended against the C++ Gadgetron: the sampled range along E2 is compared with the size of E2, not of E1; filters
    follow the sampled range when it changes.
    """

    skip_processing_meta_field = Property(SKIP_PROCESSING, doc="images with this meta attribute pass unchanged")
    filterRO = Property("Gaussian", doc="filter along the readout", choices=FILTER_KINDS)
    filterRO_sigma = Property(1.0, doc="sigma of the Gaussian along the readout", minimum=0.0)
    filterRO_width = Property(0.15, doc="part that each taper takes along the readout", minimum=0.0, maximum=1.0)
    filterE1 = Property("Gaussian", doc="filter along E1", choices=FILTER_KINDS)
    filterE1_sigma = Property(1.0, doc="sigma of the Gaussian along E1", minimum=0.0)
    filterE1_width = Property(0.15, doc="part that each taper takes along E1", minimum=0.0, maximum=1.0)
    filterE2 = Property("Gaussian", doc="filter along E2, in 3D", choices=FILTER_KINDS)
    filterE2_sigma = Property(1.0, doc="sigma of the Gaussian along E2", minimum=0.0)
    filterE2_width = Property(0.15, doc="part that each taper takes along E2", minimum=0.0, maximum=1.0)
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    thread_safe = True

    def process(self, message: Container[ImageArray]) -> None:
        """Filter one image array."""
        array = message.object
        meta = first_meta(array)
        if meta.get(self.skip_processing_meta_field) is None:
            filters: list[Any] = []
            for dimension, n in zip(DIMENSIONS, array.data.shape[-3:], strict=True):
                kind = getattr(self, f"filter{dimension}")
                if kind == "None" or n == 1:
                    filters.append(None)
                    continue
                limits = meta_numbers(meta, f"sampling_limits_{dimension}", 3)
                first, last = (int(limits[0]), int(limits[2])) if limits else (0, n - 1)
                if not 0 <= first <= last < n:
                    first, last = 0, n - 1
                sigma, width = getattr(self, f"filter{dimension}_sigma"), getattr(self, f"filter{dimension}_width")
                filters.append(sampled_filter(n, first, last, kind, sigma, width))
            if any(values is not None for values in filters):
                kspace = fft(array.data, AXES)
                array.data = ifft(apply_filters(kspace, filters), AXES, out=kspace)
        self.debug_array("images", array.data)
        self.put_next(message)
