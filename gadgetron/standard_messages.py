"""The readers and writers of every kind of message that we ship, loaded by name."""

from __future__ import annotations

from gadgetron.loader import Loader
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter

_READERS = (
    "acquisition.AcquisitionReader",
    "waveform.WaveformReader",
    "image.MRIImageReader",
    "legacy_image.LegacyImageReaderCPLX",
    "legacy_image.LegacyImageReaderFLOAT",
    "legacy_image.LegacyImageReaderUSHORT",
    "legacy_image.LegacyImageReaderSHORT",
    "legacy_image.LegacyImageAttribReaderCPLX",
    "legacy_image.LegacyImageAttribReaderFLOAT",
    "legacy_image.LegacyImageAttribReaderUSHORT",
    "legacy_image.LegacyImageAttribReaderSHORT",
    "dicom.DicomImageReader",
    "dependency_query.DependencyQueryReader",
    "recon_data.BufferReader",
    "image_array.IsmrmrdImageArrayReader",
    "bucket.AcquisitionBucketReader",
)
_WRITERS = (
    "acquisition.AcquisitionWriter",
    "waveform.WaveformWriter",
    "image.MRIImageWriter",
    "recon_data.BufferWriter",
    "image_array.IsmrmrdImageArrayWriter",
    "bucket.AcquisitionBucketWriter",
)


def load_standard_readers() -> dict[int, GadgetMessageReader]:
    """Make a reader for every message with results that a server may send, by message id."""
    loader = Loader()
    readers = [loader.load_reader("", f"readers_writers.{name}")() for name in _READERS]
    return {reader.slot: reader for reader in readers}


def load_standard_writers() -> dict[int, GadgetMessageWriter]:
    """Make a writer for every message with data that a client may send, by message id."""
    loader = Loader()
    writers = [loader.load_writer("", f"readers_writers.{name}")() for name in _WRITERS]
    return {writer.slot: writer for writer in writers}
