"""The foreign side: what a module gets and sends, driven by bytes as the C++ External node sends them."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ismrmrd
import numpy as np
import pytest

import gadgetron
import gadgetron.external
from gadgetron.errors import ConnectionLost, UnexpectedMessageError, UnknownMessageError
from gadgetron.external import handlers, runner
from gadgetron.external.connection import Connection
from gadgetron.legacy import Gadget
from gadgetron.types import AcquisitionBucket, ImageArray, ReconBuffer, ReconData, recon_data
from tests import raw_client as raw
from tests.readers_writers.messages import KINDS, written

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = b'<configuration><property name="a" value="1"/></configuration>'
START = raw.config_script(CONFIGURATION) + raw.header()
CLOSE = struct.pack("<H", 4)
SAME_BYTES = [
    "acquisition",
    "acquisition-trajectory",
    "acquisition-no-samples",
    "waveform",
    "waveform-empty",
    "image-no-meta",
    "recon-data",
    "recon-data-empty",
    "image-array",
    "image-array-bare",
    "bucket",
    "bucket-empty",
]


@contextmanager
def node(data: bytes) -> Iterator[tuple[socket.socket, Callable[[], bytes]]]:
    """A module's socket, whose other end has sent these bytes; the function gives what the module has sent."""
    near, far = socket.socketpair()
    near, far = _tcp_pair(near, far)
    received = bytearray()

    def drive() -> None:
        far.sendall(data)
        while piece := far.recv(1 << 16):
            received.extend(piece)
        far.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=drive)
    thread.start()

    def sent() -> bytes:
        thread.join(10)
        return bytes(received)

    try:
        yield near, sent
    finally:
        near.close()
        thread.join(10)
        far.close()


def _tcp_pair(*unused: socket.socket) -> tuple[socket.socket, socket.socket]:
    for end in unused:
        end.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


def run(data: bytes, module: Callable[[Connection], Any]) -> bytes:
    """Give a module these bytes behind configuration and header; returns what it sends."""
    with node(START + data) as (near, sent):
        with Connection(near) as connection:
            module(connection)
        return sent()


def echo(connection: Connection) -> None:
    for item in connection:
        connection.send(item)


def test_configuration_and_header() -> None:
    def module(connection: Connection) -> None:
        assert connection.raw_bytes.config == CONFIGURATION
        assert connection.config is not None
        assert connection.config[0].get("name") == "a"
        assert connection.raw_bytes.header == raw.header()[6:]
        assert connection.header.encoding[0].encodedSpace.matrixSize.x > 0

    assert run(CLOSE, module) == CLOSE


@pytest.mark.parametrize("name", SAME_BYTES)
def test_what_comes_goes_back_as_the_same_bytes(name: str) -> None:
    kind = KINDS[name]
    data = written(kind.writer, kind.message())
    assert run(data + CLOSE, echo) == data + CLOSE


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith("image-") and "array" not in name])
def test_images_of_every_type_come_and_go(name: str) -> None:
    kind = KINDS[name]
    found = []

    def module(connection: Connection) -> None:
        for item in connection:
            found.append(item)
            connection.send(item)

    data = written(kind.writer, kind.message())
    sent = run(data + CLOSE, module)
    assert isinstance(found[0], ismrmrd.Image)
    assert sent[: 2 + 190] == data[: 2 + 190]
    assert sent.removesuffix(CLOSE).endswith(data[-found[0].data.nbytes :] if found[0].data.size else b"")


