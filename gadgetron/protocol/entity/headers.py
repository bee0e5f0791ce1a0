"""From the headers of the framed protocol to those of messages, and back: the second version of ISMRMRD to the first.

What both have is carried exactly, or refused by name where the other side has no room. What only one side has:

======================  ====================================================================================
entity only             `kspace_encode_step_0` of an acquisition, `end_time_stamp`, `user_int` and `user_float` of a
                        waveform: dropped on the way in; 0 on the way out, `end_time_stamp` as `begin_time_stamp`
message only            `measurement_uid` of acquisitions and images: dropped on the way out, 0 on the way in
sampling time           `dwell_time_ns` is whole nanoseconds, `sample_time_us` a float: rounded to the nearest
time stamps             `time_stamp` and `begin_time_stamp` are `acquisition_time_stamp` and `time_stamp`: the number
                        as it is, since ISMRMRD 1 has no unit for it
waveforms               channels, waveform_id, flags, scan_counter and measurement_uid have no field: they are in
                        `user_int` behind a mark, so what we wrote comes back whole
======================  ====================================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NoReturn

from ismrmrd import AcquisitionHeader, ImageHeader, WaveformHeader

from gadgetron.errors import LimitExceeded, MalformedMessageError

MESSAGE_VERSION = 1
MAX_U16 = 2**16 - 1
MAX_U32 = 2**32 - 1

COMPRESSION_FLAGS = 0b1111 << 52  # ISMRMRD's flags 53 to 56

# Fields that need no conversion are taken in one piece: physiology stamps, channel masks, geometry, user numbers.
_ACQUISITION = struct.Struct("<QQI12s3I128s6I60s18I64s")
_MESSAGE_ACQUISITION = struct.Struct("<HQIII12s3H128s5Hf60s17H64s")
_IMAGE = struct.Struct("<QQ3I12sI60s6I12s3I64sI")
_MESSAGE_IMAGE = struct.Struct("<HHQI3H12sH60s6HI12s3H64sI")
_WAVEFORM = struct.Struct("<QQII8i32s")
_MESSAGE_WAVEFORM = struct.Struct("<H6xQIIIHHfH2x")

_IDX_NAMES = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
    *(f"user[{i}]" for i in range(8)),
)
_ACQUISITION_NAMES = (
    "number_of_samples",
    "available_channels",
    "active_channels",
    "discard_pre",
    "discard_post",
    "center_sample",
    "encoding_space_ref",
    "trajectory_dimensions",
    *(f"idx.{name}" for name in _IDX_NAMES),
)
_IMAGE_NAMES = (
    *(f"matrix_size[{i}]" for i in range(3)),
    "channels",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "image_type",
    "image_index",
    "image_series_index",
)

WAVEFORM_MARK = int.from_bytes(b"wave", "little")
_WAVEFORM_USER = struct.Struct("<8i")
_WAVEFORM_OURS = struct.Struct("<4I4xQI")  # mark, channels, waveform_id, scan_counter, -, flags, measurement_uid


def _does_not_fit(what: str, time_stamp: int, names: Sequence[str], values: Sequence[int]) -> NoReturn:
    """Raise the error of the first value that the header of a message has no room for."""
    if time_stamp > MAX_U32:
        raise LimitExceeded(f"{what} time_stamp", time_stamp, MAX_U32)
    for name, value in zip(names, values, strict=True):
        if value > MAX_U16:
            raise LimitExceeded(f"{what} {name}", value, MAX_U16)
    raise MalformedMessageError(f"the header of the {what} cannot be converted")


def acquisition_header(header: bytes | memoryview) -> AcquisitionHeader:
    """Make the header of a message from an acquisition's.

    Raises
    ------
    LimitExceeded
        If a value is larger than the header of a message has room for.
    MalformedMessageError
        If the flags say that the data is compressed.
    """
    (
        time_stamp,
        flags,
        scan_counter,
        physiology,
        n_samples,
        available,
        active,
        mask,
        pre,
        post,
        center,
        space,
        n_dimensions,
        dwell_ns,
        geometry,
        _step_0,
        *idx,
        user,
    ) = _ACQUISITION.unpack(header)
    if flags & COMPRESSION_FLAGS:
        raise MalformedMessageError(f"acquisition data is compressed (flags {flags:#x}): send it uncompressed")
    try:
        packed = _MESSAGE_ACQUISITION.pack(
            MESSAGE_VERSION,
            flags,
            0,
            scan_counter,
            time_stamp,
            physiology,
            n_samples,
            available,
            active,
            mask,
            pre,
            post,
            center,
            space,
            n_dimensions,
            dwell_ns / 1000,
            geometry,
            *idx,
            user,
        )
    except struct.error:
        values = (n_samples, available, active, pre, post, center, space, n_dimensions, *idx)
        _does_not_fit("acquisition", time_stamp, _ACQUISITION_NAMES, values)
    return AcquisitionHeader.from_buffer_copy(packed)


def entity_acquisition_header(header: AcquisitionHeader) -> bytes:
    """Make an acquisition's header from that of a message.

    Raises
    ------
    MalformedMessageError
        If the sampling time has no form as nanoseconds, or the flags say that the data is compressed.
    """
    (
        _version,
        flags,
        _uid,
        scan_counter,
        time_stamp,
        physiology,
        n_samples,
        available,
        active,
        mask,
        pre,
        post,
        center,
        space,
        n_dimensions,
        sample_time_us,
        geometry,
        *idx,
        user,
    ) = _MESSAGE_ACQUISITION.unpack(header)
    if flags & COMPRESSION_FLAGS:
        raise MalformedMessageError(f"acquisition data is compressed (flags {flags:#x}): uncompress it first")
    return _ACQUISITION.pack(
        time_stamp,
        flags,
        scan_counter,
        physiology,
        n_samples,
        available,
        active,
        mask,
        pre,
        post,
        center,
        space,
        n_dimensions,
        _nanoseconds(sample_time_us, "acquisition"),
        geometry,
        0,
        *idx,
        user,
    )


def _nanoseconds(sample_time_us: float, what: str) -> int:
    if not 0 <= sample_time_us * 1000 < MAX_U32 + 0.5:
        raise MalformedMessageError(
            f"{what} sample_time_us is {sample_time_us} — dwell_time_ns has room for 0 to {MAX_U32} ns"
        )
    return round(sample_time_us * 1000)


def image_header(header: bytes | memoryview, data_type: int) -> ImageHeader:
    """Make the header of a message from an image's.

    Parameters
    ----------
    data_type
        Type of the pixels in the message, by ISMRMRD's number.

    Raises
    ------
    LimitExceeded
        If a value is larger than the header of a message has room for.
    """
    (
        time_stamp,
        flags,
        *matrix_size,
        field_of_view,
        channels,
        geometry,
        average,
        slice_,
        contrast,
        phase,
        repetition,
        set_,
        physiology,
        image_type,
        image_index,
        series,
        user,
        attribute_bytes,
    ) = _IMAGE.unpack(header)
    counters = (average, slice_, contrast, phase, repetition, set_)
    kind = (image_type, image_index, series)
    try:
        packed = _MESSAGE_IMAGE.pack(
            MESSAGE_VERSION,
            data_type,
            flags,
            0,
            *matrix_size,
            field_of_view,
            channels,
            geometry,
            *counters,
            time_stamp,
            physiology,
            *kind,
            user,
            attribute_bytes,
        )
    except struct.error:
        _does_not_fit("image", time_stamp, _IMAGE_NAMES, (*matrix_size, channels, *counters, *kind))
    return ImageHeader.from_buffer_copy(packed)


def entity_image_header(header: ImageHeader, attribute_bytes: int) -> bytes:
    """Make an image's header from that of a message; the length of the attributes is that of what is sent."""
    values = _MESSAGE_IMAGE.unpack(header)
    _version, _data_type, flags, _uid, x, y, z, field_of_view, channels, geometry = values[:10]
    counters, time_stamp, physiology, kind, user = values[10:16], values[16], values[17], values[18:21], values[21]
    return _IMAGE.pack(
        time_stamp,
        flags,
        x,
        y,
        z,
        field_of_view,
        channels,
        geometry,
        *counters,
        physiology,
        *kind,
        user,
        attribute_bytes,
    )


