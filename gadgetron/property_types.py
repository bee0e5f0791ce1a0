"""The types that a property's value can have, and the texts that stand for their values in a configuration."""

from __future__ import annotations

import difflib
import enum
import math
import re
import typing
from collections.abc import Iterable
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INT64 = range(-(2**63), 2**63)


def value_type(default: object, declared: Any) -> tuple[type[Any], bool]:
    """Give a property's item type, and whether it is a list of them.

    Raises
    ------
    TypeError
        If a property cannot have such a type: a mistake in the program, not in a configuration.
    """
    if typing.get_origin(declared) in (list, tuple):
        declared, is_list = typing.get_args(declared)[0], True
    elif declared is None and isinstance(default, list | tuple):
        if not default:
            raise TypeError("a property whose default is an empty list needs type=list[…]")
        declared, is_list = type(default[0]), True
    else:
        declared, is_list = declared or type(default), False
    if not (declared in (bool, int, float, str) or (isinstance(declared, type) and issubclass(declared, enum.Enum))):
        raise TypeError(f"a property cannot be of type {declared!r}: use bool, int, float, str, an Enum, or a list")
    return declared, is_list


def parse_item(kind: type[Any], text: str) -> Any:
    """Give the value of a type that a text stands for.

    Stricter than Python: no digits but ASCII ones, no underscores, 64-bit integers, and no NaN or infinity, which would
    slip through every limit.

    Raises
    ------
    ValueError
        If it stands for none.
    """
    if kind is str:
        return text
    if kind is bool and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if kind is int and _INTEGER.fullmatch(text) and int(text) in _INT64:
        return int(text)
    if kind is float and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if issubclass(kind, enum.Enum):
        for member in kind:
            if text.lower() in (member.name.lower(), str(member.value).lower()):
                return member
    raise ValueError(text)


def expected_text(kind: type[Any]) -> str:
    """Say what texts of a type look like."""
    if issubclass(kind, enum.Enum):
        return "one of " + ", ".join(enum_names(kind))
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, kind.__name__)


def enum_names(kind: type[enum.Enum]) -> list[str]:
    """Give the texts that stand for the members of an Enum."""
    return [as_text(member) for member in kind]


def as_text(value: object) -> str:
    """Give a value as one would write it in a configuration."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    if isinstance(value, list | tuple):
        return " ".join(as_text(item) for item in value)
    return str(value)


def quoted(text: str) -> str:
    """Give a peer's text for an error message: quoted, escaped, cut."""
    return ascii(text if len(text) <= 80 else text[:77] + "…")


def nearest_name(name: str, known: Iterable[str], *, ending: str = "") -> str | None:
    """Give the known name that was most probably meant, or None if none is near.

    Parameters
    ----------
    ending
        What names may end in that makes them no more alike: `Gadget`, for classes.
    """
    if len(name) > 200:
        return None
    by_core = {candidate.lower().removesuffix(ending.lower()): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower().removesuffix(ending.lower()), by_core, n=1, cutoff=0.6)
    return by_core[near[0]] if near else None
