"""Answers to QUERY messages: what a client may ask of a server."""

from __future__ import annotations

import os
import platform
import sys

UNKNOWN_QUERY = "Unknown query"


def answer_query(query: str) -> str:
    """Answer one query; an unknown one is answered with `Unknown query`, as the C++ Gadgetron does."""
    if query == "gadgetron::info":
        return "\n".join(f"{name}: {answer()}" for name, answer in _ANSWERS.items())
    answer = _ANSWERS.get(query)
    return answer() if answer is not None else UNKNOWN_QUERY


def _gadgetron_version() -> str:
    from gadgetron import __version__

    return __version__


def _ismrmrd_version() -> str:
    import ismrmrd

    return str(ismrmrd.__version__)


def _memory() -> str:
    return str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


_ANSWERS = {
    "gadgetron::version": _gadgetron_version,
    "gadgetron::build": lambda: f"Python {platform.python_version()} on {sys.platform}",
    "gadgetron::info::memory": _memory,
    "gadgetron::info::python": lambda: "YES",
    "gadgetron::info::matlab": lambda: "NO",
    "gadgetron::info::cuda": lambda: "NO",
    "ismrmrd::version": _ismrmrd_version,
}
