"""Conversion between the versions of the headers: exact where both have a field, elsewhere an error that says which."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest
from ismrmrd import AcquisitionHeader, ImageHeader, WaveformHeader

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.protocol.entity.data import ACQUISITION_FIELDS, IMAGE_FIELDS, WAVEFORM_FIELDS
from gadgetron.protocol.entity.headers import (
    COMPRESSION_FLAGS,
    acquisition_header,
    entity_acquisition_header,
    entity_image_header,
    entity_waveform_header,
    image_header,
    waveform_header,
)

N_RANDOM = 200

IDX = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase", "repetition", "set")
ACQUISITION_U16 = (
    "number_of_samples",
    "available_channels",
    "active_channels",
    "discard_pre",
    "discard_post",
    "center_sample",
    "encoding_space_ref",
    "trajectory_dimensions",
)
IMAGE_U16 = (
    "channels",
    *("average", "slice", "contrast", "phase", "repetition", "set"),
    *("image_type", "image_index", "image_series_index"),
)
SAME = ("flags", "position", "read_dir", "phase_dir", "slice_dir", "patient_table_position", "user_int", "user_float")


def values(header: ctypes.Structure, name: str) -> list[Any]:
    value = getattr(header, name)
    return list(value) if hasattr(value, "__len__") else [value]


def random_header(rng: np.random.Generator, kind: type[Any]) -> Any:
    """A header of random numbers, with finite floats and no compression."""
    header = kind.from_buffer_copy(rng.bytes(ctypes.sizeof(kind)))
    header.version = 1
    header.flags &= ~COMPRESSION_FLAGS
    for name, field in kind._fields_:
        if field is ctypes.c_float:
            setattr(header, name, float(rng.integers(0, 10**6)) / 1000)
        elif getattr(field, "_type_", None) is ctypes.c_float:
            getattr(header, name)[:] = [float(value) for value in rng.normal(size=field._length_)]
    return header


def test_acquisition_headers_come_back_but_for_what_an_entity_lacks(rng: np.random.Generator) -> None:
    for _ in range(N_RANDOM):
        header = random_header(rng, AcquisitionHeader)
        back = acquisition_header(entity_acquisition_header(header))
        header.measurement_uid = 0
        assert bytes(back) == bytes(header)


def test_every_field_of_an_acquisition_arrives(rng: np.random.Generator) -> None:
    header = random_header(rng, AcquisitionHeader)
    fields = np.frombuffer(entity_acquisition_header(header), ACQUISITION_FIELDS)[0]
    assert fields["time_stamp"] == header.acquisition_time_stamp
    assert fields["scan_counter"] == header.scan_counter
    assert fields["dwell_time_ns"] == round(header.sample_time_us * 1000)
    for name in (*SAME, "physiology_time_stamp", "channel_mask", *ACQUISITION_U16):
        assert np.atleast_1d(fields[name]).tolist() == values(header, name), name
    for name in (*IDX, "segment"):
        assert fields["idx"][name] == getattr(header.idx, name), name
    assert fields["idx"]["user"].tolist() == list(header.idx.user)
    assert fields["idx"]["kspace_encode_step_0"] == 0


def test_image_headers_come_back_but_for_what_an_entity_lacks(rng: np.random.Generator) -> None:
    for _ in range(N_RANDOM):
        header = random_header(rng, ImageHeader)
        back = image_header(entity_image_header(header, header.attribute_string_len), header.data_type)
        header.measurement_uid = 0
        assert bytes(back) == bytes(header)


def test_every_field_of_an_image_arrives(rng: np.random.Generator) -> None:
    header = random_header(rng, ImageHeader)
    fields = np.frombuffer(entity_image_header(header, 77), IMAGE_FIELDS)[0]
    assert fields["time_stamp"] == header.acquisition_time_stamp
    assert fields["attribute_string_len"] == 77
    for name in (*SAME, "matrix_size", "field_of_view", "physiology_time_stamp", *IMAGE_U16):
        assert np.atleast_1d(fields[name]).tolist() == values(header, name), name


def test_waveform_headers_come_back_whole(rng: np.random.Generator) -> None:
    for _ in range(N_RANDOM):
        header = WaveformHeader()
        header.version = 1
        header.flags = int(rng.integers(0, 2**63))
        for name in ("measurement_uid", "scan_counter", "time_stamp"):
            setattr(header, name, int(rng.integers(0, 2**32)))
        header.number_of_samples, header.channels, header.waveform_id = map(int, rng.integers(1, 2**16, 3))
        header.sample_time_us = float(rng.integers(0, 10**6)) / 1000
        assert bytes(waveform_header(entity_waveform_header(header))) == bytes(header)


def test_a_waveform_of_somebody_else_has_one_channel() -> None:
    fields = np.zeros(1, WAVEFORM_FIELDS)
    fields["number_of_samples"], fields["dwell_time_ns"], fields["begin_time_stamp"] = 5, 2500, 9
    fields["user_int"] = 3
    header = waveform_header(fields.tobytes())
    assert (header.channels, header.number_of_samples, header.time_stamp) == (1, 5, 9)
    assert header.sample_time_us == 2.5
    assert header.waveform_id == 0


@pytest.mark.parametrize("name", ACQUISITION_U16)
@pytest.mark.parametrize("value", [2**16 - 1, 2**16, 2**32 - 1])
def test_an_acquisition_value_that_does_not_fit_is_named(name: str, value: int) -> None:
    fields = np.zeros(1, ACQUISITION_FIELDS)
    fields[name] = value
    if value < 2**16:
        assert getattr(acquisition_header(fields.tobytes()), name) == value
        return
    with pytest.raises(LimitExceeded, match=f"acquisition {name} is {value}, the limit is 65535"):
        acquisition_header(fields.tobytes())


@pytest.mark.parametrize("name", [*IDX, "segment"])
def test_a_counter_over_65535_is_named(name: str) -> None:
    fields = np.zeros(1, ACQUISITION_FIELDS)
    fields["idx"][name] = 65_536
    with pytest.raises(LimitExceeded, match=rf"acquisition idx\.{name} is 65536, the limit is 65535"):
        acquisition_header(fields.tobytes())
    fields["idx"][name] = 65_535
    assert getattr(acquisition_header(fields.tobytes()).idx, name) == 65_535


def test_a_user_counter_over_65535_is_named() -> None:
    fields = np.zeros(1, ACQUISITION_FIELDS)
    fields["idx"]["user"][0, 6] = 70_000
    with pytest.raises(LimitExceeded, match=r"idx\.user\[6\] is 70000"):
        acquisition_header(fields.tobytes())


@pytest.mark.parametrize("name", IMAGE_U16)
def test_an_image_value_that_does_not_fit_is_named(name: str) -> None:
    fields = np.zeros(1, IMAGE_FIELDS)
    fields[name] = 65_535
    assert getattr(image_header(fields.tobytes(), 5), name) == 65_535
    fields[name] = 65_536
    with pytest.raises(LimitExceeded, match=f"image {name} is 65536, the limit is 65535"):
        image_header(fields.tobytes(), 5)


@pytest.mark.parametrize("axis", range(3))
def test_a_matrix_size_that_does_not_fit_is_named(axis: int) -> None:
    fields = np.zeros(1, IMAGE_FIELDS)
    fields["matrix_size"][0, axis] = 70_000
    with pytest.raises(LimitExceeded, match=rf"image matrix_size\[{axis}\] is 70000"):
        image_header(fields.tobytes(), 5)


@pytest.mark.parametrize(
    ("layout", "name", "convert"),
    [
        (ACQUISITION_FIELDS, "time_stamp", acquisition_header),
        (IMAGE_FIELDS, "time_stamp", lambda data: image_header(data, 5)),
        (WAVEFORM_FIELDS, "begin_time_stamp", waveform_header),
    ],
    ids=["acquisition", "image", "waveform"],
)
def test_a_time_stamp_that_does_not_fit_is_named(layout: np.dtype[Any], name: str, convert: Any) -> None:
    fields = np.zeros(1, layout)
    fields[name] = 2**32 - 1
    convert(fields.tobytes())
    fields[name] = 2**32
    with pytest.raises(LimitExceeded, match=f"time_stamp is {2**32}, the limit is {2**32 - 1}"):
        convert(fields.tobytes())


@pytest.mark.parametrize("name", ["number_of_samples", "channels", "waveform_id"])
def test_a_waveform_value_that_does_not_fit_is_named(name: str) -> None:
    header = WaveformHeader()
    header.number_of_samples = header.channels = 1
    data = bytearray(entity_waveform_header(header))
    fields = np.frombuffer(data, WAVEFORM_FIELDS)
    if name == "waveform_id":
        fields["user_int"][0, 2] = 65_536
    else:
        fields["number_of_samples"] = 65_536
        fields["user_int"][0, 1] = 1 if name == "number_of_samples" else 65_536
    with pytest.raises(LimitExceeded, match=f"waveform {name} is 65536"):
        waveform_header(data)


@pytest.mark.parametrize("channels", [0, 3])
def test_channels_that_do_not_divide_the_samples_are_refused(channels: int) -> None:
    header = WaveformHeader()
    header.number_of_samples = header.channels = 2
    data = bytearray(entity_waveform_header(header))
    np.frombuffer(data, WAVEFORM_FIELDS)["user_int"][0, 1] = channels
    with pytest.raises(MalformedMessageError, match="number_of_samples is 4"):
        waveform_header(data)


@pytest.mark.parametrize("sample_time_us", [0.0, 0.001, 2.3, 3.1, 9.9, 11.6, 20.0, 1000.0, 4_000_000.0])
def test_whole_nanoseconds_come_back_exactly(sample_time_us: float) -> None:
    header = AcquisitionHeader()
    header.sample_time_us = sample_time_us
    assert acquisition_header(entity_acquisition_header(header)).sample_time_us == header.sample_time_us


@pytest.mark.parametrize("sample_time_us", [-1.0, math.inf, math.nan, 5e6])
def test_a_sampling_time_without_a_form_is_named(sample_time_us: float) -> None:
    header = AcquisitionHeader()
    header.sample_time_us = sample_time_us
    with pytest.raises(MalformedMessageError, match="acquisition sample_time_us"):
        entity_acquisition_header(header)


def test_compressed_data_is_refused_both_ways() -> None:
    header = AcquisitionHeader()
    header.flags = 1 << 52
    with pytest.raises(MalformedMessageError, match="compressed"):
        entity_acquisition_header(header)
    fields = np.zeros(1, ACQUISITION_FIELDS)
    fields["flags"] = 1 << 53
    with pytest.raises(MalformedMessageError, match="compressed"):
        acquisition_header(fields.tobytes())
