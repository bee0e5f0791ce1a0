"""The external node: what goes to a module, what passes by, and how modules end."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gadgetron.configuration.model import ConnectSpec
from gadgetron.external.connection import Connection
from gadgetron.foreign.node import ExternalGadget, ForeignModule
from gadgetron.foreign.settings import CommandSettings, ForeignSettings
from gadgetron.message import make_message
from gadgetron.output import Output
from gadgetron.protocol.byte_stream import MemoryStream
from gadgetron.protocol.entity.codec import EntityCodec
from tests import raw_client as raw
from tests.foreign.modules import handle_connection
from tests.foreign.support import MODULES, chain, execute, processes, readouts, run
from tests.servers import InProcessServer

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
ONLY_ACQUISITIONS = (
    "<writers><writer><classname>readers_writers.acquisition.AcquisitionWriter</classname></writer></writers>"
)


def output(server: InProcessServer) -> list[str]:
    return [record["line"] for record in server.records.of("module.output")]


def test_everything_goes_through_in_order(server: InProcessServer) -> None:
    data = readouts(50) + raw.waveform() + readouts(20, 300, 4)
    reply = run(server, execute(""), data)
    assert reply.is_complete, reply
    assert b"".join(bytes([i & 255, i >> 8]) + body for i, body in reply.messages) == data + raw.close()
    assert not processes()


def test_a_module_that_returns_without_reading_is_a_success(server: InProcessServer) -> None:
    reply = run(server, execute("hello"), readouts(500, 512, 8))
    assert reply.is_complete
    assert reply.ids == [raw.CLOSE]
    assert "Hello, world!" in output(server)


def test_what_no_writer_takes_passes_by_in_order(server: InProcessServer) -> None:
    waves = b"".join(raw.waveform(n) for n in range(1, 9))
    mixed = b"".join(raw.acquisition(n + 1) + raw.waveform(n + 1) for n in range(8))
    reply = run(server, execute("counts", rest=ONLY_ACQUISITIONS), mixed)
    assert reply.is_complete
    assert b"".join(bytes([i & 255, i >> 8]) + body for i, body in reply.messages[:-1]) == waves


def test_what_the_module_filters_comes_back(server: InProcessServer) -> None:
    reply = run(server, execute("counts"), readouts(3) + raw.waveform() + readouts(3))
    assert reply.ids == [1026, raw.CLOSE]


def test_several_nodes_one_after_another_and_the_old_style(server: InProcessServer) -> None:
    configuration = '<configuration><property name="factor" value="3"/></configuration>'
    nodes = execute("Doubling") + execute("Doubling", configuration=configuration)
    reply = run(server, nodes, readouts(3) + raw.waveform())
    assert sorted(reply.ids[:-1]) == [1008, 1008, 1008, 1026]
    expected = np.frombuffer(readouts(1)[342:], np.complex64) * 6
    first = next(body for message_id, body in reply.messages if message_id == 1008)
    assert np.allclose(np.frombuffer(first[340:], np.complex64), expected)


def test_the_configuration_goes_to_the_module_as_it_is_written(server: InProcessServer) -> None:
    written = "<configuration a='1'><!-- x --><![CDATA[<]]><?pi?><property name=\"n\" value='&#228;'/></configuration>"
    reply = run(server, execute("says_configuration", configuration=written))
    assert reply.is_complete
    assert output(server) == [written]


@pytest.mark.parametrize("reference", ["p@Other", "threads@Echo"])
def test_properties_of_a_python_gadget_are_followed_to_other_gadgets(server: InProcessServer, reference: str) -> None:
    def gadget(name: str, dll: str, classname: str, **properties: str) -> str:
        texts = "".join(
            f"<property><name>{key}</name><value>{value}</value></property>" for key, value in properties.items()
        )
        return f"<gadget><name>{name}</name><dll>{dll}</dll><classname>{classname}</classname>{texts}</gadget>"

    module = {"python_module": MODULES, "python_class": "says_configuration"}
    xml = (
        "<gadgetronStreamConfiguration>"
        "<reader><slot>1008</slot><dll></dll><classname>readers_writers.acquisition.AcquisitionReader</classname></reader>"
        "<writer><slot>1008</slot><dll></dll><classname>readers_writers.acquisition.AcquisitionWriter</classname></writer>"
        + gadget("Echo", "", "tests.misbehaving.Echo", threads="3")
        + gadget("Python", "gadgetron_python", "PythonGadget", **module, threads="x", p=reference)
        + gadget("Other", "gadgetron_python", "PythonGadget", **module, p="threads@Echo")
        + "</gadgetronStreamConfiguration>"
    )
    reply = raw.exchange(server.port, raw.config_script(xml.encode()), raw.header(), raw.acquisition(1), raw.close())
    server.wait_for_summaries(1)
    assert reply.scan_counters == [1], reply.error
    texts = [text for text in output(server) if "configuration" in text]
    assert all('<property name="p" value="3" />' in text for text in texts), texts
    assert sum('<property name="threads" value="x" />' in text for text in texts) == 1
    missing = raw.exchange(server.port, raw.config_script(xml.replace("threads@Echo", "threads@Ecco").encode()))
    assert "refers to threads@Ecco, but no gadget has that name; did you mean Echo?" in missing.error


def test_a_session_without_parameters_starts_and_ends_the_module(server: InProcessServer) -> None:
    reply = raw.exchange(server.port, raw.config_script(chain(execute(""))), raw.close())
    server.wait_for_summaries(1)
    assert reply.is_complete
    assert not processes()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("raises", r"the module reports an error: (ValueError: this is )?wrong"),
        ("exits_1", "ended with exit status 1 .*about to give up"),
        ("killed", r"killed by signal 9 \(SIGKILL\) .*last words"),
        ("sends_what_it_may_not", "sent CONFIG_FILE .1., for which the node has no reader"),
        ("cuts_a_message", "ended with exit status 0 before it was done"),
        ("closes_early", "closed its connection before it was done"),
        ("no_such_function", "has no no_such_function that takes a connection"),
        ("Broken", "cannot take an item of"),
        ("hints_and_sends_garbage", "for which the node has no reader; its last lines: look here first"),
        ("hints_and_reports", r"ValueError: out of memory \\x1b.31m; its last lines: look here first"),
        ("says_half_a_line_and_closes", "before it was done .*; its last lines: socket trouble"),
        ("leaves_its_socket", r"killed by signal 9 \(SIGKILL\) before it was done"),
    ],
)
def test_a_failing_module_is_told(server: InProcessServer, target: str, reason: str) -> None:
    reply = run(server, execute(target), readouts(10))
    assert re.search(reason, reply.error), reply.error
    assert reply.error.startswith(f"gadget {MODULES}.{target}: ")
    assert not processes()


def test_a_last_line_is_left_out_only_if_it_is_what_the_failure_says(monkeypatch: pytest.MonkeyPatch) -> None:
    gadget = ExternalGadget(ForeignModule(ConnectSpec("localhost", 1), b"", {}, ()), "m")
    monkeypatch.setattr(gadget, "_process", SimpleNamespace(last_lines=["x", "ValueError: no"]))
    assert gadget._reason("text bytes: ValueError: no") == "text bytes: ValueError: no; its last lines: x"
    assert gadget._reason("no x").endswith("its last lines: x | ValueError: no")


def test_a_module_that_cannot_be_imported_is_told(server: InProcessServer) -> None:
    reply = run(server, execute("f", module="tests.foreign.no_such_module"), readouts(1))
    assert "No module named" in reply.error


def test_who_goes_on_with_a_modules_connection_is_waited_for(server: InProcessServer) -> None:
    reply = run(server, execute("hands_its_socket_on"), readouts(1))
    assert reply.is_complete, reply


def test_a_line_without_its_end_is_told_and_logged(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(external_silence_s=1.5)
    reply = run(server, execute("says_half_a_line"), readouts(1))
    assert reply.error.endswith(r"; its last lines: waiting for the license \x07\x00"), reply.error
    (record,) = [record for record in server.records.of("module.output") if "license" in record["line"]]
    assert record["line"] == r"waiting for the license \x07\x00"


def test_the_last_lines_of_a_chatty_module_are_in_the_log(server: InProcessServer) -> None:
    run(server, execute("chats_and_fails"), readouts(1))
    lines = output(server)
    assert lines[0] == "line 0"
    assert lines[-1] == "ValueError: at the very end"
    assert {f"line {number}" for number in range(1970, 2000)} <= set(lines)
    assert len(lines) < 1500
    (missing,) = server.records.of("module.output_not_logged")
    assert missing["n_lines"] + len(lines) == 2000 + len([line for line in lines if not line.startswith("line")])


def test_a_busy_module_is_not_silent(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(external_silence_s=0.5)
    reply = run(server, execute("busy"), readouts(1))
    assert reply.ids == [1008, raw.CLOSE], reply


def test_a_connected_module(server: InProcessServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with Connection(connection) as module:
                handle_connection(module)

        thread = threading.Thread(target=serve)
        thread.start()
        reply = run(server, f'<external><connect port="{port}"/><configuration/></external>', readouts(20))
        thread.join()
    assert reply.scan_counters == list(range(1, 21))


def test_nobody_to_connect_to_is_told(start_server: Callable[..., InProcessServer]) -> None:
    server = start_server(external_connect_s=0.6)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        reply = run(server, f'<external><connect port="{port}"/></external>', readouts(1))
    assert f"no module can be reached at localhost:{port} within 0.6 s" in reply.error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('<execute type="python" name="os" target="system"/>', "module 'os' is not below an allowed prefix"),
        ('<execute type="python" name="tests.x" target="-c"/>', "target '-c' is no name"),
        ('<execute type="python" name="--help" target="x"/>', "module '--help' is no name"),
        ('<execute type="perl" name="tests.x"/>', "type 'perl' — known are python, matlab, julia, command"),
        (
            '<execute type="command" name="/bin/sh"/>',
            "/sh' is not known: <externalCommand> in gadgetron.xml would allow it",
        ),
        ('<execute type="julia" name="tests.x"/>', "needs a target"),
        ('<connect address="192.0.2.1" port="80"/>', "connecting to '192.0.2.1' is not allowed: <externalHost>"),
        ('<connect address="localhost.evil.org" port="80"/>', "not allowed"),
        ('<connect port="0"/>', "port 0"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_starts(
    server: InProcessServer, content: str, reason: str
) -> None:
    assert reason in run(server, f"<external>{content}</external>").error
    assert not server.records.of("module.started")


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_module_in_another_language(server: InProcessServer, tmp_path: Path) -> None:
    program = tmp_path / "scale"
    source = ROOT / "examples" / "foreign" / "scale.cpp"
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Werror", "-O1", "-o", program, source], check=True, timeout=120)
    server.environment.foreign = ForeignSettings(commands=(("scale", CommandSettings(str(program))),))
    node = (
        '<external><execute type="command" name="scale"/>'
        f'<configuration><property name="factor" value="-4"/></configuration>{ONLY_ACQUISITIONS}</external>'
    )
    reply = run(server, node, readouts(20) + raw.waveform())
    assert reply.scan_counters == list(range(1, 21))
    assert 1026 in reply.ids
    first = next(body for message_id, body in reply.messages if message_id == 1008)
    found = np.frombuffer(first[-256:], np.complex64)
    assert np.array_equal(found, -4 * np.frombuffer(readouts(1)[-256:], np.complex64))
    assert "scaled 20 readouts by -4" in output(server)
    everything = run(server, '<external><execute type="command" name="scale"/></external>', raw.waveform())
    assert "the module reports an error: no use for message 1026" in everything.error


def test_a_program_that_is_missing_is_told(server: InProcessServer) -> None:
    server.environment.foreign = ForeignSettings(commands=(("tool", CommandSettings("/no/such/tool")),))
    reply = run(server, '<external><execute type="command" name="tool"/></external>', readouts(1))
    assert "tool cannot be started: No such file or directory" in reply.error
    assert "/no/such" not in reply.error


def test_a_text_for_people_does_not_disturb_the_framed_protocol() -> None:
    stream = MemoryStream()
    texts = [Output(5, make_message("many lines"), None), Output(5, make_message("more"), None)]
    EntityCodec().write_many(stream, texts)
    assert not stream.written
