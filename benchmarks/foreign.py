"""What an external pass-through adds to a session.

The module is `gadgetron.examples.pass_through`, in front of everything else in the chain: all readouts cross twice. It
is measured as it is started for the session (active), and running already (passive), next to the same chain without it
in the same run. The daemon has an interpreter ready for an active module, as it has for every one but the first.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from statistics import median
from time import perf_counter

from benchmarks.measures import Plan, Row, progress
from benchmarks.processes import ROOT, Daemon
from benchmarks.workload import CLOSE, make_workload, parameters

GOAL = 0.6
SERVE = """
import socket, sys
import gadgetron.examples
from gadgetron.external import Connection
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        with Connection(connection) as module:
            gadgetron.examples.pass_through(module)
"""


def with_node(content: str) -> bytes:
    """Give default.xml with an external node at its head, as a message."""
    xml = (ROOT / "config" / "default.xml").read_text(encoding="utf-8")
    if content:
        xml = xml.replace("<stream>", f"<stream><external>{content}<configuration/></external>", 1)
    data = xml.encode()
    return b"\2\0" + len(data).to_bytes(4, "little") + data


def session_s(port: int, *messages: bytes) -> float:
    """Seconds that a session takes, from its first byte to the end of the connection."""
    began = perf_counter()
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        sender = threading.Thread(target=lambda: [connection.sendall(message) for message in messages])
        sender.start()
        while piece := connection.recv(1 << 20):
            received = received[-4096:] + piece
        sender.join()
    if b"ERROR" in received[-4096:] or not received.endswith(CLOSE):
        raise RuntimeError(f"the session failed: {received[-200:]!r}")
    return perf_counter() - began


def external(plan: Plan) -> list[Row]:
    """Measure default.xml without an external node, and with one of either kind."""
    workload = make_workload(plan.n_repetitions)
    header, readouts = parameters(workload.header()), workload.acquisitions()
    module = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    adds: dict[str, list[float]] = {"connected": [], "started": []}
    try:
        port = int(module.stdout.readline()) if module.stdout is not None else 0
        nodes = {
            "connected": f'<connect port="{port}"/>',
            "started": '<execute type="python" name="gadgetron.examples" target="pass_through"/>',
        }
        with Daemon() as daemon:
            for run in range(plan.n_pairs + 1):
                alone_s = session_s(daemon.port, with_node(""), header, readouts, CLOSE)
                for name, node in nodes.items():
                    elapsed_s = session_s(daemon.port, with_node(node), header, readouts, CLOSE)
                    if run:  # the first warms up
                        adds[name].append(elapsed_s / alone_s - 1)
                        progress(f"  module {name} {elapsed_s:.3f} s, without {alone_s:.3f} s")
    finally:
        module.kill()
        module.communicate()
    return [
        Row(f"external pass-through, {name}, adds / chain", median(values), goal=GOAL, samples={"adds": values})
        for name, values in adds.items()
    ]
