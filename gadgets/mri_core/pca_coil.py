"""Principal component analysis of the receive channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS, check
from gadgetron.message import BLOCK_OVERHEAD_BYTES, Array, Container, MessageBlock, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import FLAG_LAST_IN_SLICE, FLAG_NOISE, FLAG_PHASE_CORRECTION, FLAGS_NOT_IMAGING
from gadgetron.toolboxes.arrays import owned, shared_pool
from gadgetron.toolboxes.coils import mix_channels, principal_components
from gadgetron.toolboxes.readout import is_finite

MAX_BUFFERED = 100
CENTRAL_SAMPLES = 16

Header = Container[ismrmrd.AcquisitionHeader]
Readout = Container[Array[np.complex64]]


class PCACoilGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Turn channels into principal components, those with most signal first.

    Takes acquisitions, emits all but noise, in order within each slice. The lines of a slice wait until it is
    complete or has 100 of them; from the 16 samples around the center of each (of all samples, if there are fewer
    than 16 lines) the components are found, which apply to all lines of the slice. All channels are kept:
    CoilReductionGadget drops some.

    Mended against the C++ Gadgetron: what waits at the end of the stream is not lost; feedback, navigator, dummy,
    surface coil correction and phase correction readouts, and those with samples that are not finite, have no say in
    the components, and do not count among the 100.
    """

    uncombined_channels_by_name = Property(
        "", doc="comma separated names of channels that are moved to the front unchanged"
    )
    present_uncombined_channels = Property(
        0, doc="set by the gadget: how many of them were found; for other gadgets to refer to"
    )

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._uncombined: list[int] = []
        self._waiting: dict[int, list[tuple[Header, Readout]]] = {}
        self._n_analysed: Counter[int] = Counter()  # how many of them the components come from
        self._nbytes = 0
        self._matrices: dict[tuple[int, int], Array[np.complex64]] = {}  # by slice and number of channels

    def process_config(self, parameters: ParametersMessage) -> None:
        """Find the channels that stay as they are."""
        system = parameters.header.acquisitionSystemInformation
        wanted = [part.strip() for part in self.uncombined_channels_by_name.split(",") if part.strip()]
        labels = system.coilLabel if system else ()
        self._uncombined = [label.coilNumber for name in wanted for label in labels if label.coilName == name]
        self.present_uncombined_channels = len(self._uncombined)

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Hold readouts back until their slice's components are known, then transform them in batches."""
        ready: list[tuple[Header, Readout]] = []
        ready_key: tuple[int, tuple[int, ...]] | None = None
        for message in messages:
            is_match = self.matches(message)
            header: Header = message  # type: ignore[assignment]  # if it matches
            readout: Readout = message.cont  # type: ignore[assignment]  # if it matches
            key = (header.object.idx.slice, readout.object.shape) if is_match else None
            if ready and key != ready_key:
                self._transform(ready, ready_key[0] if ready_key else 0)
                ready = []
            if key is None:
                self.pass_on(message)
            elif header.object.flags & FLAG_NOISE:
                continue
            elif (key[0], key[1][0]) in self._matrices:
                ready.append((header, readout))
                ready_key = key
            else:
                self._hold(header, readout, key[0])
        if ready and ready_key is not None:
            self._transform(ready, ready_key[0])

    def _hold(self, header: Header, readout: Readout, slice_index: int) -> None:
        is_last = bool(header.object.flags & FLAG_LAST_IN_SLICE)
        readout.object = owned(readout.object)
        self._nbytes += readout.object.nbytes
        check("bytes of readouts that wait for their slice's components", self._nbytes, LIMITS.max_session_bytes)
        self._waiting.setdefault(slice_index, []).append((header, readout))
        self._n_analysed[slice_index] += _is_analysed((header, readout))
        if self._n_analysed[slice_index] >= (1 if is_last else MAX_BUFFERED):
            self._release(slice_index)

    def _release(self, slice_index: int) -> None:
        """Find the components of a slice, and send the lines that waited for them."""
        waiting = self._waiting.pop(slice_index)
        self._n_analysed.pop(slice_index, None)
        self._nbytes -= sum(readout.object.nbytes for _, readout in waiting)
        start = 0
        while start < len(waiting):
            shape = waiting[start][1].object.shape
            stop = start
            while stop < len(waiting) and waiting[stop][1].object.shape == shape:
                stop += 1
            if (slice_index, shape[0]) not in self._matrices:
                same = [pair for pair in waiting if pair[1].object.shape[0] == shape[0] and _is_analysed(pair)]
                self._matrices[slice_index, shape[0]] = (
                    self._find_components(same) if same else np.eye(shape[0], dtype=np.complex64)
                )
            self._transform(waiting[start:stop], slice_index)
            start = stop

    def _find_components(self, lines: list[tuple[Header, Readout]]) -> Array[np.complex64]:
        """Give the matrix (components, channels) that makes components of channels."""
        parts = []
        for header, readout in lines:
            data = readout.object
            n_samples = data.shape[1]
            n_used = min(n_samples, CENTRAL_SAMPLES) if len(lines) >= CENTRAL_SAMPLES else n_samples
            start = min(max(header.object.center_sample - n_used // 2, 0), n_samples - n_used)
            parts.append(data[:, start : start + n_used])
        samples = np.concatenate(parts, axis=1).T
        n_channels = samples.shape[1]
        kept = [channel for channel in self._uncombined if channel < n_channels]
        combined = [channel for channel in range(n_channels) if channel not in kept]
        matrix = np.zeros((n_channels, n_channels), np.complex64)
        matrix[np.arange(len(kept)), kept] = 1
        if combined:
            matrix[len(kept) :, combined] = principal_components(samples[:, combined]).T
        return matrix

    def _transform(self, messages: list[tuple[Header, Readout]], slice_index: int) -> None:
        """Transform readouts of equal shape, and pass them on."""
        matrix = self._matrices[slice_index, messages[0][1].object.shape[0]]
        results = mix_channels([readout.object for _, readout in messages], matrix, shared_pool.take)
        for (header, readout), result in zip(messages, results, strict=True):
            readout.object = result
            readout.charge(result.nbytes + BLOCK_OVERHEAD_BYTES)
            self.put_next(header)

    def close(self, flags: int) -> None:
        """Send the lines of slices that were not complete."""
        if flags:
            for slice_index in sorted(self._waiting):
                self._release(slice_index)
        self._waiting = {}


def _is_analysed(line: tuple[Header, Readout]) -> bool:
    """Tell whether a readout has a say in the components."""
    header, readout = line
    return not header.object.flags & (FLAGS_NOT_IMAGING | FLAG_PHASE_CORRECTION) and is_finite(readout.object)
