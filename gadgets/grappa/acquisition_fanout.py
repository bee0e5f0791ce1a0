"""The branch of the GRAPPA chain."""

from __future__ import annotations

from gadgetron.branch import Branch
from gadgetron.message import MessageBlock, make_message
from gadgets.grappa.slices import Slice


class AcquisitionFanout(Branch):
    """Give every slice to every stream: one makes the images, another one the weights.

    The slice itself is not copied, as `Fanout` would: the gadgets of these streams only read it.
    """

    accepts = ((Slice,),)

    def process(self, message: MessageBlock) -> None:
        """Put one slice."""
        for key in self.stream_keys:
            self.put_to(key, make_message(message.object))  # type: ignore[attr-defined]  # it matches
