"""What a chain is made of, as the pre-flight check asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ismrmrd import ImageHeader

from gadgetron.errors import ConfigurationError, PropertyError
from gadgetron.message_types import alternatives
from gadgetron.properties import Reference, parse_value

if TYPE_CHECKING:
    from gadgetron.configuration.model import StreamConfiguration
    from gadgetron.gadget import Gadget
    from gadgetron.header import Encoding
    from gadgetron.loader import Loader

GRIDDING = ("GriddingReconGadget", "SpiralToGeneric")
NOT_ON_A_GRID = ("radial", "goldenangle", "spiral")
PARALLEL_IMAGING = ("Grappa", "Spirit", "WeightsCalculator", "Sense", "Unmixing")
CARTESIAN = (
    "SimpleReconGadget",
    "FFTGadget",
    "AccumulatorGadget",
    "ImageAccumulator",
    "GenericReconCartesian",
)


class Chain:
    """Gadget classes and their properties, and the message ids that have a reader.

    Parameters
    ----------
    gadgets
        Class of each gadget, with what is configured on it as (name, text).
    slots
        Message ids with a reader; None if that is not known.
    """

    def __init__(
        self, gadgets: Sequence[tuple[type[Gadget], tuple[tuple[str, str], ...]]], slots: frozenset[int] | None = None
    ) -> None:
        self._gadgets = list(gadgets)
        self.slots = slots

    @classmethod
    def of(cls, configuration: StreamConfiguration, loader: Loader) -> Chain:
        """Load the classes of a configuration; what cannot be loaded is left out, `validate` complains about it."""
        gadgets = []
        for spec in configuration.gadgets:
            try:
                gadgets.append((loader.load_gadget(spec.dll, spec.classname), spec.properties))
            except ConfigurationError:
                continue
        slots: set[int] | None = set()
        for reader in configuration.readers:
            try:
                slot = loader.load_reader(reader.dll, reader.classname).slot if reader.slot is None else reader.slot
            except ConfigurationError:
                slots = None
                break
            slots.add(slot)  # type: ignore[union-attr]  # a set until the loop is left
        return cls(gadgets, None if slots is None else frozenset(slots))

    def __len__(self) -> int:
        return len(self._gadgets)

    def has(self, *names: str) -> bool:
        """Tell whether a gadget is, or is derived from, a class of one of these names."""
        return any(base.__name__ in names for cls, _ in self._gadgets for base in cls.__mro__)

    def has_part(self, parts: Sequence[str]) -> bool:
        """Tell whether a gadget's class has one of these parts in its name."""
        return any(part in cls.__name__ for cls, _ in self._gadgets for part in parts)

    def passes_images(self, type_name: str) -> list[str]:
        """Give the classes that let images of a type pass as they are, because they take others, in order.

        Parameters
        ----------
        type_name
            NumPy's name of the pixels' type. Only gadgets before the first one that takes such images are looked at.
        """
        names: list[str] = []
        for cls, _ in self._gadgets:
            taken = [message[1] for message in cls.accepts if len(message) == 2 and message[0] is ImageHeader]
            types = [pair for argument in taken for pair in alternatives(argument) or ((np.ndarray, None),)]
            if any(dtype is None or dtype == type_name for _, dtype in types):
                break
            if types:
                names.append(cls.__name__)
        return names

    def value(self, class_name: str, property_name: str) -> Any:
        """Give a property of the first gadget of a class, as configured or its default; None if there is none."""
        for cls, properties in self._gadgets:
            if cls.__name__ != class_name:
                continue
            value: Any = getattr(cls, property_name, None)
            value = getattr(value, "default", None)
            for name, text in properties:
                try:
                    found, parsed = parse_value(cls, name, text)
                except PropertyError:
                    continue
                if found is not None and found.name == property_name:
                    value = None if isinstance(parsed, Reference) else parsed
            return value
        return None

    @property
    def is_cartesian(self) -> bool:
        """Whether it makes images of lines on a grid, and does nothing else with readouts."""
        return self.has_part(CARTESIAN) and not self.has_part(GRIDDING)

    def refuses(self, encoding: Encoding) -> bool:
        """Tell whether it has a gadget that fails at readouts of an encoding space, because of its trajectory."""
        if self.has("GenericReconGadget"):
            return not encoding.is_cartesian
        return self.has("SimpleReconGadget") and encoding.trajectory in NOT_ON_A_GRID

    @property
    def has_parallel_imaging(self) -> bool:
        """Whether it fills in lines that were left out."""
        return self.has_part(PARALLEL_IMAGING)
