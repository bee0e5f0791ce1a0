"""The base class of foreign modules of the old style, a plain object: no queue, no thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import ismrmrd
import numpy as np

from gadgetron.external import constants
from gadgetron.protocol.arrays import IMAGE_DATA_TYPES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from gadgetron.external.connection import Connection


class Gadget:
    """A foreign module as a class: subclass it, and implement `process`.

    Hooks, called in the order of what comes: `process_config(header)` once, with the raw ISMRMRD header; then
    `process(...)` for each item, and `process_waveform(waveform)` for waveforms where the class has it (they pass
    unchanged where it has not).

    `process` gets as many of an item's parts as it takes: header and data for an acquisition; header, data and meta
    attributes (a text) for an image; the one object for everything else. Arrays are transposed, with the axes
    of the C++ Gadgetron: (samples, channels), (x, y, z, channels). `put_next` takes the same parts.

    Parameters
    ----------
    next_gadget
        Taken for old modules' sake; has no meaning.
    """

    subclasses: ClassVar[list[type[Gadget]]] = []
    """Every class derived from this one, in the order of their definition."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Gadget.subclasses.append(cls)

    def __init__(self, next_gadget: Any = None, *args: Any, **kwargs: Any) -> None:
        self.connection: Connection | None = None
        self.params: dict[str, str] = {}
        self.hooks: dict[int, Callable[[Any], Any]] = {}

    def handle(self, connection: Connection) -> None:
        """Run on a connection until its input ends."""
        self.connection = connection
        self.params.update(_properties(connection.config))
        self.process_config(connection.raw_bytes.header)
        for message_id, item in connection.iter_with_mids():
            hook = self.hooks.get(message_id)
            if hook is not None:
                hook(item)
            elif message_id == constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM:
                self.process_waveform(item)
            else:
                self._call_process(_parts_of(item))

    def _call_process(self, parts: tuple[Any, ...]) -> None:
        """Call `process` with as many parts as it takes."""
        signature = inspect.signature(self.process)
        for count in range(len(parts), 0, -1):
            try:
                signature.bind(*parts[:count])
            except TypeError:
                continue
            self.process(*parts[:count])
            return
        names = ", ".join(type(part).__name__ for part in parts)
        raise TypeError(f"{type(self).__name__}.process{signature} cannot take an item of {names}")

    # What modules implement

    def process_config(self, config: Any) -> Any:
        """Take the raw ISMRMRD header, as bytes."""

    def process(self, *args: Any) -> Any:
        """Take the parts of one item."""

    def process_waveform(self, waveform: ismrmrd.Waveform) -> Any:
        """Take a waveform; by default it passes unchanged."""
        self.put_next(waveform)

    def wait(self) -> None:
        """Do nothing: there for old modules that call it."""

    # What modules use

    def put_next(self, *args: Any) -> None:
        """Send an item: its parts, as `process` gets them, or a whole one.

        Raises
        ------
        TypeError
            If no writer accepts it.
        """
        if self.connection is None:
            raise TypeError("put_next was called before the gadget had a connection")
        if isinstance(args[0], ismrmrd.AcquisitionHeader):
            self.connection.send(_acquisition(*args))
        elif isinstance(args[0], ismrmrd.ImageHeader):
            self.connection.send(_image(*args))
        else:
            self.connection.send(args[0])

    def set_parameter(self, name: str, value: str) -> None:
        """Set a parameter."""
        self.params[name] = value

    def get_parameter(self, name: str) -> str | None:
        """Give a parameter: a property of the node's configuration; None if it is not set."""
        return self.params.get(name)


def _properties(config: Element | None) -> dict[str, str]:
    if config is None:
        return {}
    return {element.get("name", ""): element.get("value", "") for element in config.iter("property")}


def _parts_of(item: Any) -> tuple[Any, ...]:
    if isinstance(item, ismrmrd.Acquisition):
        return item.getHead(), item.data.T
    if isinstance(item, ismrmrd.Image):
        return item.getHead(), item.data.T, item.attribute_string
    return (item,)


def _acquisition(header: ismrmrd.AcquisitionHeader, data: Any, *_: Any) -> ismrmrd.Acquisition:
    samples = np.ascontiguousarray(np.transpose(data), np.complex64)
    header.active_channels, header.number_of_samples = samples.shape
    return ismrmrd.Acquisition(header, samples)


def _image(header: ismrmrd.ImageHeader, data: Any, meta: Any = "", *_: Any) -> ismrmrd.Image:
    """Make an image of the header's shape and type; one of no type gets that of the data."""
    pixels = np.transpose(np.asarray(data))
    if not header.data_type:
        header.data_type = IMAGE_DATA_TYPES.get(pixels.dtype, 0)
    text = meta.serialize() if isinstance(meta, ismrmrd.Meta) else meta or ""
    image = ismrmrd.Image(header, text)
    image.data[:] = pixels.reshape(image.data.shape)
    return image
