"""Scaling of image arrays to the range of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gadgetron.gadget import Gadget1
from gadgetron.image_arrays import (
    DATA_ROLE,
    IMAGE_COMMENT,
    ROLE_GFACTOR,
    ROLE_SNR_MAP,
    ROLE_STD_MAP,
    SCALE_RATIO,
    USE_DEDICATED_SCALING,
    append_meta,
    first_meta,
    meta_numbers,
    number_text,
)
from gadgetron.message import Container
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray
from gadgetron.toolboxes.images import intensity_scale

BLACK = 0.5  # rounds to zero


class GenericReconImageArrayScalingGadget(Gadget1[ImageArray]):
    """Multiply images by a factor, and say so in their meta attributes.

    Takes and emits image arrays. Images get a constant factor, or one that brings their maximum into a range: 2048 over
    the maximum if that is below min_intensity_value or above max_intensity_value, else the largest of 4, 2, 1 that
    keeps it below max_intensity_value. G-factor, SNR and standard deviation maps have factors of their own; where
    factors are computed, an SNR map that its own would leave black, as it is without a noise scan, gets a computed one.

    The stock configurations that end in integers let use_constant_scalingFactor refer to NoiseAdjustGadget: without a
    noise scan images have no known unit, and the constant factor would leave many of them black.
    """

    use_constant_scalingFactor = Property(True, doc="whether scalingFactor is used; if false it is computed")
    scalingFactor = Property(4.0, doc="constant factor; not positive: computed")
    min_intensity_value = Property(64, doc="maxima below this are scaled to 2048")
    max_intensity_value = Property(4095, doc="maxima above this are scaled to 2048")
    auto_scaling_only_once = Property(True, doc="compute the factor from the first images only")
    use_dedicated_scalingFactor_meta_field = Property(
        USE_DEDICATED_SCALING, doc="images with this meta attribute get scalingFactor_dedicated"
    )
    scalingFactor_dedicated = Property(100.0, doc="factor of images that ask for it")
    scalingFactor_gfactor_map = Property(100.0, doc="factor of g-factor maps")
    scalingFactor_snr_map = Property(10.0, doc="factor of SNR maps")
    scalingFactor_snr_std_map = Property(1000.0, doc="factor of standard deviation maps")
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._computed: dict[tuple[int, str], float] = {}  # by encoding space and role

    def process(self, message: Container[ImageArray]) -> None:
        """Scale one image array."""
        array = message.object
        factor = self._factor(array)
        array.data = array.data * np.float32(factor)
        metas: Any = array.meta.flat
        for meta in metas:
            if meta is not None:
                append_meta(meta, IMAGE_COMMENT, f"x{factor:.4g}")
                meta[SCALE_RATIO] = number_text(factor)
        self.debug_array("images", array.data)
        self.put_next(message)

    def _factor(self, array: ImageArray) -> float:
        meta = first_meta(array)
        role = meta.get(DATA_ROLE)
        is_constant = self.use_constant_scalingFactor and self.scalingFactor > 0
        if role == ROLE_SNR_MAP:
            factor = self.scalingFactor_snr_map
            is_black = not is_constant and float(np.abs(array.data).max(initial=0.0)) * factor < BLACK
            return self._computed_factor(array, ROLE_SNR_MAP) if is_black else factor
        if role == ROLE_GFACTOR:
            return self.scalingFactor_gfactor_map
        if role == ROLE_STD_MAP:
            return self.scalingFactor_snr_std_map
        if meta.get(self.use_dedicated_scalingFactor_meta_field) is not None:
            return self.scalingFactor_dedicated
        return self.scalingFactor if is_constant else self._computed_factor(array, "")

    def _computed_factor(self, array: ImageArray, role: str) -> float:
        key = (int((meta_numbers(first_meta(array), "encoding", 1) or (0,))[0]), role)
        if key not in self._computed or not self.auto_scaling_only_once:
            self._computed[key] = intensity_scale(array.data, self.min_intensity_value, self.max_intensity_value)
        return self._computed[key]
