"""Logs: for people, for machines, and never more than a line a peer's text may take."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from gadgetron.log import MAX_FIELD_CHARACTERS, configure_logging


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def logged(as_json: bool, level: str = "info", **fields: object) -> str:
    stream = io.StringIO()
    configure_logging(level, as_json=as_json, stream=stream)
    structlog.get_logger().info("something.happened", **fields)
    return stream.getvalue()


def test_a_record_for_people_is_one_line_with_event_and_fields() -> None:
    line = logged(False, gadget="G", count=3)
    assert line.count("\n") == 1
    for words in ("something.happened", "gadget=G", "count=3", "info"):
        assert words in line


def test_a_record_for_machines_is_json() -> None:
    record = json.loads(logged(True, gadget="G", count=3))
    assert (record["event"], record["gadget"], record["count"], record["level"]) == (
        "something.happened",
        "G",
        3,
        "info",
    )


@pytest.mark.parametrize("as_json", [True, False])
def test_a_peer_s_text_forges_no_record(as_json: bool) -> None:
    text = "x\n2026-01-01 [error] session.failed\r\x1b[31m\x07\x9b"
    line = logged(as_json, text=text)
    assert line.count("\n") == 1
    assert not set(line) & {"\x1b", "\x07", "\r", "\x9b"}


def test_long_text_is_cut() -> None:
    record = json.loads(logged(True, text="x" * 1_000_000))
    assert len(record["text"]) < MAX_FIELD_CHARACTERS + 50
    assert "1000000 characters" in record["text"]


def test_levels_below_the_least_are_not_shown() -> None:
    assert logged(False, level="warning") == ""


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    configure_logging("info", stream=Full())
    structlog.get_logger().info("something.happened")
    closed = io.StringIO()
    configure_logging("info", stream=closed)
    closed.close()
    structlog.get_logger().info("something.happened")


def test_a_stack_is_kept() -> None:
    stream = io.StringIO()
    configure_logging("info", as_json=True, stream=stream)
    try:
        raise ValueError("as the test wants it")
    except ValueError as error:
        structlog.get_logger().error("something.failed", exc_info=error)
    assert "ValueError: as the test wants it" in json.loads(stream.getvalue())["exception"]
