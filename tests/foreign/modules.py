"""Foreign modules that behave, and some that do not. The server starts them: `tests.foreign.modules`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ismrmrd

from gadgetron.legacy import Gadget


def handle_connection(connection: Any) -> None:
    """The default target: passes everything through."""
    for item in connection:
        connection.send(item)


def hello(_connection: Any) -> None:
    print("Hello, world!")


def raises(connection: Any) -> None:
    next(iter(connection))
    raise ValueError("this is\nwrong")


def exits_1(connection: Any) -> None:
    next(iter(connection))
    print("about to give up", file=sys.stderr, flush=True)
    os._exit(1)


def killed(connection: Any) -> None:
    next(iter(connection))
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def silent(connection: Any) -> None:
    next(iter(connection))
    print("going to sleep", flush=True)
    threading.Event().wait()


def takes_nothing(_connection: Any) -> None:
    print("going to sleep", flush=True)
    threading.Event().wait()


def spins(connection: Any) -> None:
    next(iter(connection))
    print("spinning", flush=True)
    while True:
        pass


def busy(connection: Any) -> None:
    """Computes for longer than a module may be silent, then answers."""
    item = next(iter(connection))
    for _ in range(30_000_000):
        pass
    connection.send(item)


def floods(connection: Any) -> None:
    for number, item in enumerate(connection):
        if number == 1:
            sys.stderr.write("x" * 79 + "\n" * 1)
            sys.stderr.write(("y" * 99 + "\n") * 10_500)
        connection.send(item)


def closes_early(connection: Any) -> None:
    next(iter(connection))
    os.close(connection.socket._stream._socket.fileno())
    threading.Event().wait()


def leaves_children(connection: Any) -> None:
    """Starts a process that would outlive it, and says its number."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    print(f"child {child.pid}", flush=True)
    for item in connection:
        connection.send(item)


def leaves_its_socket(connection: Any) -> None:
    """Dies, and leaves its socket to a process that is out of its group."""
    _give_socket_to("sleep 60", connection)
    os.kill(os.getpid(), signal.SIGKILL)


def hands_its_socket_on(connection: Any) -> None:
    """Ends; a process that is out of its group sends CLOSE a while later."""
    _give_socket_to("sleep 0.3; printf '\\004\\000' >&3", connection)
    os._exit(0)


def _give_socket_to(script: str, connection: Any) -> None:
    next(iter(connection))
    os.dup2(connection.socket._stream._socket.fileno(), 3)
    subprocess.Popen(
        ["sh", "-c", f"{script} # tests.foreign.modules"],
        start_new_session=True,
        pass_fds=[3],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def hints_and_sends_garbage(connection: Any) -> None:
    print("look here first", flush=True)
    connection.socket.write(b"GET / HTTP/1.1\r\n" * 10)
    threading.Event().wait()


def hints_and_reports(connection: Any) -> None:
    print("look here first", flush=True)
    raise ValueError("out of memory \x1b[31m")


def says_half_a_line(connection: Any) -> None:
    next(iter(connection))
    print("waiting for the\tlicense \x07\x00", end="", flush=True)
    threading.Event().wait()


def says_half_a_line_and_closes(connection: Any) -> None:
    next(iter(connection))
    print("socket trouble", end="", flush=True)
    os.close(connection.socket._stream._socket.fileno())
    threading.Event().wait()


def says_configuration(connection: Any) -> None:
    print(connection.raw_bytes.config.decode(), flush=True)
    handle_connection(connection)


def chats_and_fails(connection: Any) -> None:
    """Says more than is logged at once, then raises."""
    next(iter(connection))
    for number in range(2000):
        print("line", number)
    raise ValueError("at the very end")


def says_descriptors(connection: Any) -> None:
    """Says what it has inherited: everything but its standard streams, its socket and what the interpreter opens."""
    for entry in sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name)):
        try:
            print(f"descriptor {entry.name} {entry.readlink()}", flush=True)
        except OSError:
            continue
    handle_connection(connection)


def sends_what_it_may_not(connection: Any) -> None:
    connection.socket.write(b"\x01\x00" + bytes(1024))
    threading.Event().wait()


def cuts_a_message(connection: Any) -> None:
    connection.socket.write(b"\xf0\x03" + bytes(100))
    os._exit(0)


def counts(connection: Any) -> None:
    """Takes acquisitions, tells nothing of them, and sends what does not come through a filter back."""
    connection.filter(ismrmrd.Acquisition)
    for _ in connection:
        pass


class Doubling(Gadget):
    """A gadget of the old style, with a parameter."""

    def process_config(self, config: Any) -> None:
        self.factor = float(self.get_parameter("factor") or 2)

    def process(self, header: Any, data: Any) -> None:
        self.put_next(header, data * self.factor)


class Broken(Gadget):
    def process(self, header: Any, data: Any, meta: Any, more: Any) -> None:
        raise NotImplementedError


def says_who_it_is(connection: Any) -> None:
    """Print process id, arguments, what the environment says, and what is on standard input."""
    names = ("GADGETRON_EXTERNAL_PORT", "GADGETRON_EXTERNAL_MODULE")
    print("I am", os.getpid(), sys.argv[1:], [os.environ[name] for name in names], repr(sys.stdin.read()), flush=True)
    for item in connection:
        connection.send(item)
