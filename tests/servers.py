"""Servers for tests: in this process, with limits of the test's choice, and their log at hand."""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import structlog

from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.environment import Admission, Environment
from gadgetron.foreign.settings import ForeignSettings, LanguageSettings
from gadgetron.limits import LIMITS
from gadgetron.loader import Loader
from gadgetron.server import GadgetServerAcceptor

GUARD_S = 60.0
ROOT = Path(__file__).resolve().parents[1]
FOREIGN = ForeignSettings(languages=(("python", LanguageSettings(environment=(("PYTHONPATH", str(ROOT)),))),))
"""Foreign modules of the tests are found."""


class Records:
    """Gathers what is logged while it is entered, from every thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards the next two
        self._by_event: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._by_level: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def __enter__(self) -> Self:
        self._before = structlog.get_config()
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, self._keep],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            cache_logger_on_first_use=False,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        structlog.configure(**self._before)

    def _keep(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        record = dict(event)
        if isinstance(record.get("exc_info"), BaseException):
            record["exc_info"] = repr(record["exc_info"])  # the exception itself would keep frames, and arrays, alive
        with self._changed:
            self._by_event[record["event"]].append(record)
            self._by_level[record["level"]].append(record)
            self._changed.notify_all()
        raise structlog.DropEvent

    def of(self, *events: str) -> list[dict[str, Any]]:
        """Give the records of some events so far."""
        with self._changed:
            return [record for event in events for record in self._by_event[event]]

    def of_level(self, level: str) -> list[dict[str, Any]]:
        """Give the records of one level so far."""
        with self._changed:
            return list(self._by_level[level])

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until an event has been logged so many times; gives its records."""
        deadline = monotonic() + GUARD_S
        with self._changed:
            while True:
                found = self._by_event[event]
                if len(found) >= count:
                    return list(found)
                remaining_s = deadline - monotonic()
                if remaining_s <= 0:
                    raise AssertionError(f"{event} was logged {len(found)} of {count} times: {self._by_level}")
                self._changed.wait(remaining_s)


class InProcessServer:
    """An acceptor on a free port. A context manager.

    Parameters
    ----------
    configurations
        Name and XML of configurations that clients can ask for, besides the stock ones.
    allow
        Prefix of modules whose classes may be loaded.
    **limits
        Fields of `Limits` that are not to have their defaults.
    """

    def __init__(
        self,
        *,
        configurations: Mapping[str, bytes] | None = None,
        allow: str = "tests",
        max_sessions: int = LIMITS.max_sessions,
        **limits: float,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gadgetron-test-")
        folder = Path(self._folder.name)
        for name, xml in (configurations or {}).items():
            (folder / name).write_bytes(xml)
        self.environment = Environment(
            loader=Loader([allow]),
            search=ConfigurationSearch(config_dir=folder, environment={}),
            working_directory=folder / "work",
            limits=replace(LIMITS, max_sessions=max_sessions, **limits),  # type: ignore[arg-type]  # whatever the test says
            admission=Admission(max_sessions),
            foreign=FOREIGN,
        )
        self.records = Records()
        self.acceptor = GadgetServerAcceptor(self.environment, port=0)

    def __enter__(self) -> Self:
        self.records.__enter__()
        self.acceptor.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.acceptor.close()
        self.records.__exit__(kind, error, tb)
        self._folder.cleanup()

    @property
    def port(self) -> int:
        return self.acceptor.port

    def wait_for_summaries(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many sessions have ended; gives their summaries."""
        return self.records.wait_for("session.summary", count)
