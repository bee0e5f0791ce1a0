"""A scan in a file, or in this process, as the source of a session."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gadgetron.configuration.model import StreamConfiguration
from gadgetron.controller import GadgetStreamController
from gadgetron.conversion import as_message
from gadgetron.errors import GadgetronError, QueueClosed
from gadgetron.message import MessageBlock, config_message

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
                self._send(controller, header, items, 1)
            else:
                from gadgetron.dataset import ScanFile

                with ScanFile(self._scan, self._group) as file:
                    self._send(controller, file.header_xml, file.items(), BATCH_MESSAGES)
        except GadgetronError:
            raise
        except BaseException as error:  # the iterable is the user's; `results` raises what it raised
            self.failure = error
            raise

    def _send(self, controller: GadgetStreamController, header: Any, items: Iterable[Any], batch_size: int) -> None:
        controller.parameters(config_message(_header_xml(header)))
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
