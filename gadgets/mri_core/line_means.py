"""Lines of k-space that arrive more than once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gadgetron.message import Array
from gadgetron.recon_types import COUNTERS, Acquisition
from gadgetron.toolboxes.kspace import ReadoutPlace

AVERAGE = COUNTERS.index("average")

Place = tuple[int, int, int, int, int]


class LineMeans:
    """Takes the means of those lines of a buffer that arrive more than once.

    Readouts of a line need not have the same samples: each sample is divided by how often it came. The header that
    stays is the last one of the first average.

    Parameters
    ----------
    places
        (loc, s, n, e2, e1) of every readout.
    data
        The buffer, shape (LOC, S, N, CHA, E2, E1, E0).
    """

    def __init__(self, places: Sequence[Place], data: Array[np.complex64]) -> None:
        self._data = data
        self._counts: dict[Place, Array[np.float32]] = {}
        self._latest: dict[Place, Acquisition] = {}
        self._n_readouts: dict[Place, int] = {}
        if len(set(places)) == len(places):
            return
        self._n_readouts = {place: n for place, n in Counter(places).items() if n > 1}
        for place in self._n_readouts:
            self._line(place)[...] = 0
            self._counts[place] = np.zeros(data.shape[-1], np.float32)

    def __contains__(self, place: Place) -> bool:
        return place in self._counts

    def _line(self, place: Place) -> Any:
        loc, s, n, e2, e1 = place
        return self._data[loc, s, n, :, e2, e1]

    def add(self, acquisition: Acquisition, place: Place, samples: ReadoutPlace) -> None:
        """Add a readout to its line."""
        start, skip, count = samples
        self._line(place)[:, start : start + count] += acquisition.data[:, skip : skip + count]
        self._counts[place][start : start + count] += 1
        stays = self._latest.setdefault(place, acquisition)
        if acquisition.fields.idx[AVERAGE] <= stays.fields.idx[AVERAGE]:
            self._latest[place] = acquisition

    def finish(self, headers: Array[np.object_]) -> Array[np.uint16] | None:
        """Divide, and put the headers into their places.

        Returns
        -------
            How many readouts each line is the mean of, 0 where there is none; None if no line came more than once.
        """
        if not self._counts:
            return None
        for place, counts in self._counts.items():
            line = self._line(place)
            line /= np.maximum(counts, 1)
            headers[place] = self._latest[place].head
        averages: Array[np.uint16] = headers.astype(bool).astype(np.uint16)  # a header is true, None is not
        for place, n in self._n_readouts.items():
            averages[place] = min(n, 0xFFFF)
        return averages
