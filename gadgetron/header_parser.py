"""Read XML elements into dataclasses, with every value checked and every complaint naming its element.

A field's type says how it is read: `str`, `int`, `float` are the text of the child element of that name, a dataclass
is the child's own children, a tuple is all children of that name, `| None` or a default makes it optional. Integers
and floats may carry their range in the type, as `Size` does. Order, namespaces and unknown elements do not matter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from gadgetron.errors import MalformedMessageError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

T = TypeVar("T")


class Range(NamedTuple):
    """Smallest and largest value allowed."""

    minimum: float
    maximum: float


MAX_UINT16 = 65_535
INT64 = Range(-(2**63), 2**63 - 1)

Size = Annotated[int, Range(1, MAX_UINT16)]
Count = Annotated[int, Range(0, MAX_UINT16)]
Long = Annotated[int, INT64]
Length = Annotated[float, Range(0.0, math.inf)]
LowerCase = Annotated[str, str.lower]

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_SHOWN_CHARACTERS = 32


def read_element(element: Element, class_: type[T], name: str, aliases: Mapping[str, str] | None = None) -> T:
    """Read an element into a dataclass.

    Parameters
    ----------
    element
        The element; its name must be `name`.
    class_
        The dataclass to make.
    name
        Local name of the element, and the beginning of every path in error messages.
    aliases
        Other names for children of this element: `{"old name": "field"}`.

    Raises
    ------
    MalformedMessageError
        If a value is missing, is not of its type, or is out of range, or if the dataclass refuses the whole.
    """
    found = _local_name(element)
    if found != name:
        raise MalformedMessageError(f"root element is {found[:_SHOWN_CHARACTERS]!r}, not {name!r}")
    return _read(element, class_, name, aliases or {})


def _local_name(element: Element) -> str:
    """Give an element's name without its namespace; comments have none."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _read(element: Element, class_: type[T], path: str, aliases: Mapping[str, str]) -> T:
    children: dict[str, list[Element]] = {}
    for child in element:
        name = _local_name(child)
        children.setdefault(aliases.get(name, name), []).append(child)
    values: dict[str, Any] = {}
    plan: tuple[_Field, ...] = _plan(class_)  # type: ignore[arg-type]  # classes are hashable, mypy wonders about T
    for field in plan:
        found = children.get(field.name)
        where = f"{path}.{field.name}"
        if field.is_tuple:
            values[field.name] = tuple(field.read(child, f"{where}[{i}]") for i, child in enumerate(found or ()))
        elif found is not None:
            values[field.name] = field.read(found[0], where)
        elif field.is_required:
            raise MalformedMessageError(f"{where} is missing")
    try:
        return class_(**values)
    except MalformedMessageError as error:
        raise MalformedMessageError(f"{path}: {error}") from error


class _Field(NamedTuple):
    """How one field of a dataclass is read."""

    name: str
    read: Callable[[Element, str], Any]
    is_tuple: bool
    is_required: bool


@lru_cache(maxsize=64)
def _plan(class_: Any) -> tuple[_Field, ...]:
    hints = get_type_hints(class_, include_extras=True)
    plan = []
    for field in fields(class_):
        hint = hints[field.name]
        is_tuple = get_origin(hint) is tuple
        if is_tuple:
            hint = get_args(hint)[0]
        elif get_origin(hint) is not Annotated and NoneType in get_args(hint):
            (hint,) = (part for part in get_args(hint) if part is not NoneType)
        is_required = field.default is MISSING and field.default_factory is MISSING
        plan.append(_Field(field.name, _reader(hint), is_tuple, is_required))
    return tuple(plan)


def _reader(hint: Any) -> Callable[[Element, str], Any]:
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda element, path: _read(element, hint, path, {})
    base, extra = (get_args(hint)[0], get_args(hint)[1]) if get_origin(hint) is Annotated else (hint, None)
    if base is str:
        convert = extra or str
        return lambda element, _path: convert((element.text or "").strip())
    if base is int:
        return lambda element, path: _integer((element.text or "").strip(), path, extra or INT64)
    if base is float:
        return lambda element, path: _number((element.text or "").strip(), path, extra)
    raise TypeError(f"no way to read {hint!r}")


def _integer(text: str, path: str, allowed: Range) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise MalformedMessageError(f"{path} ({text[:_SHOWN_CHARACTERS]!r}) is not an integer")
    value = int(text)
    if not allowed.minimum <= value <= allowed.maximum:
        raise MalformedMessageError(f"{path} ({value}) is not in {allowed.minimum} to {allowed.maximum}")
    return value


def _number(text: str, path: str, allowed: Range | None) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise MalformedMessageError(f"{path} ({text[:_SHOWN_CHARACTERS]!r}) is not a finite number")
    if allowed is not None and not allowed.minimum <= value <= allowed.maximum:
        raise MalformedMessageError(f"{path} ({value:g}) is not in {allowed.minimum:g} to {allowed.maximum:g}")
    return value
