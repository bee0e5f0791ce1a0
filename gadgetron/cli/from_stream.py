"""One reconstruction over pipes or files: `gadgetron --from_stream`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gadgetron.blas import one_blas_thread
from gadgetron.cli.results import Results
from gadgetron.configuration.search import given_configuration
from gadgetron.controller import GadgetStreamController
from gadgetron.environment import Environment
from gadgetron.errors import GadgetronError, QueueClosed, StorageError
from gadgetron.message import ParametersMessage
from gadgetron.output import MessageSink, MessageSource, Output
from gadgetron.protocol.classic import ClassicCodec, ClassicSource
from gadgetron.protocol.descriptor_stream import FileStream
from gadgetron.scan_source import ScanSource
from gadgetron.writer_task import WriterTask

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def run_from_stream(
    environment: Environment, configuration: str, input_path: str | None, output_path: str | None, output_fd: int
) -> int:
    """Run a scan through a configuration, and write the results.

    The input is a stream of messages (parameters, data, CLOSE), or an ISMRMRD HDF5 file. The output is a stream of
    messages, with the parameters first, so that it can go into another `--from_stream`; or an HDF5 file of images, if
    its name ends in .h5.

    Parameters
    ----------
    configuration
        A stock name, or the path of an XML file.
    input_path, output_path
        Files; None or "-" for standard input and output.
    output_fd
        The descriptor that stands for standard output, which itself has been redirected.

    Returns
    -------
        The program's exit status.
    """
    parsed, name = given_configuration(configuration, environment.search)
    to_file = output_path is not None and output_path.endswith((".h5", ".hdf5"))
    controller = GadgetStreamController(environment, "stream", echo_parameters=not to_file)
    source_fd = -1 if input_path is not None and _is_hdf5(input_path) else _open(input_path, os.O_RDONLY, 0)
    sink_fd = -1 if to_file else _open(output_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, output_fd)
    stream = FileStream(source_fd, sink_fd, environment.limits)
    source: MessageSource
    sink: MessageSink
    if input_path is not None and source_fd < 0:
        source = ScanSource(input_path, "dataset", parsed, name)
    else:
        source = _Configured(stream, controller, lambda: controller.configuration(parsed, name))
    if output_path is not None and to_file:
        sink = _ImageFile(Path(output_path))
    else:
        sink = WriterTask(
            stream, ClassicCodec(), on_failure=controller.fail, session_name="stream", limits=environment.limits
        )
    try:
        with one_blas_thread():
            error = controller.run(source, sink)
    finally:
        stream.close()
    if error is not None:
        print(f"gadgetron: {error.client_text}", file=sys.stderr)
        return 1
    return 0


class _Configured(ClassicSource):
    """A source whose configuration was named on the command line."""

    def __init__(self, stream: FileStream, controller: GadgetStreamController, configure: Callable[[], None]) -> None:
        super().__init__(stream, controller.environment.limits)
        self._configure = configure

    def run(self, controller: GadgetStreamController) -> None:
        self._configure()
        controller.phase_deadline = None  # a pipe's writer may take its time
        super().run(controller)


class _ImageFile:
    """A sink that keeps images in an HDF5 file, which appears when the run has ended well."""

    def __init__(self, path: Path) -> None:
        self._results = Results(path, None, "h5")
        self._lock = threading.Lock()  # several gadgets may have output at once
        self._is_aborted = False
        self.written = 0
        self.dropped = 0

    def open(self) -> None:
        """Nothing to get ready."""

    def put_many(self, outputs: Sequence[Output]) -> None:
        with self._lock:
            for output in outputs:
                if self._is_aborted:
                    raise QueueClosed("no more output is taken")
                if not isinstance(output.message, ParametersMessage):
                    self._results.take(output.message_id, output.message)
                    self.written += 1

    def abort(self, error: GadgetronError | None = None) -> None:
        with self._lock:
            self._is_aborted = True

    def finish(self, error: GadgetronError | None) -> None:
        with self._lock:
            if error is not None or not self._results.n_kept:
                self._results.discard()
                return
            self._results.publish()
        print(f"{self._results.summary()} -> {self._results.place}", file=sys.stderr)


def _is_hdf5(path: str) -> bool:
    try:
        if not Path(path).is_file():  # a pipe has no beginning to look at
            return False
        with Path(path).open("rb") as file:
            return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE
    except OSError:
        return False  # whatever it is, opening it as a stream says what is wrong


def _open(path: str | None, flags: int, standard: int) -> int:
    if path in (None, "-"):
        return os.dup(standard)
    try:
        return os.open(str(path), flags, 0o644)
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror}") from error
