"""From a configuration to External nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gadgetron.configuration.model import ComponentSpec, ExternalSpec
from gadgetron.foreign.launch import check_external
from gadgetron.foreign.node import ExternalGadget, ForeignModule
from gadgetron.properties import undeclared_properties

if TYPE_CHECKING:
    from gadgetron.environment import Environment
    from gadgetron.loader import Loader
    from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter

DEFAULT_READERS = (
    "acquisition.AcquisitionReader",
    "waveform.WaveformReader",
    "image.MRIImageReader",
    "recon_data.BufferReader",
    "image_array.IsmrmrdImageArrayReader",
    "bucket.AcquisitionBucketReader",
    "text.TextReader",
)
DEFAULT_WRITERS = (
    "acquisition.AcquisitionWriter",
    "waveform.WaveformWriter",
    "image.MRIImageWriter",
    "recon_data.BufferWriter",
    "image_array.IsmrmrdImageArrayWriter",
    "bucket.AcquisitionBucketWriter",
)


def load_components(
    spec: ExternalSpec, loader: Loader
) -> tuple[list[type[GadgetMessageReader]], list[type[GadgetMessageWriter]]]:
    """Find the readers and writers of a node: those of the configuration, or those for everything that crosses.

    Raises
    ------
    ConfigurationError
        If one cannot be loaded.
    """
    readers = [loader.load_reader(reader.dll, reader.classname) for reader in spec.readers or _specs(DEFAULT_READERS)]
    writers = [loader.load_writer(writer.dll, writer.classname) for writer in spec.writers or _specs(DEFAULT_WRITERS)]
    return readers, writers


def make_external(spec: ExternalSpec, environment: Environment) -> ExternalGadget:
    """Make an External node. Nothing is started.

    Raises
    ------
    ConfigurationError
        If the server may not run it, or a reader or writer cannot be loaded.
    """
    check_external(spec, environment.loader, environment.foreign)
    reader_classes, writer_classes = load_components(spec, environment.loader)
    slots = [reader.slot for reader in spec.readers] or [None] * len(reader_classes)
    readers = {
        reader.slot if slot is None else slot: reader() for reader, slot in zip(reader_classes, slots, strict=True)
    }
    module = ForeignModule(spec.action, spec.configuration, readers, tuple(writer() for writer in writer_classes))
    gadget = ExternalGadget(module, spec.name, environment.foreign, environment.limits)
    undeclared_properties(gadget).update(spec.properties)
    return gadget


def _specs(names: tuple[str, ...]) -> tuple[ComponentSpec, ...]:
    return tuple(ComponentSpec("", f"readers_writers.{name}") for name in names)
