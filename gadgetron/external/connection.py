"""The connection between a foreign module and the Gadgetron, as the module sees it."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import ismrmrd

from gadgetron.configuration.xml_safe import parse_xml
from gadgetron.errors import (
    GadgetronError,
    MalformedMessageError,
    UnexpectedMessageError,
    UnknownMessageError,
    describe,
)
from gadgetron.external.channel import Channel
from gadgetron.external.readers import Reader, read_acquisition, read_byte_string, read_image, read_waveform
from gadgetron.external.writers import Writer, write_acquisition, write_image, write_waveform
from gadgetron.limits import LIMITS
from gadgetron.protocol.message_ids import MessageID, message_name
from gadgetron.types.acquisition_bucket import (
    AcquisitionBucket,
    read_acquisition_bucket,
    write_acquisition_bucket,
)
from gadgetron.types.image_array import ImageArray, read_image_array, write_image_array
from gadgetron.types.recon_data import ReconData, read_recon_data, write_recon_data

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

log = logging.getLogger("gadgetron.external")

FILE_NAME_BYTES = 1024

_READERS: dict[int, Reader] = {
    MessageID.ISMRMRD_ACQUISITION: read_acquisition,
    MessageID.ISMRMRD_WAVEFORM: read_waveform,
    MessageID.ISMRMRD_IMAGE: read_image,
    MessageID.IMAGE_ARRAY: read_image_array,
    MessageID.RECONDATA: read_recon_data,
    MessageID.BUCKET: read_acquisition_bucket,
}
_WRITERS: tuple[tuple[type, Writer], ...] = (
    (ismrmrd.Acquisition, write_acquisition),
    (ismrmrd.Waveform, write_waveform),
    (ismrmrd.Image, write_image),
    (ImageArray, write_image_array),
    (ReconData, write_recon_data),
    (AcquisitionBucket, write_acquisition_bucket),
)


class Connection:
    """What a module gets: items come by iteration, `send` sends items back.

    Leaving its context sends CLOSE, which says that the module is done; if an exception leaves it, ERROR with the
    exception's last line comes first, and the Gadgetron's client is told.

    Parameters
    ----------
    connection
        A connected socket, or a Channel around one; belongs to this object from now on.

    Attributes
    ----------
    raw_bytes
        `raw_bytes.config` and `raw_bytes.header`: what was received, None if nothing was.
    config
        The node's <configuration> as an Element, or None if it is not XML.

    Notes
    -----
    For one thread. Items can be iterated over once.
    """

    def __init__(self, connection: socket.socket | Channel) -> None:
        self.socket = connection if isinstance(connection, Channel) else Channel(connection)
        self.readers: dict[int, Reader] = dict(_READERS)
        self.writers: list[tuple[Callable[[Any], Any], Writer]] = [
            (partial(_is_a, accepted), writer) for accepted, writer in _WRITERS
        ]
        self.filters: list[Callable[[Any], Any]] = []
        self.raw_bytes = SimpleNamespace(config=None, header=None)
        self.config: Element | None = None
        self._is_at_end = False
        try:
            self._read_start()
        except BaseException as error:
            self.fail(error)
            raise

    # What the module knows from the start

    def _read_start(self) -> None:
        """Read configuration and header; a peer that ends before is done."""
        for expected in (MessageID.CONFIG_SCRIPT, MessageID.HEADER):
            message_id = self.socket.read_message_id()
            if message_id is None or message_id == MessageID.CLOSE:
                self._is_at_end = True
                return
            if message_id == MessageID.CONFIG_FILE and expected is MessageID.CONFIG_SCRIPT:
                self.raw_bytes.config = self.socket.read(FILE_NAME_BYTES).rstrip(b"\0")
            elif message_id == MessageID.CONFIG_SCRIPT and expected is MessageID.CONFIG_SCRIPT:
                self.raw_bytes.config = read_byte_string(self.socket)
                self.config = _parse_configuration(self.raw_bytes.config)
            elif message_id == MessageID.HEADER and expected is MessageID.HEADER:
                self.raw_bytes.header = read_byte_string(self.socket)
            else:
                raise UnexpectedMessageError(f"got {message_name(message_id)}, expected {message_name(expected)}")

    @cached_property
    def header(self) -> Any:
        """The ISMRMRD header, as `ismrmrd.xsd` parses it; None if there was none."""
        if self.raw_bytes.header is None:
            return None
        return ismrmrd.xsd.CreateFromDocument(self.raw_bytes.header.rstrip(b"\0"))

    # Items that come

    def next(self) -> tuple[int, Any]:
        """Give the next item that passes the filters, as (message id, item); the others are sent back at once.

        Raises
        ------
        StopIteration
            If there are no more: the Gadgetron has sent CLOSE, or ended the connection between two items.
        UnknownMessageError
            If there is no reader for a message.
        ConnectionLost
            If the connection ends inside an item.
        """
        while True:
            message_id, item = self._read_item()
            if all(predicate(item) for predicate in self.filters):
                return message_id, item
            self.send(item)

    def __next__(self) -> tuple[int, Any]:
        return self.next()

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the items."""
        for _, item in self.iter_with_mids():
            yield item

    def iter_with_mids(self) -> Iterator[tuple[int, Any]]:
        """Iterate over (message id, item)."""
        while True:
            try:
                pair = self.next()
            except StopIteration:
                return
            yield pair

    def _read_item(self) -> tuple[int, Any]:
        while not self._is_at_end:
            message_id = self.socket.read_message_id()
            if message_id is None or (message_id == MessageID.CLOSE and MessageID.CLOSE not in self.readers):
                self._is_at_end = True
                break
            reader = self.readers.get(message_id)
            if reader is not None:
                return message_id, reader(self.socket)
            if message_id != MessageID.TEXT:
                raise UnknownMessageError(message_id, "reading items")
            log.info("The Gadgetron says: %s", read_byte_string(self.socket).decode(errors="replace"))
        raise StopIteration

    def filter(self, predicate: type | Callable[[Any], Any]) -> None:
        """Let only some items come; the others go back to the Gadgetron unchanged, in order.

        Parameters
        ----------
        predicate
            A class whose instances may come, or a function that tells of an item whether it may.
        """
        if isinstance(predicate, type):
            self.filters.append(partial(_is_a, predicate))
        else:
            self.filters.append(predicate)

    def add_reader(self, mid: int, reader: Reader, *args: Any, **kwargs: Any) -> None:
        """Read messages of an id with a function of one's own: `reader(source, *args, **kwargs)` returns an item."""
        self.readers[mid] = lambda source: reader(source, *args, **kwargs)

    # Items that go

    def send(self, item: Any) -> None:
        """Send an item.

        Raises
        ------
        TypeError
            If no writer accepts it.
        ConnectionLost
            If the Gadgetron is gone.
        """
        for accepts, writer in self.writers:
            if accepts(item):
                with self.socket as destination:
                    writer(destination, item)
                return
        raise TypeError(f"no writer for an item of type {type(item).__name__}")

    def add_writer(self, accepts: Callable[[Any], Any], writer: Writer, *args: Any, **kwargs: Any) -> None:
        """Write items with a function of one's own: `writer(destination, item, *args, **kwargs)`.

        Parameters
        ----------
        accepts
            Tells of an item whether the writer is for it. The writer added last is asked first.
        """

        def write(destination: Any, item: Any) -> None:
            writer(destination, item, *args, **kwargs)

        self.writers.insert(0, (accepts, write))

    # The end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None and not is_regular_end(error):
            self.fail(error)
        self.socket.close()

    def fail(self, error: BaseException) -> None:
        """Tell the Gadgetron that the module has failed, and end the connection."""
        self.socket.report(describe_failure(error))
        self.socket.close()


def _is_a(accepted: type, item: object) -> bool:
    return isinstance(item, accepted)


def describe_failure(error: BaseException) -> str:
    """Give the last line of an exception's traceback, as Python prints it."""
    return traceback.format_exception_only(error)[-1].strip() or describe(error)


def is_regular_end(error: BaseException) -> bool:
    """Tell whether an exception is no failure: `sys.exit()`."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _parse_configuration(data: bytes) -> Element | None:
    try:
        return parse_xml(
            data.rstrip(b"\0"),
            max_bytes=LIMITS.max_config_bytes,
            what="the configuration",
            error=MalformedMessageError,
        )
    except GadgetronError as error:
        log.warning("The configuration cannot be parsed: %s", error)
        return None
