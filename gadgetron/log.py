"""Logs: an event name and fields, for people or as JSON; escaped, cut to a size, to standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from gadgetron.errors import escape_controls

MAX_FIELD_CHARACTERS = 2048
MAX_STACK_CHARACTERS = 16 * 1024

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(level: str = "info", *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Set up structlog for a program. Libraries that use ours configure their own.

    Parameters
    ----------
    level
        Least level that is shown: debug, info, warning or error.
    as_json
        One JSON object a line instead of text.
    stream
        Where to; standard error by default.
    """
    output = _Output(stream if stream is not None else sys.stderr)
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%m-%d %H:%M:%S.%f", utc=as_json),
        structlog.processors.format_exc_info,
        _cut,
    ]
    if as_json:
        processors.append(structlog.processors.JSONRenderer(serializer=json.dumps, default=str))
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=output.isatty(), pad_event_to=24))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", output)),
        cache_logger_on_first_use=False,
    )


class VerboseLogger:
    """A logger whose debug records are info records."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        """Log at info."""
        self._logger.info(event, **fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


class _Output:
    """Where records go. One that cannot be written is lost and counted: a full disk ends no session."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: the stream has been closed
            self.lost += 1
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += 1


def _cut(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters and cut long text: what a peer sends must not forge or flood a log."""
    for key, value in event.items():
        if isinstance(value, str):
            is_stack = key in ("exception", "stack")
            text = value if is_stack else escape_controls(value)
            limit = MAX_STACK_CHARACTERS if is_stack else MAX_FIELD_CHARACTERS
            event[key] = text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
    return event
