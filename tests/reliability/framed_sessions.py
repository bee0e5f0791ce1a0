"""Sessions of the framed protocol, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gadgetron.controller import GadgetStreamController
from gadgetron.environment import Environment
from gadgetron.protocol.detection import DetectedCodec, DetectingSource
from gadgetron.testing import FaultyStream
from tests import framed_client as framed
from tests import raw_client as raw
from tests.reliability.sessions import CountingSink, Outcome, make_environment

MANIFEST = [
    (0, framed.ACQUISITION, framed.FLOAT),
    (1, framed.XML_HEADER, framed.NOT_APPLICABLE),
    (3, framed.WAVEFORM, framed.DOUBLE),
]
PASS_THROUGH = (Path(__file__).resolve().parents[2] / "config" / "pass_through.xml").read_bytes()
PIXELS = bytes(2 * 3 * 4)
META = b"<ismrmrdMeta><meta><name>a</name><value>1</value></meta></ismrmrdMeta>"


def play(data: bytes | memoryview, pieces: Iterable[int] = (), environment: Environment | None = None) -> Outcome:
    """Run a session on bytes that arrive in pieces, from the very first one."""
    environment = environment or make_environment()
    stream = FaultyStream(data, pieces=pieces, limits=environment.limits)
    controller = GadgetStreamController(environment)
    sink = CountingSink()
    error = controller.run(DetectingSource(stream, DetectedCodec(), environment.limits), sink)
    return Outcome(error, controller.messages_in, sink.written)


def frames(*entities: bytes) -> bytes:
    return b"".join(map(framed.frame, entities))


HANDSHAKE = frames(framed.handshake(MANIFEST, b"golden"))
CONFIGURED = HANDSHAKE + frames(framed.config_file(b"pass_through.xml"))
READY = CONFIGURED + frames(framed.xml_header(raw.SMALL_HEADER))


def golden_entities() -> list[bytes]:
    """Every kind of entity, about 6 kB."""
    return [
        framed.handshake(MANIFEST, b"golden"),
        framed.command(1000, entities=(1, 2, 3)),
        framed.config_script(PASS_THROUGH),
        framed.xml_header(raw.SMALL_HEADER),
        *(framed.acquisition(number, 8, 2, n_dimensions=number % 3) for number in range(6)),
        framed.waveform([1, 2, 3]),
        framed.image(PIXELS, (1, 2, 3, 4), framed.CHAR, META),
        framed.blob(b"what", b"data"),
        framed.acquisition(6, 8, 2),
        framed.stop(),
    ]


def golden_session() -> tuple[bytes, list[int]]:
    """The bytes, and the offsets at which a frame begins."""
    offsets = [0]
    for entity in golden_entities():
        offsets.append(offsets[-1] + 8 + len(entity))
    return frames(*golden_entities()), offsets
