"""Readouts that cannot be used, because a sample of them is NaN or infinite."""

from __future__ import annotations

import numpy as np

from gadgetron.gadget import Gadget
from gadgetron.message import Array
from gadgetron.toolboxes.readout import is_finite


class LeftOutReadouts:
    """Tells usable readouts from others, for gadgets that put lines together: one NaN would make the image NaN.

    The client is told once, the log at the first and, if there were more, at the end.

    Parameters
    ----------
    gadget
        Which leaves them out.
    """

    def __init__(self, gadget: Gadget) -> None:
        self._gadget = gadget
        self._n = 0
        self._first = 0

    def is_usable(self, data: Array[np.complex64], scan_counter: int) -> bool:
        """Tell whether all samples of a readout are finite; if not, it counts as left out."""
        if is_finite(data):
            return True
        self._n += 1
        if self._n == 1:
            self._first = scan_counter
            self._gadget.warn_once(
                "readouts.not_finite",
                f"readouts with samples that are NaN or infinite are left out, the first one is scan_counter "
                f"{scan_counter}",
                n_readouts=1,
                scan_counter=scan_counter,
            )
        return False

    def summarize(self) -> None:
        """Log how many there were; for the gadget's `close`."""
        if self._n > 1:
            self._gadget.log.warning("readouts.not_finite", n_readouts=self._n, scan_counter=self._first)
