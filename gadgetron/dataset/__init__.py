"""ISMRMRD HDF5 files: scans in, scans and images out.

`ScanFile` reads a scan in bulk, or images to go on from; `ScanWriter` writes a scan, `ImageFileWriter` what a
reconstruction returns in the layout of the C++ client; `load_images` reads that back. Whatever is written appears under
its name complete or not at all. Every failure is a `StorageError` in words.
"""

from gadgetron.dataset.images import ImageFileWriter, StoredImage, list_image_groups, load_images
from gadgetron.dataset.scan import Acquisition, Image, ScanFile, Waveform
from gadgetron.dataset.scan_writer import ScanWriter

__all__ = [
    "Acquisition",
    "Image",
    "ImageFileWriter",
    "ScanFile",
    "ScanWriter",
    "StoredImage",
    "Waveform",
    "list_image_groups",
    "load_images",
]
