"""The end of a chain: images go to the client."""

from __future__ import annotations

from typing import Any, ClassVar

import ismrmrd
import numpy as np

from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, GadgetContainerMessage, GadgetMessageIdentifier

GADGET_MESSAGE_IMAGE_CPLX_FLOAT = 1004
GADGET_MESSAGE_IMAGE_REAL_FLOAT = 1005
GADGET_MESSAGE_IMAGE_REAL_USHORT = 1006
GADGET_MESSAGE_ISMRMRD_IMAGE = 1022


class ImageFinishGadget(Gadget2[ismrmrd.ImageHeader, Array[Any]]):
    """Send images of any type to the client.

    Takes images, emits nothing downstream: each goes to the writer of message 1022. Order is preserved.
    """

    emits = ()
    message_id: ClassVar[int] = GADGET_MESSAGE_ISMRMRD_IMAGE

    def process(self, header: Container[ismrmrd.ImageHeader], _image: Container[Array[Any]]) -> None:
        """Send one image."""
        self.controller.output_ready(GadgetContainerMessage(GadgetMessageIdentifier(self.message_id), header))


class ImageFinishGadgetCPLX(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Send complex images to the client, to the writer in slot 1004."""

    emits = ()

    def process(self, header: Container[ismrmrd.ImageHeader], _image: Container[Array[np.complex64]]) -> None:
        """Send one image."""
        self.controller.output_ready(
            GadgetContainerMessage(GadgetMessageIdentifier(GADGET_MESSAGE_IMAGE_CPLX_FLOAT), header)
        )


class ImageFinishGadgetFLOAT(Gadget2[ismrmrd.ImageHeader, Array[np.float32]]):
    """Send float images to the client, to the writer in slot 1005."""

    emits = ()

    def process(self, header: Container[ismrmrd.ImageHeader], _image: Container[Array[np.float32]]) -> None:
        """Send one image."""
        self.controller.output_ready(
            GadgetContainerMessage(GadgetMessageIdentifier(GADGET_MESSAGE_IMAGE_REAL_FLOAT), header)
        )


class ImageFinishGadgetUSHORT(Gadget2[ismrmrd.ImageHeader, Array[np.uint16]]):
    """Send unsigned 16-bit images to the client, to the writer in slot 1006."""

    emits = ()

    def process(self, header: Container[ismrmrd.ImageHeader], _image: Container[Array[np.uint16]]) -> None:
        """Send one image."""
        self.controller.output_ready(
            GadgetContainerMessage(GadgetMessageIdentifier(GADGET_MESSAGE_IMAGE_REAL_USHORT), header)
        )
