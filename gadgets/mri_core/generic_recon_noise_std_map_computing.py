"""Standard deviation of repeated SNR maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from gadgetron.gadget import Gadget1
from gadgetron.image_arrays import (
    DATA_ROLE,
    IMAGE_COMMENT,
    ROLE_SNR_MAP,
    ROLE_STD_MAP,
    SEQUENCE_DESCRIPTION,
    USE_DEDICATED_SCALING,
    first_meta,
    part_of,
)
from gadgetron.message import Container, GadgetContainerMessage
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray


class GenericReconNoiseStdMapComputingGadget(Gadget1[ImageArray]):
    """Send the standard deviation of SNR maps over N, pixel by pixel: 1 where noise was white and of unit variance.

    Takes and emits image arrays. All pass; SNR maps with at least start_N_for_std_map images are followed by the
    standard deviation of their magnitudes from that one on, in a series ten times the maps'.
    """

    start_N_for_std_map = Property(5, doc="first N that counts; those before are not in a steady state", minimum=0)
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    def process(self, message: Container[ImageArray]) -> None:
        """Pass one image array on, with a standard deviation map if it has SNR maps."""
        array = message.object
        first = self.start_N_for_std_map
        if first_meta(array).get(DATA_ROLE) != ROLE_SNR_MAP or array.data.shape[2] <= first:
            self.put_next(message)
            return
        deviation = np.abs(array.data[:, :, first:]).std(axis=2, keepdims=True).astype(np.complex64)
        maps = part_of(array, deviation)
        headers: Any = maps.headers.flat
        metas: Any = maps.meta.flat
        for header, meta in zip(headers, metas, strict=True):
            header.image_series_index = (header.image_series_index * 10) & 0xFFFF
            meta[DATA_ROLE] = ROLE_STD_MAP
            meta[IMAGE_COMMENT] = ["GT", "SNR", ROLE_STD_MAP]
            meta[SEQUENCE_DESCRIPTION] = f"_{ROLE_STD_MAP}"
            meta[USE_DEDICATED_SCALING] = "1"
        self.put_next(message)
        self.put_next(GadgetContainerMessage(maps))
