"""Marking of coils that are not to be combined."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.errors import PropertyError
from gadgetron.gadget import Gadget2
from gadgetron.header import IsmrmrdHeader
from gadgetron.message import Array, Container, MessageBlock, ParametersMessage, make_message
from gadgetron.properties import Property
from gadgets.grappa.slices import ChannelAnnotation


class ChannelReorderer(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Say which coils get images of their own instead of being combined.

    Takes and emits acquisitions; SliceAccumulator behind it knows by a further block of the message. The coils stay
    where they are: images are the combined one first, then those of the uncombined coils, in any case.
    """

    uncombined_channels = Property("", doc="comma separated numbers of the coils, or their names in single quotes")
    uncombined_channels_by_name = Property("", doc="comma separated names of the coils")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._annotation = ChannelAnnotation(())

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find the coils."""
        self._annotation = ChannelAnnotation(
            find_channels(self.uncombined_channels, self.uncombined_channels_by_name, parameters.header)
        )

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Mark one acquisition."""
        last: MessageBlock = readout
        while last.cont is not None:
            last = last.cont
        last.cont = make_message(self._annotation)
        self.put_next(header)


def find_channels(channels: str, names: str, header: IsmrmrdHeader) -> tuple[int, ...]:
    """Give the numbers of the coils that two properties mean, sorted; names that the scan does not have mean none.

    Raises
    ------
    PropertyError
        If something is neither a number nor a name in single quotes.
    """
    system = header.acquisitionSystemInformation
    numbers = {label.coilName: label.coilNumber for label in (system.coilLabel if system else ())}
    wanted = {part.strip() for part in names.split(",")}
    found = {numbers[name] for name in wanted if name in numbers}
    for part in filter(None, (part.strip() for part in channels.split(","))):
        if part.startswith("'") and part.endswith("'"):
            found |= {numbers[part[1:-1]]} if part[1:-1] in numbers else set()
        elif part.isascii() and part.isdecimal() and len(part) < 6:
            found.add(int(part))
        else:
            raise PropertyError(
                f"property uncombined_channels: {part!r} is neither a number nor a name in single quotes"
            )
    return tuple(sorted(found))
