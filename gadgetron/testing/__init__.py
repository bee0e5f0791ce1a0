"""What tests of gadgets, readers, writers and clients need: ours use it, and yours can.

`run_gadget` runs a gadget as a server would, without a server. `check_gadget_drains` and `check_reader_writer` check
what every gadget, and every reader with its writer, must do. `FaultyStream`, `ScriptedPeer` and `ServerProcess` are a
stream, a server and a daemon for tests of what goes wrong.
"""

from gadgetron.testing.conformance import check_gadget_drains, check_reader_writer, describe_message
from gadgetron.testing.faulty_stream import FaultyStream
from gadgetron.testing.running import run_gadget
from gadgetron.testing.scripted_peer import ScriptedPeer
from gadgetron.testing.server_process import ServerProcess

__all__ = [
    "FaultyStream",
    "ScriptedPeer",
    "ServerProcess",
    "check_gadget_drains",
    "check_reader_writer",
    "describe_message",
    "run_gadget",
]
