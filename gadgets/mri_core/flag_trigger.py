"""Collection of readouts into buckets that end with a flag."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded
from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import Array, GadgetContainerMessage, MessageBlock, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_types import AcquisitionBucket
from gadgetron.toolboxes.arrays import owned
from gadgets.mri_core.acquisition_accumulate_trigger import membership, unpack_message
from gadgets.mri_core.flag_expression import parse_flag_expression


class FlagTriggerGadget(Gadget2[ismrmrd.AcquisitionHeader, Array[np.complex64]]):
    """Collect readouts into buckets, and send the bucket behind each readout whose flags satisfy an expression.

    Takes acquisitions, emits buckets; the rest is sent at the end of the stream. What is imaging data, what calibration
    and what neither is as in AcquisitionAccumulateTriggerGadget; also readouts that are in no bucket may end one.
    """

    trigger_flags = Property(
        "",
        doc="expression of flags in lower case with !, &&, || and parentheses, such as last_in_slice || user1; a comma "
        "is an ||",
    )

    emits = ((AcquisitionBucket,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._is_last: Callable[[int], bool] | None = None
        self._bucket = AcquisitionBucket()

    def process_config(self, _parameters: ParametersMessage) -> None:
        """Read the expression."""
        self._predicate()

    def _predicate(self) -> Callable[[int], bool]:
        if self._is_last is None:
            self._is_last = parse_flag_expression(self.trigger_flags)
        return self._is_last

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Collect readouts."""
        is_last = self._predicate()
        for message in messages:
            if not self.matches(message):
                self.pass_on(message)
                continue
            _, _, acquisition = unpack_message(message)
            if acquisition is None:
                continue  # a match is an acquisition
            is_data, is_reference = membership(acquisition.fields.flags)
            if is_data or is_reference:
                acquisition.data = owned(acquisition.data)
                if acquisition.trajectory is not None:
                    acquisition.trajectory = owned(acquisition.trajectory)
                self._bucket.add(acquisition, is_data=is_data, is_reference=is_reference)
                if self._bucket.nbytes > LIMITS.max_session_bytes:
                    raise LimitExceeded(
                        "bytes of readouts waiting for a flag", self._bucket.nbytes, LIMITS.max_session_bytes
                    )
            if is_last(acquisition.fields.flags):
                self._send()

    def _send(self) -> None:
        bucket, self._bucket = self._bucket, AcquisitionBucket()
        if bucket.data or bucket.reference:
            self.put_next(GadgetContainerMessage(bucket))

    def close(self, flags: int) -> None:
        """Send what is left."""
        if flags:
            self._send()
        self._bucket = AcquisitionBucket()
