"""Branches that give every message of a kind to every stream."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np

from gadgetron.branch import Fanout
from gadgetron.message import Array


class AcquisitionFanout(Fanout):
    """Give a copy of every acquisition to every stream. Other messages by-pass the streams."""

    accepts = ((ismrmrd.AcquisitionHeader, Array[np.complex64]),)


class WaveformFanout(Fanout):
    """Give a copy of every waveform to every stream. Other messages by-pass the streams."""

    accepts = ((ismrmrd.WaveformHeader, Array[np.uint32]),)


class ImageFanout(Fanout):
    """Give a copy of every image, of any data type, to every stream. Other messages by-pass the streams."""

    accepts = ((ismrmrd.ImageHeader, Array[Any]),)
