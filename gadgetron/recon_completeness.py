"""Whether all lines of a repetition have arrived, as far as the header tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gadgetron.header import Encoding, IsmrmrdHeader
from gadgetron.parallel_imaging import acceleration_of
from gadgetron.recon_types import COUNTERS, Acquisition

__all__ = ["has_all_lines"]

E1, E2, REPETITION = (COUNTERS.index(name) for name in ("kspace_encode_step_1", "kspace_encode_step_2", "repetition"))
OTHERS = ("average", "slice", "contrast", "phase", "set")


def has_all_lines(acquisitions: Sequence[Acquisition], header: IsmrmrdHeader) -> bool:
    """Tell whether imaging readouts are whole repetitions: every slice, contrast, set and average with all its lines.

    Parameters
    ----------
    acquisitions
        Imaging readouts, of one or several repetitions.
    header
        Its limits say what there is to be measured. Without limits, with several encoding spaces or cardiac phases, or
        off the Cartesian grid, nobody knows: the answer is no.
    """
    if not acquisitions or len(header.encoding) != 1:
        return False
    encoding = header.encoding[0]
    limits = encoding.encodingLimits
    n_expected = _n_lines(encoding)
    if n_expected is None or (limits.phase is not None and limits.phase.size > 1):
        return False
    for name in OTHERS:
        limit = getattr(limits, name)
        n_expected *= limit.size if limit is not None else 1
    idx = np.array([acquisition.fields.idx for acquisition in acquisitions], np.int64)
    columns = [E1, E2, *(COUNTERS.index(name) for name in OTHERS), REPETITION]
    lines = np.unique(idx[:, columns], axis=0)
    _, counts = np.unique(lines[:, -1], return_counts=True)
    return bool((counts >= n_expected).all())


def _n_lines(encoding: Encoding) -> int | None:
    """Give the number of lines that an image has at least."""
    limits = encoding.encodingLimits
    along_1, along_2 = limits.kspace_encoding_step_1, limits.kspace_encoding_step_2
    if not encoding.is_cartesian or along_1 is None or (along_2 is None and encoding.encodedSpace.matrixSize.z > 1):
        return None
    acceleration = acceleration_of(encoding)
    n_2 = along_2.size // acceleration.e2 if along_2 is not None else 1
    return max(1, along_1.size // acceleration.e1) * max(1, n_2)
