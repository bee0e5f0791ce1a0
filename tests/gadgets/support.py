"""Gadgets without threads: a chain driven by hand, and scans to feed it with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.errors import StorageError
from gadgetron.gadget import CLOSE_ABORTED, CLOSE_NORMAL, Gadget
from gadgetron.message import GadgetContainerMessage, MessageBlock, blocks, config_message, make_message


class Sink:
    """The task downstream: keeps what is put."""

    def __init__(self) -> None:
        self.messages: list[MessageBlock] = []

    def putq(self, message: MessageBlock) -> int:
        self.messages.append(message)
        return 0

    def put_many(self, messages: Sequence[MessageBlock]) -> None:
        self.messages.extend(messages)

    def take(self) -> list[MessageBlock]:
        messages, self.messages = self.messages, []
        return messages


class Controller:
    """The framework as gadgets see it."""

    def __init__(self, working_directory: Path | None = None, **parameters: str) -> None:
        self._working_directory = working_directory
        self.outputs: list[MessageBlock] = []
        self.texts: list[str] = []
        self.parameters = parameters
        self.gadgets: dict[str, Gadget] = {}

    @property
    def working_directory(self) -> Path:
        if self._working_directory is None:
            raise StorageError("this test gives no working directory")
        return self._working_directory

    def output_ready(self, message: MessageBlock) -> int:
        self.outputs.append(message)
        return 0

    def tell_client(self, text: str) -> None:
        self.texts.append(text)

    def find_gadget(self, name: str) -> Gadget | None:
        return self.gadgets.get(name)

    def parameter(self, name: str) -> str | None:
        return self.parameters.get(name)


def run(
    gadgets: Gadget | Sequence[Gadget],
    messages: Iterable[MessageBlock],
    header: str | None = None,
    *,
    batch: int = 64,
    close: int | None = CLOSE_NORMAL,
    controller: Controller | None = None,
) -> list[MessageBlock]:
    """Run messages through gadgets, one gadget after the other, and give what leaves the last one."""
    controller = controller or Controller()
    current = list(messages)
    for gadget in [gadgets] if isinstance(gadgets, Gadget) else gadgets:
        sink = Sink()
        gadget.connect(sink)  # type: ignore[arg-type]
        gadget.controller = controller
        if header is not None:
            gadget.process_config(config_message(header))
        for start in range(0, len(current), batch):
            gadget.process_many(current[start : start + batch])
        if close is not None:
            gadget.close(close)
        current = sink.take()
    return current


def is_quiet_after_abort(gadget: Gadget, messages: Iterable[MessageBlock], header: str | None = None) -> bool:
    """Tell whether a gadget that was aborted in the middle puts nothing at its end."""
    sink = Sink()
    gadget.connect(sink)  # type: ignore[arg-type]
    gadget.controller = Controller()
    if header is not None:
        gadget.process_config(config_message(header))
    gadget.process_many(list(messages))
    sink.take()
    gadget.close(CLOSE_ABORTED)
    return not sink.messages


def objects(message: MessageBlock) -> list[Any]:
    """Give the objects of a message's blocks."""
    return [block.object for block in blocks(message) if isinstance(block, GadgetContainerMessage)]


