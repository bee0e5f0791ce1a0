"""The check that every test goes through finds what it is there to find."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from tests.conftest import child_processes, leaks, open_descriptors, running_threads


@pytest.fixture
def found_now():
    threads, descriptors, children = set(running_threads()), open_descriptors(), set(child_processes())
    return lambda: leaks(threads, descriptors, children)


def test_nothing_is_found_where_nothing_is_left(found_now):
    assert found_now() == ""


def test_a_thread_is_found_with_its_stack(found_now):
    release = threading.Event()

    def linger_here():
        release.wait(10)

    thread = threading.Thread(target=linger_here, name="session-7/Noise-0")
    thread.start()
    try:
        assert "session-7/Noise-0" in found_now()
        assert "linger_here" in found_now()
    finally:
        release.set()
        thread.join()
    assert found_now() == ""


def test_an_open_file_is_found(found_now, tmp_path):
    with (tmp_path / "left-open").open("w"):
        assert "left-open" in found_now()
    assert found_now() == ""


def test_an_open_socket_is_found(found_now):
    with socket.socket():
        assert "socket:" in found_now()
    assert found_now() == ""


def test_a_child_is_found_alive_and_as_a_zombie(found_now):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        assert f"children {{{child.pid}" in found_now()
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken note
        assert f"children {{{child.pid}: '(zombie)'" in found_now()
    finally:
        child.stdin.close()
        child.wait()
    assert found_now() == ""
