"""Selection of receive channels."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.errors import ConfigurationError
from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.properties import Property

MAX_CHANNELS = 1024


class CoilReductionGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Keep some of the channels.

    Takes and emits acquisitions; those of a mask, or the first `coils_out`. Channels that a readout does not have are
    not asked for.
    """

    coil_mask = Property(
        "",
        doc="for each channel 1 to keep or 0 to drop it, as in '0 1 1' or '011'; channels beyond its end are dropped",
    )
    coils_out = Property(
        128, doc="number of channels to keep; those with higher numbers are dropped", minimum=1, maximum=MAX_CHANNELS
    )

    thread_safe = True

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._kept: list[int] | None = None

    def process_config(self, _parameters: ParametersMessage) -> None:
        """Read the mask."""
        words = self.coil_mask.split()
        if len(words) == 1 and set(words[0]) <= {"0", "1"}:
            words = list(words[0])  # '0110', as the C++ Gadgetron describes it, but does not read it
        try:
            self._kept = [channel for channel, word in enumerate(words) if int(word) > 0] if words else None
        except ValueError:
            raise ConfigurationError(f"coil_mask ({self.coil_mask[:64]!r}): zeros and ones expected") from None
        if self._kept == []:
            raise ConfigurationError(f"coil_mask ({self.coil_mask[:64]!r}): no channel is kept")

    def process(self, header: Container[ismrmrd.AcquisitionHeader], readout: Container[Array[np.complex64]]) -> None:
        """Select the channels of one readout."""
        data = readout.object
        n_channels = data.shape[0]
        if self._kept is not None:
            kept = [channel for channel in self._kept if channel < n_channels]
            if len(kept) < n_channels:
                readout.object = data[kept]
                header.object.active_channels = len(kept)
        elif n_channels > self.coils_out:
            readout.object = data[: self.coils_out]
            readout.charge(data.nbytes)
            header.object.active_channels = self.coils_out
        self.put_next(header)