def header_xml(
    matrix: tuple[int, int, int] = (32, 16, 1),
    recon: tuple[int, int, int] | None = None,
    fov: tuple[float, float, float] | None = None,
    recon_fov: tuple[float, float, float] | None = None,
    limits: dict[str, tuple[int, int, int]] | None = None,
    trajectory: str = "cartesian",
    parallel: str = "",
    n_encodings: int = 1,
    more: str = "",
) -> str:
    """Write an ISMRMRD header. Limits are (minimum, maximum, center); by default they follow from the matrix."""
    recon = recon or matrix
    fov = fov or tuple(float(n) for n in matrix)  # type: ignore[assignment]
    recon_fov = recon_fov or tuple(float(n) for n in recon)  # type: ignore[assignment]
    if limits is None:
        limits = {
            "kspace_encoding_step_1": (0, matrix[1] - 1, matrix[1] // 2),
            "kspace_encoding_step_2": (0, matrix[2] - 1, matrix[2] // 2),
        }

    def xyz(values: Sequence[float]) -> str:
        return "".join(f"<{axis}>{value}</{axis}>" for axis, value in zip("xyz", values, strict=True))

    def space(name: str, size: Sequence[int], field: Sequence[float]) -> str:
        return f"<{name}><matrixSize>{xyz(size)}</matrixSize><fieldOfView_mm>{xyz(field)}</fieldOfView_mm></{name}>"

    limit_xml = "".join(
        f"<{name}><minimum>{low}</minimum><maximum>{high}</maximum><center>{center}</center></{name}>"
        for name, (low, high, center) in limits.items()
    )
    encoding = (
        f"<encoding>{space('encodedSpace', matrix, fov)}{space('reconSpace', recon, recon_fov)}"  # type: ignore[arg-type]
        f"<encodingLimits>{limit_xml}</encodingLimits><trajectory>{trajectory}</trajectory>{parallel}</encoding>"
    )
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"{more}<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>"
        f"</experimentalConditions>{encoding * n_encodings}</ismrmrdHeader>"
    )


PARALLEL = (
    "<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
    "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
    "<calibrationMode>{mode}</calibrationMode></parallelImaging>"
)


def complex_noise(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, np.dtype[np.complex64]]:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def acquisition(
    data: Any,
    *,
    flags: Sequence[int] = (),
    center_sample: int | None = None,
    trajectory: Any = None,
    kspace_encode_step_1: int = 0,
    kspace_encode_step_2: int = 0,
    **fields: Any,
) -> GadgetContainerMessage[Any]:
    """Make an acquisition message; counters go to idx, other fields to the header."""
    head = ismrmrd.AcquisitionHeader()
    head.active_channels = head.available_channels = data.shape[0]
    head.number_of_samples = data.shape[1]
    head.center_sample = data.shape[1] // 2 if center_sample is None else center_sample
    head.idx.kspace_encode_step_1 = kspace_encode_step_1
    head.idx.kspace_encode_step_2 = kspace_encode_step_2
    for flag in flags:
        head.flags |= 1 << (flag - 1)
    for name, value in fields.items():
        if hasattr(head.idx, name):
            setattr(head.idx, name, value)
        elif isinstance(value, tuple):
            getattr(head, name)[:] = value
        else:
            setattr(head, name, value)
    if trajectory is None:
        return make_message(head, data)
    head.trajectory_dimensions = trajectory.shape[1]
    return make_message(head, data, trajectory)


def scan(kspace: Any, **fields: Any) -> list[MessageBlock]:
    """Cut k-space (coils, z, y, x) into acquisitions, the last one of the slice flagged."""
    _, n_z, n_y, _ = kspace.shape
    messages: list[MessageBlock] = []
    for z in range(n_z):
        for y in range(n_y):
            is_last = (z, y) == (n_z - 1, n_y - 1)
            flags = (ismrmrd.ACQ_LAST_IN_SLICE,) if is_last else ()
            line = np.array(kspace[:, z, y])
            messages.append(acquisition(line, kspace_encode_step_1=y, kspace_encode_step_2=z, flags=flags, **fields))
    return messages


def image(data: Any, meta: ismrmrd.Meta | None = None, **fields: Any) -> GadgetContainerMessage[Any]:
    """Make an image message, data (channels, z, y, x)."""
    head = ismrmrd.ImageHeader()
    head.channels = data.shape[0]
    head.matrix_size[:] = data.shape[:0:-1]
    for name, value in fields.items():
        setattr(head, name, value)
    return make_message(head, data) if meta is None else make_message(head, data, meta)


def centred_fft(x: Any, axes: tuple[int, ...]) -> Any:
    """The reference: numpy, in double precision, with explicit shifts."""
    x = np.asarray(x, np.complex128)
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x, axes=axes), axes=axes, norm="ortho"), axes=axes)


def centred_ifft(x: Any, axes: tuple[int, ...]) -> Any:
    """The inverse of centred_fft."""
    x = np.asarray(x, np.complex128)
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(x, axes=axes), axes=axes, norm="ortho"), axes=axes)


def relative_difference(a: Any, b: Any) -> float:
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b)))


def reference_image(kspace: Any) -> Any:
    """Root sum of squares of coil images, shape (z, y, x), from k-space (coils, z, y, x)."""
    return np.sqrt((np.abs(centred_ifft(kspace, (1, 2, 3))) ** 2).sum(axis=0))