def test_items_have_the_axes_of_the_cpp_program() -> None:
    items: list[Any] = []
    kinds = [KINDS[name] for name in ("recon-data", "image-array", "bucket")]
    data = b"".join(written(kind.writer, kind.message()) for kind in kinds)
    run(data + CLOSE, lambda connection: items.extend(connection.iter_with_mids()))
    assert [message_id for message_id, _ in items] == [1023, 1024, 1050]
    data_item, array, bucket = (item for _, item in items)
    assert isinstance(data_item, ReconData)
    buffer = data_item[0].ref
    assert isinstance(buffer, ReconBuffer)
    assert buffer.data.shape == (4, 3, 2, 2, 1, 1, 2)
    assert buffer.trajectory is not None
    assert buffer.trajectory.shape == (2, 4, 3, 2, 1, 1, 2)
    assert buffer.headers.shape == (3, 2, 1, 1, 2)
    assert buffer.headers[2, 1, 0, 0, 0].scan_counter == 2
    assert list(buffer.sampling.sampling_limits[0]) == [0, 2, 3]
    assert isinstance(array, ImageArray)
    assert array.data is not None
    assert array.data.shape == (4, 3, 1, 1, 3, 1, 2)
    assert array.meta is not None
    assert len(array.meta) == 6
    assert isinstance(array.waveform[0], ismrmrd.Waveform)  # type: ignore[index]  # there are some
    assert isinstance(bucket, AcquisitionBucket)
    assert [acquisition.data.shape for acquisition in bucket.data] == [(3, 5)] * 3
    assert bucket.datastats[0].kspace_encode_step_1 == {12}
    assert bucket.datastats[1].slice == set()
    assert len(bucket.ref) == len(bucket.waveforms) == 1


def test_filters_readers_and_writers_of_ones_own() -> None:
    class Note(str):
        __slots__ = ()

    def module(connection: Connection) -> None:
        connection.add_reader(2000, lambda source, suffix: Note(source.read(3).decode() + suffix), "!")
        connection.add_writer(
            lambda item: isinstance(item, Note),
            lambda destination, note, prefix: (destination.write(prefix), destination.write(note.encode())),
            b"\xd0\x07",
        )
        connection.filter(Note)
        connection.filter(lambda note: note != "no!!")
        assert list(connection) == ["abc!"]

    wave = written(KINDS["waveform"].writer, KINDS["waveform"].message())
    data = wave + b"\xd0\x07abc" + b"\xd0\x07no!" + CLOSE
    assert run(data, module) == wave + b"\xd0\x07no!!" + CLOSE


def test_an_end_of_input_ends_the_iteration() -> None:
    near, far = _tcp_pair()
    far.sendall(START + raw.acquisition(1))
    far.shutdown(socket.SHUT_WR)
    with far, Connection(near) as connection:
        assert len(list(connection)) == 1
        assert list(connection) == []
        with pytest.raises(StopIteration):
            connection.next()


def test_an_end_inside_an_item_is_an_error() -> None:
    near, far = _tcp_pair()
    far.sendall(START + raw.acquisition(1)[:-1])
    far.shutdown(socket.SHUT_WR)
    with far, pytest.raises(ConnectionLost), Connection(near) as connection:
        list(connection)


def test_an_exception_is_reported_then_closed() -> None:
    def module(_connection: Connection) -> None:
        raise ValueError("no such slice")

    with node(START + raw.acquisition(1)) as (near, sent):
        with pytest.raises(ValueError, match="slice"), Connection(near) as connection:
            module(connection)
        text = b"ValueError: no such slice"
        assert sent() == struct.pack("<HQ", 8, len(text)) + text + CLOSE


@pytest.mark.parametrize(
    ("data", "error"),
    [(raw.header() + CLOSE, UnexpectedMessageError), (START + b"\xe7\x03" + CLOSE, UnknownMessageError)],
)
def test_what_makes_no_sense_is_reported(data: bytes, error: type[Exception]) -> None:
    with node(data) as (near, sent):
        with pytest.raises(error), Connection(near) as connection:
            list(connection)
        assert sent()[:2] == b"\x08\x00"


