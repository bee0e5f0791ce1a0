"""Sessions from recorded bytes, in memory: engine and protocol without sockets, so that thousands take seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.controller import GadgetStreamController
from gadgetron.environment import Environment
from gadgetron.errors import GadgetronError
from gadgetron.limits import LIMITS, Limits
from gadgetron.loader import Loader
from gadgetron.output import Output
from gadgetron.protocol.classic import ClassicSource
from gadgetron.testing import FaultyStream
from tests import raw_client as raw

SMALL_BLOCKS = replace(LIMITS, receive_block_bytes=16 * 1024)


class CountingSink:
    """Counts what would go out."""

    def __init__(self) -> None:
        self.written = 0
        self.dropped = 0

    def open(self) -> None:
        self.written = 0

    def put_many(self, outputs: Sequence[Output]) -> None:
        self.written += len(outputs)

    def abort(self, error: GadgetronError | None = None) -> None:
        self.error = error

    def finish(self, error: GadgetronError | None) -> None:
        self.error = error


@dataclass
class Outcome:
    """How a session in memory ended."""

    error: GadgetronError | None
    received: int
    written: int


def make_environment(folder: Path = Path("/nonexistent"), limits: Limits = SMALL_BLOCKS) -> Environment:
    return Environment(
        loader=Loader(["tests"]),
        search=ConfigurationSearch(environment={"HOME": str(folder)}),
        working_directory=folder / "work",
        limits=limits,
    )


def play(data: bytes | memoryview, pieces: Iterable[int] = (), environment: Environment | None = None) -> Outcome:
    """Run a session on bytes that arrive in pieces."""
    environment = environment or make_environment()
    stream = FaultyStream(data, pieces=pieces, limits=environment.limits)
    controller = GadgetStreamController(environment)
    sink = CountingSink()
    error = controller.run(ClassicSource(stream, environment.limits), sink)
    return Outcome(error, controller.messages_in, sink.written)


def golden_session() -> tuple[bytes, list[int]]:
    """About 6 kB of every kind of message; with the offsets at which a message begins."""
    messages = [
        raw.query(b"gadgetron::version"),
        raw.config_file("pass_through.xml"),
        raw.text(b"hello"),
        raw.header(),
        *(raw.acquisition(number, 8, 2, trajectory_dimensions=number % 3) for number in range(4)),
        raw.waveform(5, 2),
        raw.header(),
        *(raw.acquisition(number, 8, 2) for number in range(4, 7)),
        raw.close(),
    ]
    offsets = [0]
    for message in messages:
        offsets.append(offsets[-1] + len(message))
    return b"".join(messages), offsets
