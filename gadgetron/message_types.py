"""Types as gadgets name them: `Array[np.complex64]`, unions of types, `Any`.

A *type* here is what a gadget writes between the brackets of `Gadget2[...]`; a *message type* is a tuple of types, one
for each block of a message. Both are compared when a message arrives, and when a chain is checked before data arrives.
"""

from __future__ import annotations

import types
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, get_args, get_origin

import numpy as np

Scalar = TypeVar("Scalar", bound=np.generic)

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Scalar]]
else:

    class Array(Generic[Scalar]):
        """A numpy array of one data type, in type arguments only: `Array[np.complex64]`; `Array[Any]` is any array."""


TypeArgument = Any  # a class, Array[dtype], a union of them, or Any
MessageType = tuple[TypeArgument, ...]


@lru_cache(maxsize=1024)
def alternatives(type_argument: TypeArgument) -> tuple[tuple[type, Any], ...]:
    """Flatten a type argument into (class, dtype or None) pairs; an empty tuple means anything fits."""
    if type_argument is Any:
        return ()
    origin: Any = get_origin(type_argument)
    if origin in (Union, types.UnionType):
        parts = [alternatives(part) for part in get_args(type_argument)]
        return () if any(not part for part in parts) else tuple(pair for part in parts for pair in part)
    if origin is Array or origin is np.ndarray or type_argument is Array:
        dtype = _array_dtype(type_argument)
        return ((np.ndarray, dtype),)
    if isinstance(origin, type):
        return ((origin, None),)
    if isinstance(type_argument, type):
        return ((type_argument, None),)
    raise TypeError(f"{type_argument!r} cannot be used as the type of a message block")


def _array_dtype(type_argument: TypeArgument) -> np.dtype[Any] | None:
    arguments = get_args(type_argument)
    if not arguments or isinstance(arguments[-1], TypeVar) or arguments[-1] is Any:
        return None
    last: Any = arguments[-1]
    if get_origin(last) is np.dtype:  # NDArray[T] spelled out: ndarray[shape, dtype[T]]
        last = get_args(last)[0]
        if last is Any or isinstance(last, TypeVar):
            return None
    dtype: np.dtype[Any] = np.dtype(last)
    return dtype


def fits(value: object, type_argument: TypeArgument) -> bool:
    """Tell whether an object is of a type argument's type."""
    pairs = alternatives(type_argument)
    if not pairs:
        return True
    for class_, dtype in pairs:
        if isinstance(value, class_) and (dtype is None or value.dtype == dtype):  # type: ignore[attr-defined]  # an ndarray
            return True
    return False


def may_fit(emitted: TypeArgument, accepted: TypeArgument) -> bool:
    """Tell whether some object of the one type is also of the other type: the check of a chain before data arrives."""
    left, right = alternatives(emitted), alternatives(accepted)
    if not left or not right:
        return True
    return any(
        (issubclass(a, b) or issubclass(b, a)) and (a_dtype is None or b_dtype is None or a_dtype == b_dtype)
        for a, a_dtype in left
        for b, b_dtype in right
    )


def message_may_fit(emitted: MessageType, accepted: MessageType) -> bool:
    """Tell whether a message of one type can be taken by who accepts the other; further blocks travel along."""
    if len(emitted) < len(accepted):
        return False
    return all(may_fit(a, b) for a, b in zip(emitted, accepted, strict=False))


def type_name(type_argument: TypeArgument) -> str:
    """Give a type argument's name for people: `AcquisitionHeader`, `Array[complex64]`, `A | B`, `any`."""
    pairs = alternatives(type_argument)
    if not pairs:
        return "any"
    return " | ".join(
        (f"Array[{dtype.name}]" if dtype is not None else "Array") if class_ is np.ndarray else class_.__name__
        for class_, dtype in pairs
    )


def message_type_name(message_type: MessageType) -> str:
    """Give a message type's name for people: `AcquisitionHeader + Array[complex64]`."""
    return " + ".join(type_name(part) for part in message_type)