def test_an_item_without_a_writer_is_a_type_error() -> None:
    with node(START + CLOSE) as (near, _), pytest.raises(TypeError, match="type str"), Connection(near) as connection:
        connection.send("text")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_listen_serves_one_connection_on_this_computer_only(address: str) -> None:
    if address == "::1" and not has_ipv6_loopback():
        pytest.skip("this computer has no IPv6")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    addresses = []

    def handler(connection: Connection, extra: str, *, more: int) -> None:
        addresses.append(connection.socket._stream._socket.getsockname()[0])
        assert (extra, more) == ("x", 2)
        echo(connection)

    thread = threading.Thread(target=lambda: gadgetron.external.listen(port, handler, "x", more=2))
    thread.start()
    far = _connect(address, port)
    far.sendall(START + raw.acquisition(5) + CLOSE)
    received = b""
    while piece := far.recv(65536):
        received += piece
    far.close()
    thread.join(10)
    assert received == raw.acquisition(5) + CLOSE
    assert addresses == [address]


def has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def _connect(address: str, port: int) -> socket.socket:
    for _ in range(500):
        try:
            return socket.create_connection((address, port))
        except ConnectionRefusedError:
            threading.Event().wait(0.01)
    raise AssertionError("nothing listens")


class Recording(Gadget):
    """Says what it was called with."""

    def process_config(self, config: bytes) -> None:
        self.calls: list[Any] = [config, self.get_parameter("a"), self.get_parameter("b")]

    def process(self, header: Any, data: Any = None) -> None:
        self.calls.append((type(header).__name__, None if data is None else data.shape))
        if data is None:
            self.put_next(header)
        else:
            self.put_next(header, data)


def test_gadgets_of_the_old_style_get_transposed_arrays_and_send_them_back() -> None:
    names = ("acquisition", "waveform", "image-complex64", "recon-data")
    data = b"".join(written(KINDS[name].writer, KINDS[name].message()) for name in names)
    gadget = Recording()
    sent = run(data + CLOSE, gadget.handle)
    assert gadget.calls == [
        raw.header()[6:],
        "1",
        None,
        ("AcquisitionHeader", (5, 3)),
        ("ImageHeader", (4, 3, 1, 2)),
        ("ReconData", None),
    ]
    first = written(KINDS["acquisition"].writer, KINDS["acquisition"].message())
    assert len(sent) > len(first)
    assert sent[: len(first)] == data[: len(first)]


def test_old_names() -> None:
    assert gadgetron.IsmrmrdImageArray is gadgetron.types.ImageArray
    assert gadgetron.IsmrmrdReconData is gadgetron.types.recon_data.ReconData
    assert gadgetron.IsmrmrdDataBuffered is gadgetron.types.recon_data.ReconBuffer
    assert gadgetron.SamplingLimit is gadgetron.types.SamplingLimit
    assert gadgetron.external.constants.GADGET_MESSAGE_BUCKET == 1050
    assert callable(gadgetron.examples.recon_buffers)
    assert gadgetron.external.Connection is Connection
    assert gadgetron.version.version == gadgetron.__version__
    assert (gadgetron.version.major, gadgetron.version.minor) == (5, 0)


OLD_NAMES = {
    "gadgetron.external.handlers": "register_handler push_register_handler_hook",
    "gadgetron.external.listen": "listen wait_for_client_connection",
    "gadgetron.types.recon_data": "read_recon_data read_recon_bits read_recon_bit read_recon_buffer "
    "read_sampling_description write_recon_data write_recon_bit write_recon_buffer write_sampling_description",
    "gadgetron.types.image_array": "read_meta_container read_meta_container_vector read_waveforms "
    "write_meta_container write_meta_container_vector write_waveforms",
    "gadgetron.types.acquisition_bucket": "bundle_meta stats_meta waveform_meta bucket_meta read_bucketstats "
    "read_waveforms read_data_as_array read_acquisitions",
}


@pytest.mark.parametrize("module", OLD_NAMES)
def test_helpers_can_be_imported_by_their_old_names(module: str) -> None:
    code = "".join(f"from {module} import {name}; assert callable({name})\n" for name in OLD_NAMES[module].split())
    exec(code, {})


