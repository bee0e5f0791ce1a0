"""Reconstruct in this process: `reconstruct("scan.h5", "default.xml")` gives the images, without any server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import structlog

from gadgetron.blas import one_blas_thread
from gadgetron.configuration.search import ConfigurationSearch, given_configuration
from gadgetron.controller import GadgetStreamController
from gadgetron.conversion import ReconstructedImage, as_images
from gadgetron.dataset.images import attribute_bytes
from gadgetron.environment import Environment, default_working_directory
from gadgetron.errors import ConfigurationError, GadgetronError, QueueClosed, ShuttingDown
from gadgetron.limits import MIB
from gadgetron.loader import Loader
from gadgetron.log import configure_logging
from gadgetron.message import (
    GadgetContainerMessage,
    GadgetMessageIdentifier,
    MessageBlock,
    MessageKind,
    close_message,
)
from gadgetron.message_queue import MessageQueue
from gadgetron.output import Output
from gadgetron.scan_source import BATCH_MESSAGES, Scan, ScanSource

RESULTS_BYTES = 64 * MIB  # that may wait for who iterates; then the chain is held back


def reconstruct(
    scan: Scan,
    configuration: str | Path | bytes = "default.xml",
    *,
    on_image: Callable[[ReconstructedImage], None] | None = None,
    **options: Any,
) -> list[ReconstructedImage]:
    """Reconstruct a scan in this process, and give all its images.

    Parameters
    ----------
    scan
        The path of an ISMRMRD HDF5 file, of a scan or of images; or a tuple of the ISMRMRD header (XML text, or an
        `ismrmrd.xsd.ismrmrdHeader`) and an iterable of `ismrmrd.Acquisition`, `ismrmrd.Waveform`, or messages.
    configuration
        The name of a stock configuration, the path of an XML file, or XML text.
    on_image
        Called with each image as it comes, in this thread.
    **options
        As for `reconstruct_iter`.

    Returns
    -------
        The images in the order in which the chain sent them, those of image arrays included. Their arrays are yours.

    Raises
    ------
    GadgetError
        If a gadget fails; `__cause__` is what it raised.
    ConfigurationError
        If the configuration is not usable: everything wrong with it at once.
    StorageError
        If the scan cannot be read.

    Examples
    --------
    >>> images = reconstruct("scan.h5", "default.xml")  # doctest: +SKIP
    >>> images[0].data.shape  # channels, z, y, x  # doctest: +SKIP
    (1, 1, 256, 256)
    """
    collected = []
    with closing(reconstruct_iter(scan, configuration, **options)) as images:
        for image in images:
            collected.append(image)
            if on_image is not None:
                on_image(image)
    return collected


def reconstruct_iter(
    scan: Scan,
    configuration: str | Path | bytes = "default.xml",
    *,
    group: str = "dataset",
    parameters: Mapping[str, str] | None = None,
    allow: Sequence[str] = (),
    environment: Environment | None = None,
    on_message: Callable[[int, MessageBlock], None] | None = None,
) -> Generator[ReconstructedImage]:
    """Reconstruct a scan in this process, and give each image as soon as it is there.

    Parameters
    ----------
    scan, configuration
        As for `reconstruct`.
    group
        The group of the HDF5 file that has the scan.
    parameters
        Free parameters of the run, for gadgets that ask for them.
    allow
        Module prefixes below which your own gadgets may be loaded.
    environment
        Instead of `parameters` and `allow`: where configurations and classes come from, and what is allowed.
    on_message
        Called with (message id, message) for results that are no images, in this thread.

    Notes
    -----
    The chain starts with the first `next`, and runs in threads of its own. While nobody iterates it is held back after
    64 MiB of images. An iteration that is abandoned ends the chain. Meanwhile BLAS has one thread in this process.
    """
    if not structlog.is_configured():
        configure_logging("warning", stream=sys.stderr)
    if environment is None:
        environment = Environment(
            Loader(allow), ConfigurationSearch(), default_working_directory(), parameters=dict(parameters or {})
        )
    elif parameters or allow:
        raise ConfigurationError("parameters and allow go into the environment that you give")
    if not isinstance(scan, (str, Path)) and not (isinstance(scan, tuple) and len(scan) == 2):
        raise TypeError(f"scan is {scan!r:.80}: expected a file's path, or (header, items)")
    parsed, name = given_configuration(configuration, environment.search)
    with one_blas_thread(), closing(_Run(environment, ScanSource(scan, group, parsed, name))) as run:
        run.start()
        for message_id, message in run.results():
            images = as_images(message, message_id)
            for image in images:
                image.header.attribute_string_len = len(attribute_bytes(image.meta)) if len(image.meta) else 0
            yield from images
            if not images and on_message is not None:
                on_message(message_id, message)


class _Results:
    """The sink of a session: a queue that holds the chain back while nobody takes from it."""

    def __init__(self) -> None:
        self.queue = MessageQueue(BATCH_MESSAGES, RESULTS_BYTES)
        self.written = 0
        self.dropped = 0

    def open(self) -> None:
        """Nothing to get ready."""

    def put_many(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self.queue.put(GadgetContainerMessage(GadgetMessageIdentifier(output.message_id), output.message))
            self.written += 1

    def abort(self, error: GadgetronError | None = None) -> None:  # who iterates gets it from the controller
        self.dropped += self.queue.close()

    def finish(self, error: GadgetronError | None) -> None:
        if error is None and not self.queue.is_closed:
            self.queue.put(close_message())


class _Run:
    """A session in a thread of its own, and the results where the user is."""

    def __init__(self, environment: Environment, source: ScanSource) -> None:
        self._source = source
        self._sink = _Results()
        self._controller = GadgetStreamController(environment, "reconstruct")
        self._thread = threading.Thread(target=self._run_session, name="reconstruct/reader", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def _run_session(self) -> None:
        try:
            self._controller.run(self._source, self._sink)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to who iterates
            self._failure = error
            self._sink.abort()

    def results(self) -> Iterator[tuple[int, MessageBlock]]:
        """Give results until the session's end, and raise what ended it."""
        with suppress(QueueClosed):  # the session has failed
            while (received := self._sink.queue.get()).kind is not MessageKind.CLOSE:
                if isinstance(received, GadgetContainerMessage) and received.cont is not None:
                    yield received.object.id, received.cont
                del received
        self._thread.join()
        error = self._source.failure or self._failure or self._controller.error
        if error is not None:
            raise error

    def close(self) -> None:
        """End the session if it runs, and join its threads."""
        if self._thread.is_alive():
            self._controller.fail(ShuttingDown("the iteration over the images was abandoned"))
            self._thread.join()
