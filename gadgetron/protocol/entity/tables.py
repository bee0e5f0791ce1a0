"""Numbers of the framed protocol: entities, storage, commands, errors, and the streams that have a fixed place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

VERSION = 2
"""Major version of the ISMRMRD standard that every entity names."""


class EntityType(IntEnum):
    """What a frame carries."""

    HANDSHAKE = 0
    COMMAND = 1
    ACQUISITION = 2
    WAVEFORM = 3
    IMAGE = 4
    XML_HEADER = 5
    ERROR = 6
    BLOB = 7


class StorageType(IntEnum):
    """How numbers are stored. NONE is the C++ library's, for entities without any."""

    CHAR = 0
    USHORT = 1
    SHORT = 2
    UINT = 3
    INT = 4
    UINT64 = 5
    INT64 = 6
    FLOAT = 7
    DOUBLE = 8
    CXFLOAT = 9
    CXDOUBLE = 10
    NONE = 100


@dataclass(frozen=True, slots=True)
class Storage:
    """What a storage type means for each entity that has one.

    Attributes
    ----------
    component
        Type of one real number of an acquisition's samples, which are always complex; None where an acquisition cannot
        have it. Who reads the standard literally writes 9 and 10 where the C++ library writes 7 and 8: the same bytes.
    sample
        Type of one complex sample, where NumPy has one; None for pairs of integers.
    pixel
        Type of an image's pixels on the wire.
    message_pixel
        Type of the pixels in a message, which has no place for three of them: those become the next that can hold them.
    """

    component: np.dtype[Any] | None
    sample: np.dtype[Any] | None
    pixel: np.dtype[Any]
    message_pixel: np.dtype[Any]


def _storage(pixel: str, message_pixel: str = "", component: str = "", sample: str = "") -> Storage:
    return Storage(
        np.dtype(component) if component else None,
        np.dtype(sample) if sample else None,
        np.dtype(pixel),
        np.dtype(message_pixel or pixel),
    )


STORAGE: dict[int, Storage] = {
    StorageType.CHAR: _storage("<i1", message_pixel="<i2"),
    StorageType.USHORT: _storage("<u2"),
    StorageType.SHORT: _storage("<i2", component="<i2"),
    StorageType.UINT: _storage("<u4"),
    StorageType.INT: _storage("<i4", component="<i4"),
    StorageType.UINT64: _storage("<u8", message_pixel="<u4"),
    StorageType.INT64: _storage("<i8", message_pixel="<i4"),
    StorageType.FLOAT: _storage("<f4", component="<f4", sample="<c8"),
    StorageType.DOUBLE: _storage("<f8", component="<f8", sample="<c16"),
    StorageType.CXFLOAT: _storage("<c8", component="<f4", sample="<c8"),
    StorageType.CXDOUBLE: _storage("<c16", component="<f8", sample="<c16"),
}
"""Every storage type that has numbers in it."""

PIXEL_STORAGE: dict[np.dtype[Any], StorageType] = {
    storage.pixel: StorageType(number) for number, storage in STORAGE.items()
}
"""Storage type of each type of pixels."""

SAME_SAMPLES: dict[int, int] = {StorageType.CXFLOAT: StorageType.FLOAT, StorageType.CXDOUBLE: StorageType.DOUBLE}
"""The C++ library's storage type of an acquisition for the other spelling of it."""


class ConnectionStatus(IntEnum):
    """What a handshake says."""

    NOT_ASSIGNED = 200
    REQUEST = 201
    ACCEPTED = 202
    DENIED_UNKNOWN_USER = 301
    DENIED_SERVER_BUSY = 302
    DENIED_MANIFEST_ERROR = 303


class CommandType(IntEnum):
    """What a command asks for, or tells."""

    NONE = 1000
    STOP = 1001
    DONE = 1002
    CLOSE_CONNECTION = 1003
    CONFIGURATION = 1004
    USER_DEFINED_1 = 2001
    USER_DEFINED_2 = 2002
    USER_DEFINED_3 = 2003
    USER_DEFINED_4 = 2004


class ConfigurationType(IntEnum):
    """What the bytes of a configuration command are. The last four name a kind of data, and no configuration."""

    NONE = 700
    FILE = 701
    ENCLOSED = 702
    RECON_SHORT = 703
    RECON_INT = 704
    RECON_FLOAT = 705
    RECON_DOUBLE = 706


class ErrorType(IntEnum):
    """Whose doing an error is."""

    NONE = 20000
    INPUT_DATA = 20001
    MANIFEST = 20002
    INTERNAL = 20003
    UNKNOWN = 20004


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a peer writes: framing, and where it expects what is no data.

    Attributes
    ----------
    has_magic
        Whether "MRID" and a copy of the entity header come before every body.
    control_storage
        Storage type of entities without numbers.
    """

    name: str
    has_magic: bool
    handshake_stream: int
    command_stream: int
    error_stream: int
    header_stream: int
    control_storage: int = StorageType.NONE


SEED = Dialect("ISMRMRD", False, 65536, 65537, 65538, 1)
"""The standard's."""

MRID = Dialect("MRID", True, 0, 1, 2, 50)
"""The later C++ branch's."""

ACQUISITION_STREAM = 0
FIRST_FREE_STREAM = 2
FIRST_CONTROL_STREAM = 65536


def entity_name(entity_type: int) -> str:
    """Give an entity type's name with its number: `IMAGE (4)`; just the number of an unknown one."""
    return _name(EntityType, entity_type)


def storage_name(storage_type: int) -> str:
    """Give a storage type's name with its number."""
    return _name(StorageType, storage_type)


def command_name(command_type: int) -> str:
    """Give a command's name with its number."""
    return _name(CommandType, command_type)


def _name(enum: type[IntEnum], number: int) -> str:
    try:
        return f"{enum(number).name} ({number})"
    except ValueError:
        return str(number)
