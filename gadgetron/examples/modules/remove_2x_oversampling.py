"""Halves the readout, which scanners sample twice as densely as the image needs."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np

from gadgetron.legacy import Gadget
from gadgetron.util.cfft import cfftn, cifftn


class Remove2xOversampling(Gadget):
    """Crop readouts (samples, channels) to the inner half of their field of view; noise readouts pass unchanged."""

    def process(self, header: Any, data: Any) -> None:
        """Crop one readout."""
        if header.isFlagSet(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            self.put_next(header, data)
            return
        n_samples = data.shape[0]
        first = n_samples // 4
        line = cifftn(data, axes=[0])[first : first + n_samples // 2]
        header.center_sample = n_samples // 4
        self.put_next(header, cfftn(line, axes=[0]).astype(np.complex64))
