"""R05 to R07 for the framed protocol: every length field at its extremes, and products that would wrap."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import pytest

from gadgetron.errors import (
    ConnectionLost,
    GadgetronError,
    LimitExceeded,
    MalformedMessageError,
    ProtocolError,
    RemoteError,
)
from gadgetron.limits import LIMITS, MIB
from tests import framed_client as framed
from tests import raw_client as raw
from tests.reliability.framed_sessions import HANDSHAKE, frames, play
from tests.reliability.sessions import make_environment
from tests.reliability.test_r05_length_fields import peak_bytes

VALUES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)

SCRIPT = b'<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron"/>'
READY = HANDSHAKE + frames(framed.config_script(SCRIPT), framed.xml_header(raw.SMALL_HEADER))
ACQUISITION = framed.acquisition(1, 4, 2, samples=b"")
IMAGE = framed.image(b"", (1, 1, 1, 1), framed.FLOAT)


def patched(before: bytes, entity: bytes, offset: int, frame_bytes: int | None = None) -> Callable[[int], bytes]:
    """Make a session whose last entity has a number at an offset, in a frame of any size that the field allows."""

    def make(value: int) -> bytes:
        data = bytearray(entity)
        struct.pack_into("<I", data, offset, value)
        size = len(entity) if frame_bytes is None else frame_bytes
        return before + struct.pack("<Q", size) + bytes(data)

    return make


def frame_of(before: bytes, entity_type: int) -> Callable[[int], bytes]:
    head = struct.pack("<4I", 2, entity_type, framed.FLOAT, 0 if entity_type == framed.ACQUISITION else 9)
    return lambda size: before + struct.pack("<Q", size) + head


SLOTS: dict[str, tuple[int, int, Callable[[int], bytes]]] = {
    "frame_size": (8, LIMITS.max_blob_bytes + LIMITS.max_attribute_bytes, frame_of(READY, framed.BLOB)),
    "frame_size of ACQUISITION": (8, 2 * LIMITS.max_acquisition_bytes + 1024, frame_of(READY, framed.ACQUISITION)),
    "frame_size of IMAGE": (8, LIMITS.max_image_bytes + LIMITS.max_attribute_bytes + 1024, frame_of(READY, 4)),
    "client_name_length": (4, LIMITS.max_client_name_bytes, patched(b"", framed.handshake(), 28)),
    "manifest_size": (4, LIMITS.max_manifest_entries, patched(b"", framed.handshake(), 32)),
    "config_length": (4, LIMITS.max_config_bytes, patched(HANDSHAKE, framed.command(1000), 28)),
    "n_entities": (4, LIMITS.max_command_entities, patched(HANDSHAKE, framed.command(1000), 32)),
    "description_length": (4, LIMITS.max_text_bytes, patched(HANDSHAKE, framed.error(b""), 32)),
    "description_length of a blob": (4, LIMITS.max_text_bytes, patched(READY, framed.blob(b"", b""), 16)),
    "number_of_samples": (4, LIMITS.max_acquisition_bytes // 16, patched(READY, ACQUISITION, 48)),
    "active_channels": (4, LIMITS.max_acquisition_bytes // 32, patched(READY, ACQUISITION, 56)),
    "trajectory_dimensions": (4, LIMITS.max_acquisition_bytes // 16 - 4, patched(READY, ACQUISITION, 204)),
    "number_of_samples of a waveform": (4, LIMITS.max_waveform_bytes // 4, patched(READY, framed.waveform([]), 36)),
    "channels": (4, LIMITS.max_image_bytes // 4, patched(READY, IMAGE, 56)),
    "matrix_size x": (4, LIMITS.max_image_bytes // 4, patched(READY, IMAGE, 32)),
    "matrix_size y": (4, LIMITS.max_image_bytes // 4, patched(READY, IMAGE, 36)),
    "matrix_size z": (4, LIMITS.max_image_bytes // 4, patched(READY, IMAGE, 40)),
    "attribute_string_len": (4, LIMITS.max_attribute_bytes, patched(READY, IMAGE, 232)),
}


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("value", VALUES)
def test_a_length_is_checked_before_it_is_believed(slot: str, value: int) -> None:
    n_field_bytes, limit, make = SLOTS[slot]
    value &= 2 ** (8 * n_field_bytes) - 1
    data = make(value)
    environment = make_environment()
    play(data, environment=environment)  # whatever is made once: caches, receive blocks
    outcomes: list[GadgetronError | None] = []
    peak = peak_bytes(lambda: outcomes.append(play(data, environment=environment).error))
    error = outcomes[0]
    if value > 2 * limit:
        assert isinstance(error, LimitExceeded), error
        assert slot.partition(" ")[0] in str(error), error
    else:
        assert error is None or isinstance(error, ProtocolError | ConnectionLost | RemoteError), error
    if not isinstance(error, ConnectionLost):
        assert peak <= MIB, f"{peak} bytes"


@pytest.mark.parametrize("slot", [slot for slot in SLOTS if not slot.startswith("frame_size")])
def test_the_limit_itself_is_allowed_and_one_more_is_not(slot: str) -> None:
    _, limit, make = SLOTS[slot]
    assert isinstance(play(make(limit)).error, MalformedMessageError)  # the frame is too short for it
    assert isinstance(play(make(limit + 1)).error, LimitExceeded)


@pytest.mark.parametrize(
    ("n_samples", "n_channels", "n_dimensions"),
    [
        *itertools.product((65_535, 2**31, 2**32 - 1), (65_535, 2**31, 2**32 - 1), (0, 1, 2**32 - 1)),
        (2**32 - 1, 0, 2**32 - 1),
        (2**31, 2, 0),
        (2**29, 8, 0),
    ],
)
def test_a_readout_whose_size_would_wrap_is_refused(n_samples: int, n_channels: int, n_dimensions: int) -> None:
    data = bytearray(ACQUISITION)
    struct.pack_into("<I", data, 48, n_samples)
    struct.pack_into("<I", data, 56, n_channels)
    struct.pack_into("<I", data, 204, n_dimensions)
    session = READY + frames(bytes(data))
    outcomes: list[GadgetronError | None] = []
    play(session)
    assert peak_bytes(lambda: outcomes.append(play(session).error)) <= MIB
    assert isinstance(outcomes[0], LimitExceeded)
    assert "acquisition bytes" in str(outcomes[0])


@pytest.mark.parametrize("size", [65_535, 2**16, 2**31, 2**32 - 1])
@pytest.mark.parametrize("storage", [framed.CHAR, framed.USHORT, framed.FLOAT, framed.CXDOUBLE])
def test_an_image_whose_size_would_wrap_is_refused(size: int, storage: int) -> None:
    data = bytearray(framed.image(b"", (1, 1, 1, 1), storage))
    struct.pack_into("<3I12xI", data, 32, size, size, size, size)
    session = READY + frames(bytes(data))
    outcomes: list[GadgetronError | None] = []
    play(session)
    assert peak_bytes(lambda: outcomes.append(play(session).error)) <= MIB
    assert isinstance(outcomes[0], LimitExceeded)
    assert "image bytes" in str(outcomes[0])