@pytest.mark.slow
def test_listen_is_the_function_and_its_module_can_be_imported() -> None:
    code = (
        "{}\nfrom gadgetron.external.listen import listen as first\nimport gadgetron.external.listen\n"
        "from gadgetron.external import listen as second\nassert first is second is gadgetron.external.listen\n"
        "assert gadgetron.external.listen.__module__ == 'gadgetron.external.listen'"
    )
    for before in ("", "import gadgetron.external.listen", "from gadgetron.external import listen"):
        done = python("-c", code.format(before))
        assert done.returncode == 0, done.stderr


def test_pieces_of_recon_data_are_read_and_written_alone() -> None:
    kind = KINDS["recon-data"]
    data = written(kind.writer, kind.message())
    source = BytesIO(data[10:])  # behind id and number
    again = BytesIO()
    bit = recon_data.read_recon_bit(source)
    recon_data.write_recon_bit(again, bit)
    assert again.getvalue() == data[10 : 10 + source.tell()]
    assert source.tell() > 1000


def test_a_handler_that_a_module_has_registered_is_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "registered", [])
    monkeypatch.setattr(handlers, "_hook", lambda handler: handlers.registered.append(handler))
    handlers.register_handler(echo)
    monkeypatch.setattr("importlib.import_module", lambda _name: SimpleNamespace(__name__="m"))
    assert runner.load_target("m", None) is echo
    seen: list[Any] = []
    handlers.push_register_handler_hook(seen.append)
    handlers.register_handler(run)
    assert seen == [run]
    assert handlers.registered == [echo]


def test_centered_transforms_are_inverse_for_every_size() -> None:
    for size in (1, 4, 5):
        data = np.arange(size * 3, dtype=np.complex64).reshape(size, 3)
        back = gadgetron.util.cifftn(gadgetron.util.cfftn(data, axes=[0, 1]), axes=[0, 1])
        assert back.dtype == np.complex64
        assert np.allclose(back, data, atol=1e-5)
    assert np.allclose(gadgetron.util.cfft.cfftn(np.eye(1, 8, 4), axes=[1]), np.sqrt(1 / 8))


def test_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tests.foreign.modules"
    assert runner.load_target(name, None).__name__ == "handle_connection"
    assert runner.load_target(name, "Doubling").__self__.__class__.__name__ == "Doubling"  # type: ignore[attr-defined]  # a method
    for target in ("os", "nothing"):
        with pytest.raises(TypeError, match=f"no {target} that takes a connection"):
            runner.load_target(name, target)
    only = SimpleNamespace(__name__="tests.foreign.test_foreign_side", Recording=Recording)
    monkeypatch.setattr("importlib.import_module", lambda _name: only)
    assert isinstance(runner.load_target("x", None).__self__, Recording)  # type: ignore[attr-defined]  # a method


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
def test_without_arguments_it_says_what_it_is_and_ends() -> None:
    done = python("-X", "importtime", "-m", "gadgetron")
    assert done.returncode == 0
    assert "foreign modules in Python" in done.stdout
    assert "numpy" not in done.stderr, "that would cost every program that probes for it"
    assert python("-m", "gadgetron", "x").returncode == 2


@pytest.mark.slow
def test_importing_gadgetron_stays_cheap_and_gadget_means_what_it_should() -> None:
    done = python("-c", "import gadgetron, sys; print('numpy' in sys.modules, gadgetron.Gadget.__module__)")
    assert done.stdout.split() == ["False", "gadgetron.gadget"]
    code = (
        "from gadgetron.external.runner import offer_legacy_names as offer; offer();"
        "from gadgetron import Gadget, Gadget2; print(Gadget.__module__, Gadget2.__module__)"
    )
    assert python("-c", code).stdout.split() == ["gadgetron.legacy.gadget", "gadgetron.gadget"]
