"""Chains with an external node, and what a client gets from them."""

from __future__ import annotations

import os
from pathlib import Path

from tests import raw_client as raw
from tests.servers import InProcessServer

MODULES = "tests.foreign.modules"
COMPONENTS = """<readers><reader><classname>readers_writers.acquisition.AcquisitionReader</classname></reader>
<reader><classname>readers_writers.waveform.WaveformReader</classname></reader></readers>
<writers><writer><classname>readers_writers.acquisition.AcquisitionWriter</classname></writer>
<writer><classname>readers_writers.waveform.WaveformWriter</classname></writer></writers>"""


def chain(content: str) -> bytes:
    """A configuration from readouts to readouts, with this in its stream."""
    return f"<configuration><version>2</version>{COMPONENTS}<stream>{content}</stream></configuration>".encode()


def execute(target: str, *, configuration: str = "<configuration/>", rest: str = "", module: str = MODULES) -> str:
    """An external node that runs a function of `tests.foreign.modules`."""
    name = f'name="{module}" target="{target}"' if target else f'name="{module}"'
    return f'<external><execute type="Python" {name}/>{configuration}{rest}</external>'


def readouts(count: int, n_samples: int = 16, n_channels: int = 2) -> bytes:
    return b"".join(raw.acquisition(number, n_samples, n_channels) for number in range(1, count + 1))


def run(server: InProcessServer, content: str, *data: bytes) -> raw.Reply:
    """Send data through a chain, to its end, and to that of the session."""
    n_before = len(server.records.of("session.summary"))
    reply = raw.exchange(server.port, raw.config_script(chain(content)), raw.header(), *data, raw.close())
    server.wait_for_summaries(n_before + 1)
    return reply


def processes() -> dict[int, str]:
    """Every child of this process whose command line names a foreign module of the tests, with its state."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == os.getpid() and MODULES.encode() in command:
                found[int(entry.name)] = state
    return found
