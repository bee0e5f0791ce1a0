"""A scan in a file, or in this process, as the source of a session."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gadgetron.configuration.model import StreamConfiguration
from gadgetron.controller import GadgetStreamController
from gadgetron.conversion import as_message
from gadgetron.errors import GadgetronError, QueueClosed, UnknownMessageError
from gadgetron.message import MessageBlock, config_message
from gadgetron.protocol.message_ids import MessageID

if TYPE_CHECKING:
    from gadgetron.dataset import ScanFile

Scan = str | Path | tuple[Any, Iterable[Any]]
"""The path of an ISMRMRD file; or the ISMRMRD header (XML, or the ismrmrd package's object) and the scan's items."""

BATCH_MESSAGES = 64


class ScanSource:
    """The source of a session whose data is a file, or an iterable of this process.

    Parameters
    ----------
    scan
        What to send.
    group
        The group of the HDF5 file that has the scan.
    configuration, name
        The chain to run, and what to call it.

    Attributes
    ----------
    failure
        What the user's iterable raised, or None.
    """

    def __init__(self, scan: Scan, group: str, configuration: StreamConfiguration, name: str) -> None:
        self._scan = scan
        self._group = group
        self._configuration = configuration
        self._name = name
        self._woken = threading.Event()
        self.failure: BaseException | None = None

    def run(self, controller: GadgetStreamController) -> None:
        """Configure the session, and send the scan."""
        controller.configuration(self._configuration, self._name)
        try:
            if isinstance(self._scan, tuple):
                header, items = self._scan
                # One by one: they may come from a scan that goes on, and nothing is kept waiting.
                controller.parameters(config_message(_header_xml(header)))
                self._send(controller, items, 1)
            else:
                from gadgetron.dataset import ScanFile

                with ScanFile(self._scan, self._group) as file:
                    self._send_file(controller, file)
        except GadgetronError:
            raise
        except BaseException as error:  # the iterable is the user's; `results` raises what it raised
            self.failure = error
            raise

    def _send_file(self, controller: GadgetStreamController, file: ScanFile) -> None:
        controller.parameters(config_message(file.header_xml))
        message_id = MessageID.ISMRMRD_IMAGE if file.n_images else MessageID.ISMRMRD_ACQUISITION
        if message_id not in controller.readers and (file.n_images or file.n_acquisitions):
            # it would pass by all gadgets; a server refuses it, too
            raise UnknownMessageError(message_id, f"reading {file.path.name}")
        self._send(controller, file.items(), 1 if file.n_images else BATCH_MESSAGES)  # an image may be large

    def _send(self, controller: GadgetStreamController, items: Iterable[Any], batch_size: int) -> None:
        batch: list[MessageBlock] = []
        for item in items:
            if self._woken.is_set():
                raise QueueClosed("the session has ended")
            batch.append(as_message(item))
            if len(batch) >= batch_size:
                controller.data(batch)
                batch = []
        if batch:
            controller.data(batch)
        controller.end_of_input()

    def wake(self) -> None:
        """Make `run` or `watch` return soon."""
        self._woken.set()

    def watch(self, timeout_s: float) -> bool:
        """Wait until `wake` or the timeout."""
        self._woken.wait(timeout_s)
        return False

    def finish(self) -> None:
        """Nothing to end."""


def _header_xml(header: Any) -> bytes:
    if isinstance(header, bytes):
        return header
    if isinstance(header, str):
        return header.encode()
    import ismrmrd

    xml: str | bytes = ismrmrd.xsd.ToXML(header)
    return xml.encode() if isinstance(xml, str) else xml
