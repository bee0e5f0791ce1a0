"""One reconstruction over pipes or files: `gadgetron --from_stream`."""

from __future__ import annotations

import os
import sys

from gadgetron.configuration.search import given_configuration
from gadgetron.controller import GadgetStreamController
from gadgetron.environment import Environment
from gadgetron.errors import StorageError
from gadgetron.protocol.byte_stream import FileStream
from gadgetron.protocol.classic import ClassicCodec, ClassicSource
from gadgetron.writer_task import WriterTask


def run_from_stream(
    environment: Environment, configuration: str, input_path: str | None, output_path: str | None, output_fd: int
) -> int:
    """Read messages (parameters, data, CLOSE), run them through a configuration, write parameters and results.

    The parameters go out first, so that what comes out can go into another `--from_stream`.

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
    controller = GadgetStreamController(environment, "stream", echo_parameters=True)
    source_fd = _open(input_path, os.O_RDONLY, 0)
    sink_fd = _open(output_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, output_fd)
    stream = FileStream(source_fd, sink_fd, environment.limits)
    source = ClassicSource(stream, environment.limits)
    sink = WriterTask(
        stream, ClassicCodec(), on_failure=controller.fail, session_name="stream", limits=environment.limits
    )
    error = controller.run(_Configured(source, configuration), sink)
    if error is not None:
        print(f"gadgetron: {error.client_text}", file=sys.stderr)
        return 1
    return 0


class _Configured(ClassicSource):
    """A source whose configuration was named on the command line."""

    def __init__(self, source: ClassicSource, configuration: str) -> None:
        super().__init__(source.stream, source._limits)
        self._configuration = configuration

    def run(self, controller: GadgetStreamController) -> None:
        controller.configuration(*given_configuration(self._configuration, controller.environment.search))
        controller.phase_deadline = None  # a pipe's writer may take its time
        super().run(controller)


def _open(path: str | None, flags: int, standard: int) -> int:
    if path in (None, "-"):
        return os.dup(standard)
    try:
        return os.open(str(path), flags, 0o644)
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror}") from error
