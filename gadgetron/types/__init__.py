"""Recon data, image arrays and buckets as foreign modules see them: the names and axes of the package `gadgetron` 1.4.

Axes are those of the C++ Gadgetron, fastest first. What travels between our own gadgets is in `gadgetron.recon_types`.
"""

from __future__ import annotations

from gadgetron.types.acquisition_bucket import AcquisitionBucket, AcquisitionBucketStats
from gadgetron.types.image_array import ImageArray
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription, SamplingLimit

__all__ = [
    "AcquisitionBucket",
    "AcquisitionBucketStats",
    "ImageArray",
    "ReconBit",
    "ReconBuffer",
    "ReconData",
    "SamplingDescription",
    "SamplingLimit",
]
