"""Message ids of the classic protocol, by the names that the C++ Gadgetron has for them."""

from __future__ import annotations

from enum import IntEnum


class MessageID(IntEnum):
    """The u16 that begins every message of the classic protocol."""

    CONFIG_FILE = 1
    CONFIG_SCRIPT = 2
    HEADER = 3  # also called PARAMETER_SCRIPT
    CLOSE = 4
    TEXT = 5
    QUERY = 6
    RESPONSE = 7
    ERROR = 8

    ISMRMRD_ACQUISITION = 1008
    ISMRMRD_IMAGE_CPLX_FLOAT = 1009
    ISMRMRD_IMAGE_REAL_FLOAT = 1010
    ISMRMRD_IMAGE_REAL_USHORT = 1011
    ISMRMRD_IMAGEWITHATTRIB_CPLX_FLOAT = 1015
    ISMRMRD_IMAGEWITHATTRIB_REAL_FLOAT = 1016
    ISMRMRD_IMAGEWITHATTRIB_REAL_USHORT = 1017
    DICOM_WITHNAME = 1018
    DEPENDENCY_QUERY = 1019
    ISMRMRD_IMAGE_REAL_SHORT = 1020
    ISMRMRD_IMAGEWITHATTRIB_REAL_SHORT = 1021
    ISMRMRD_IMAGE = 1022
    RECONDATA = 1023
    IMAGE_ARRAY = 1024
    ISMRMRD_WAVEFORM = 1026
    BUCKET = 1050


FIRST_CONTROL_ID = 1
LAST_CONTROL_ID = 8

# Slots of the seed's example configuration, whose image writers put the image messages on the wire.
IMAGE_CPLX_FLOAT_SLOT = 1004
IMAGE_REAL_FLOAT_SLOT = 1005
IMAGE_REAL_USHORT_SLOT = 1006


def message_name(message_id: int) -> str:
    """Give an id's name with its number: `HEADER (3)`, or just the number of an unknown one."""
    try:
        return f"{MessageID(message_id).name} ({message_id})"
    except ValueError:
        return str(message_id)
