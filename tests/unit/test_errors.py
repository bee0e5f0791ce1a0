"""Errors: one tree, and texts that a client may read."""

from __future__ import annotations

import inspect

import pytest

from gadgetron import errors
from gadgetron.errors import (
    MAX_CLIENT_TEXT,
    ConfigurationError,
    ConnectionLost,
    GadgetError,
    GadgetronError,
    LimitExceeded,
    PeerTimeout,
    ProtocolError,
    UnknownMessageError,
    describe,
)


def test_every_error_is_of_one_tree() -> None:
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__]
    assert len(classes) > 15
    assert all(issubclass(class_, GadgetronError) for class_ in classes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\r\n and\ttabs", "two lines and tabs"),
        ("cannot read /home/user/secret/scan.h5: no", "cannot read …/scan.h5: no"),
        ("'/etc/passwd' and \"/usr/lib/x.so\"", "'…/passwd' and \"…/x.so\""),
        ("1/2 of a/b", "1/2 of a/b"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("gadgetron::info/x", "gadgetron::info/x"),
    ],
)
def test_client_text_is_one_line_without_paths(text: str, expected: str) -> None:
    assert GadgetronError(text).client_text == expected


def test_client_text_is_cut() -> None:
    assert len(GadgetronError("x" * 1_000_000).client_text) == MAX_CLIENT_TEXT


def test_texts_name_what_and_where() -> None:
    assert str(LimitExceeded("text length", 7, 5)) == "text length is 7, the limit is 5"
    assert str(GadgetError("Noise-0", "ValueError: x")) == "gadget Noise-0: ValueError: x"
    assert "4711" in str(UnknownMessageError(4711, "reconstructing"))


def test_only_lost_peers_are_gone() -> None:
    assert PeerTimeout("").peer_is_gone
    assert ConnectionLost("").peer_is_gone
    assert not ProtocolError("").peer_is_gone
    assert ConfigurationError("").session_fatal


def test_describe_says_class_and_text() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(ValueError("x")) == "ValueError: x"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert describe(Broken()) == "Broken: it cannot say why"
