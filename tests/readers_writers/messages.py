"""Messages of every kind, with the reader and the writer that belong to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgetron.limits import LIMITS, Limits
from gadgetron.message import GadgetContainerMessage, MessageBlock, blocks, make_message
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.protocol.arrays import IMAGE_DTYPES
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.recon_types import (
    Acquisition,
    AcquisitionBucket,
    ImageArray,
    ReconBit,
    ReconBuffer,
    ReconData,
    SamplingDescription,
    SamplingLimit,
    Waveform,
    acquisition_fields,
)
from readers_writers.acquisition import AcquisitionReader, AcquisitionWriter, CompressedAcquisitionWriter
from readers_writers.bucket import AcquisitionBucketReader, AcquisitionBucketWriter
from readers_writers.dependency_query import DependencyQueryReader, DependencyQueryWriter
from readers_writers.dicom import DicomImageReader, DicomImageWriter
from readers_writers.image import MRIImageReader, MRIImageWriter
from readers_writers.image_array import ImageArrayReader, ImageArrayWriter
from readers_writers.legacy_image import (
    LegacyImageReaderCPLX,
    LegacyImageReaderFLOAT,
    LegacyImageReaderUSHORT,
    MRIImageWriterCPLX,
    MRIImageWriterFLOAT,
    MRIImageWriterUSHORT,
)
from readers_writers.recon_data import BufferReader, BufferWriter
from readers_writers.text import TextReader, TextWriter
from readers_writers.waveform import WaveformReader, WaveformWriter

SAMPLES = np.random.default_rng(1008)


def acquisition(n_channels: int = 3, n_samples: int = 5, n_dimensions: int = 0, **fields: Any) -> MessageBlock:
    header = ismrmrd.AcquisitionHeader()
    header.version = 1
    header.scan_counter = 77
    header.number_of_samples = n_samples
    header.active_channels = header.available_channels = n_channels
    header.trajectory_dimensions = n_dimensions
    header.idx.kspace_encode_step_1 = 12
    header.position[1] = 1.5
    for name, value in fields.items():
        setattr(header, name, value)
    data = SAMPLES.standard_normal((n_channels, n_samples, 2), np.float32).view(np.complex64)[..., 0]
    if not n_dimensions:
        return make_message(header, data)
    return make_message(header, data, SAMPLES.random((n_samples, n_dimensions), np.float32))


def coarse_acquisition(n_dimensions: int = 0) -> MessageBlock:
    """An acquisition whose samples are whole numbers up to 127: 8 bits hold them exactly."""
    message = acquisition(n_channels=3, n_samples=9, n_dimensions=n_dimensions)
    data = objects(message)[1]
    data[...] = np.rint(10 * data.real) + 1j * np.rint(10 * data.imag)
    data += np.complex64(0)  # which makes -0 into 0
    data[1, 2] = 127
    return message


def waveform(n_channels: int = 2, n_samples: int = 4) -> MessageBlock:
    header = ismrmrd.WaveformHeader()
    header.version = 1
    header.time_stamp = 99
    header.channels, header.number_of_samples = n_channels, n_samples
    header.waveform_id = 3
    return make_message(header, SAMPLES.integers(0, 2**32, (n_channels, n_samples), np.uint32))


def image(
    dtype: Any = np.float32, shape: tuple[int, int, int, int] = (2, 1, 3, 4), meta: ismrmrd.Meta | None = None
) -> MessageBlock:
    header = ismrmrd.ImageHeader()
    header.version = 1
    header.image_index, header.image_series_index = 5, 2
    header.channels = shape[0]
    header.matrix_size[:] = shape[:0:-1]
    data = np.asarray(SAMPLES.integers(0, 1000, shape) * (1 + 0.5j if np.dtype(dtype).kind == "c" else 1), dtype)
    return make_message(header, data) if meta is None else make_message(header, data, meta)


def meta(**values: Any) -> ismrmrd.Meta:
    result = ismrmrd.Meta()
    result.update(values)
    return result


def some_meta() -> ismrmrd.Meta:
    return meta(DataRole="Image", Names=["a", "b & <c>"], Empty="", Unicode="Größe ½")


def complex_array(*shape: int) -> Any:
    return SAMPLES.standard_normal((*shape, 2), np.float32).view(np.complex64)[..., 0]


def recon_buffer(*, has_trajectory: bool = False) -> ReconBuffer:
    headers = np.full((2, 1, 1, 2, 3), None, dtype=object)
    for loc, e2, e1 in ((0, 0, 0), (0, 1, 2), (1, 0, 1)):
        headers[loc, 0, 0, e2, e1] = objects(acquisition(2, 4, scan_counter=10 * loc + e1))[0]
    limits = (SamplingLimit(0, 2, 3), SamplingLimit(0, 1, 2), SamplingLimit(1, 1, 1))
    sampling = SamplingDescription((300.0, 200.5, 5.0), (300.0, 200.0, 5.0), (4, 3, 2), (4, 4, 1), limits)
    trajectory = SAMPLES.random((2, 1, 1, 2, 3, 4, 2), np.float32) if has_trajectory else None
    density = SAMPLES.random((2, 1, 1, 2, 3, 4), np.float32) if has_trajectory else None
    return ReconBuffer(complex_array(2, 1, 1, 2, 2, 3, 4), headers, sampling, trajectory, density)


def recon_data() -> MessageBlock:
    bits = [
        ReconBit(recon_buffer(), recon_buffer(has_trajectory=True)),
        ReconBit(None, recon_buffer()),
        ReconBit(recon_buffer()),
    ]
    return make_message(ReconData(bits))


def some_waveform() -> Waveform:
    return Waveform(*objects(waveform()))


def image_array(*, is_full: bool = True) -> MessageBlock:
    headers, attributes = np.full((2, 1, 3), None, dtype=object), np.full((2, 1, 3), None, dtype=object)
    for index in np.ndindex(headers.shape):
        headers[index] = objects(image())[0]
        headers[index].slice = index[0]
    attributes[1, 0, 2] = some_meta()
    if not is_full:
        return make_message(ImageArray(complex_array(2, 1, 3, 1, 1, 3, 4), headers, attributes))
    acquisition_headers = recon_buffer().headers[:, :, [0, 0, 0]]
    waveforms = [some_waveform(), some_waveform()]
    return make_message(
        ImageArray(complex_array(2, 1, 3, 1, 1, 3, 4), headers, attributes, waveforms, acquisition_headers)
    )


def bucket_acquisition(**fields: Any) -> Acquisition:
    head, data, *trajectory = objects(acquisition(**fields))
    return Acquisition(head, data, trajectory[0] if trajectory else None, acquisition_fields(head))


def bucket(*, is_full: bool = True) -> MessageBlock:
    result = AcquisitionBucket()
    if is_full:
        for index in range(3):
            item = bucket_acquisition(n_dimensions=index % 2 * 3, encoding_space_ref=2 * (index % 2))
            result.add(item, is_data=True, is_reference=index == 1)
        result.waveforms = [some_waveform()]
    return make_message(result)


@dataclass(frozen=True)
class Kind:
    """One kind of message: how to make one, who writes it, who reads it, and the id it has on the wire."""

    message: Callable[[], MessageBlock]
    writer: GadgetMessageWriter
    reader: GadgetMessageReader
    message_id: int


KINDS: dict[str, Kind] = {
    "acquisition": Kind(acquisition, AcquisitionWriter(), AcquisitionReader(), 1008),
    "acquisition-trajectory": Kind(lambda: acquisition(n_dimensions=2), AcquisitionWriter(), AcquisitionReader(), 1008),
    "acquisition-no-samples": Kind(lambda: acquisition(3, 0, 2), AcquisitionWriter(), AcquisitionReader(), 1008),
    "acquisition-no-coils": Kind(lambda: acquisition(0, 5), AcquisitionWriter(), AcquisitionReader(), 1008),
    "acquisition-compressed": Kind(coarse_acquisition, CompressedAcquisitionWriter(8), AcquisitionReader(), 1008),
    "acquisition-compressed-trajectory": Kind(
        lambda: coarse_acquisition(2), CompressedAcquisitionWriter(8), AcquisitionReader(), 1008
    ),
    "waveform": Kind(waveform, WaveformWriter(), WaveformReader(), 1026),
    "waveform-empty": Kind(lambda: waveform(2, 0), WaveformWriter(), WaveformReader(), 1026),
    **{
        f"image-{dtype.name}": Kind(
            lambda dtype=dtype: image(dtype, meta=some_meta()),  # type: ignore[misc]  # a default that binds the loop variable
            MRIImageWriter(),
            MRIImageReader(),
            1022,
        )
        for dtype in IMAGE_DTYPES.values()
    },
    "image-no-meta": Kind(image, MRIImageWriter(), MRIImageReader(), 1022),
    "image-no-pixels": Kind(lambda: image(shape=(1, 0, 3, 4)), MRIImageWriter(), MRIImageReader(), 1022),
    "legacy-complex": Kind(lambda: image(np.complex64), MRIImageWriterCPLX(True), LegacyImageReaderCPLX(), 1009),
    "legacy-float": Kind(image, MRIImageWriterFLOAT(True), LegacyImageReaderFLOAT(), 1010),
    "legacy-ushort": Kind(lambda: image(np.uint16), MRIImageWriterUSHORT(True), LegacyImageReaderUSHORT(), 1011),
    "text": Kind(lambda: make_message("drei Öhrchen"), TextWriter(), TextReader(), 5),
    "text-empty": Kind(lambda: make_message(""), TextWriter(), TextReader(), 5),
    "dicom": Kind(lambda: make_message(b"DICM\0\1", "a", some_meta()), DicomImageWriter(), DicomImageReader(), 1018),
    "dicom-no-meta": Kind(lambda: make_message(b"", ""), DicomImageWriter(), DicomImageReader(), 1018),
    "recon-data": Kind(recon_data, BufferWriter(), BufferReader(), 1023),
    "recon-data-empty": Kind(lambda: make_message(ReconData()), BufferWriter(), BufferReader(), 1023),
    "image-array": Kind(image_array, ImageArrayWriter(), ImageArrayReader(), 1024),
    "image-array-bare": Kind(lambda: image_array(is_full=False), ImageArrayWriter(), ImageArrayReader(), 1024),
    "bucket": Kind(bucket, AcquisitionBucketWriter(), AcquisitionBucketReader(), 1050),
    "bucket-empty": Kind(lambda: bucket(is_full=False), AcquisitionBucketWriter(), AcquisitionBucketReader(), 1050),
    "dependency-query": Kind(lambda: make_message(some_meta()), DependencyQueryWriter(), DependencyQueryReader(), 1019),
    "dependency-query-empty": Kind(
        lambda: make_message(meta()), DependencyQueryWriter(), DependencyQueryReader(), 1019
    ),
}


def every_kind() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])


def written(writer: GadgetMessageWriter, message: MessageBlock, limits: Limits = LIMITS) -> bytes:
    """What a writer puts on the wire."""
    stream = MemoryStream(limits=limits)
    writer.write(stream, message)
    return bytes(stream.written)


def read_back(reader: GadgetMessageReader, data: bytes, chunk_bytes: int = 0, limits: Limits = LIMITS) -> MessageBlock:
    """What a reader makes of bytes, which begin with the id."""
    stream = MemoryStream(data, chunk_bytes, limits)
    stream.read_u16()
    message = reader.read(stream)
    assert stream.read_frame_start(1) is None, "bytes are left over"
    return message


def objects(message: MessageBlock) -> list[Any]:
    return [block.object for block in blocks(message) if isinstance(block, GadgetContainerMessage)]


def assert_same(left: MessageBlock, right: MessageBlock) -> None:
    """Compare two messages: headers byte for byte but for what writers set, arrays bit for bit."""
    for a, b in zip(objects(left), objects(right), strict=True):
        assert_same_object(a, b)


def assert_same_object(a: Any, b: Any) -> None:  # noqa: PLR0912 - one branch for each kind of object
    assert type(a) is type(b)
    if isinstance(a, ismrmrd.ImageHeader):
        for field, _ctype in a._fields_:
            if field not in {"data_type", "attribute_string_len"}:
                values = getattr(a, field), getattr(b, field)
                assert (
                    bytes(values[0]) == bytes(values[1]) if hasattr(values[0], "_length_") else values[0] == values[1]
                )
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype == object:
            assert_same_object(list(a.flat), list(b.flat))
        else:
            assert a.tobytes() == b.tobytes()
    elif isinstance(a, ismrmrd.AcquisitionHeader | ismrmrd.WaveformHeader):
        assert bytes(a) == bytes(b)
    elif isinstance(a, list):
        for left, right in zip(a, b, strict=True):
            assert_same_object(left, right)
    elif isinstance(a, AcquisitionBucket):
        for name in ("data", "reference", "waveforms"):
            assert_same_object(getattr(a, name), getattr(b, name))
        assert repr(a.data_stats) == repr(b.data_stats)
    elif isinstance(a, Acquisition | Waveform | ReconData | ReconBit | ReconBuffer | ImageArray):
        for slot in a.__dataclass_fields__:
            assert_same_object(getattr(a, slot), getattr(b, slot))
    else:
        assert a == b