def waveform_header(header: bytes | memoryview) -> WaveformHeader:
    """Make the header of a message from a waveform's. One that is not ours has one channel.

    Raises
    ------
    LimitExceeded
        If a value is larger than the header of a message has room for.
    MalformedMessageError
        If the channels do not divide the samples.
    """
    begin, _end, dwell_ns, n_values, *user_int, _user_float = _WAVEFORM.unpack(header)
    channels, waveform_id, scan_counter, flags, uid = 1, 0, 0, 0, 0
    if user_int[0] == WAVEFORM_MARK:
        _mark, channels, waveform_id, scan_counter, flags, uid = _WAVEFORM_OURS.unpack(_WAVEFORM_USER.pack(*user_int))
        if channels == 0 or n_values % channels:
            raise MalformedMessageError(
                f"waveform number_of_samples is {n_values} — not a multiple of {channels} channels"
            )
    n_samples = n_values // channels
    try:
        packed = _MESSAGE_WAVEFORM.pack(
            MESSAGE_VERSION, flags, uid, scan_counter, begin, n_samples, channels, dwell_ns / 1000, waveform_id
        )
    except struct.error:
        names = ("number_of_samples", "channels", "waveform_id")
        _does_not_fit("waveform", begin, names, (n_samples, channels, waveform_id))
    return WaveformHeader.from_buffer_copy(packed)


def entity_waveform_header(header: WaveformHeader) -> bytes:
    """Make a waveform's header from that of a message."""
    values: tuple[Any, ...] = _MESSAGE_WAVEFORM.unpack(header)
    _version, flags, uid, scan_counter, time_stamp, n_samples, channels, sample_time_us, waveform_id = values
    ours = _WAVEFORM_OURS.pack(WAVEFORM_MARK, channels, waveform_id, scan_counter, flags, uid)
    dwell_ns = _nanoseconds(sample_time_us, "waveform")
    n_values = n_samples * channels
    return _WAVEFORM.pack(time_stamp, time_stamp, dwell_ns, n_values, *_WAVEFORM_USER.unpack(ours), bytes(32))
