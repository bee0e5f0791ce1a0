"""Headers with anything in them: read back bit for bit, or refused with an error of ours."""

from __future__ import annotations

import ismrmrd
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgetron.errors import ConnectionLost, GadgetronError
from gadgetron.message import make_message
from gadgetron.protocol.byte_stream import MemoryStream
from readers_writers.acquisition import COMPRESSION_FLAGS, AcquisitionReader, AcquisitionWriter
from readers_writers.image import MRIImageReader, MRIImageWriter
from readers_writers.waveform import WaveformReader, WaveformWriter
from tests.readers_writers.messages import KINDS, assert_same, objects, read_back, written

U16 = st.integers(0, 2**16 - 1)


@given(
    head=st.binary(min_size=340, max_size=340),
    channels=st.integers(0, 5),
    samples=st.integers(0, 9),
    dims=st.integers(0, 3),
)
def test_any_acquisition_header_survives(head: bytes, channels: int, samples: int, dims: int) -> None:
    header = ismrmrd.AcquisitionHeader.from_buffer_copy(head)
    header.flags &= ~COMPRESSION_FLAGS & (2**64 - 1)
    header.active_channels, header.number_of_samples, header.trajectory_dimensions = channels, samples, dims
    data = np.zeros((channels, samples), np.complex64)
    message = make_message(header, data, np.ones((samples, dims), np.float32)) if dims else make_message(header, data)
    assert_same(message, read_back(AcquisitionReader(), written(AcquisitionWriter(), message)))


@given(head=st.binary(min_size=198, max_size=198), shape=st.tuples(*[st.integers(0, 4)] * 4))
def test_any_image_header_survives(head: bytes, shape: tuple[int, int, int, int]) -> None:
    header = ismrmrd.ImageHeader.from_buffer_copy(head)
    header.channels = shape[0]
    header.matrix_size[:] = shape[:0:-1]
    message = make_message(header, np.zeros(shape, np.int16))
    read = read_back(MRIImageReader(), written(MRIImageWriter(), message))
    received = ismrmrd.ImageHeader.from_buffer_copy(objects(read)[0])
    received.data_type, received.attribute_string_len = header.data_type, header.attribute_string_len
    assert bytes(received) == bytes(header)


@given(head=st.binary(min_size=40, max_size=40), channels=st.integers(0, 5), samples=st.integers(0, 9))
def test_any_waveform_header_survives(head: bytes, channels: int, samples: int) -> None:
    header = ismrmrd.WaveformHeader.from_buffer_copy(head)
    header.channels, header.number_of_samples = channels, samples
    message = make_message(header, np.zeros((channels, samples), np.uint32))
    assert_same(message, read_back(WaveformReader(), written(WaveformWriter(), message)))


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(KINDS)), seed=st.randoms(use_true_random=False), n_flips=st.integers(1, 8))
def test_r02_damaged_messages_raise_errors_of_ours_only(name: str, seed: object, n_flips: int) -> None:
    kind = KINDS[name]
    data = bytearray(written(kind.writer, kind.message())[2:])
    for _ in range(min(n_flips, len(data))):
        data[seed.randrange(min(len(data), 600))] = seed.randrange(256)  # type: ignore[attr-defined]  # a random.Random
    try:
        kind.reader.read(MemoryStream(data))
    except GadgetronError:
        return


@given(data=st.binary(max_size=600), name=st.sampled_from(sorted(KINDS)))
def test_r02_noise_raises_errors_of_ours_only(data: bytes, name: str) -> None:
    try:
        KINDS[name].reader.read(MemoryStream(data))
    except (GadgetronError, ConnectionLost):
        return
