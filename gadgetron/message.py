"""Messages: blocks that are chained, the objects they hold, and what they weigh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from gadgetron.message_types import Array, alternatives, fits

if TYPE_CHECKING:
    from gadgetron.header import IsmrmrdHeader

__all__ = [
    "Array",
    "Container",
    "GadgetContainerMessage",
    "GadgetMessageIdentifier",
    "MessageBlock",
    "MessageKind",
    "ParametersMessage",
    "as_container_message",
    "blocks",
    "close_message",
    "config_message",
    "make_message",
]

T = TypeVar("T")

BLOCK_OVERHEAD_BYTES = 512  # header structures, the Python objects themselves; an estimate on the safe side


class MessageKind(Enum):
    """What a message is for: the everyday DATA, parameters for every gadget, or the end."""

    DATA = 0
    CONFIG = 1
    CLOSE = 2


class MessageBlock:
    """What travels between gadgets. `cont` links the next block, so one message can carry several arguments.

    The sender gives a message away: after `putq` it may not touch it, not even to read a header. Who keeps an array
    copies it.
    """

    __slots__ = ("cont", "kind")

    def __init__(self, kind: MessageKind = MessageKind.DATA, cont: MessageBlock | None = None) -> None:
        self.kind = kind
        self.cont = cont

    @property
    def own_nbytes(self) -> int:
        """Memory this block alone keeps alive [bytes]."""
        return BLOCK_OVERHEAD_BYTES

    @property
    def nbytes(self) -> int:
        """Memory the whole chain keeps alive [bytes]."""
        total = self.own_nbytes
        block = self.cont
        while block is not None:
            total += block.own_nbytes
            block = block.cont
        return total

    def release(self) -> None:
        """Drop this block's chain. Not needed in Python, where the last reference frees; there for translated code."""
        self.cont = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind.name}>"


class GadgetContainerMessage(MessageBlock, Generic[T]):
    """A block that holds one Python object.

    Parameters
    ----------
    obj
        The object: a header, an array, a bucket, anything.
    cont
        The next block, if any.
    """

    __slots__ = ("_nbytes", "_object")

    def __init__(self, obj: T, cont: MessageBlock | None = None) -> None:
        self.kind = MessageKind.DATA
        self.cont = cont
        self._object = obj
        self._nbytes = -1

    @property
    def object(self) -> T:  # the contract's name for it
        """The object this block holds; may be replaced by one of another type."""
        return self._object

    @object.setter
    def object(self, obj: Any) -> None:
        self._object = obj
        self._nbytes = -1

    def get_object_ptr(self) -> T:
        """Give the object, by the name that the C++ Gadgetron has for it."""
        return self._object

    @property
    def own_nbytes(self) -> int:
        """Memory this block alone keeps alive [bytes]; for an array, the memory it is a view of."""
        if self._nbytes >= 0:
            return self._nbytes
        obj = self._object
        if isinstance(obj, np.ndarray):
            self._nbytes = BLOCK_OVERHEAD_BYTES + kept_alive_nbytes(obj)
            return self._nbytes
        size = getattr(obj, "nbytes", None)  # asked again each time: buckets and buffers grow
        return BLOCK_OVERHEAD_BYTES + (size if isinstance(size, int) else 0)

    def charge(self, n_bytes: int) -> None:
        """Set what this block weighs, where the one who made it knows better than its object's `nbytes`.

        Readers use it for views of a shared receive block: each message is charged its own part, all of them together
        the whole block. Replacing the object forgets it.
        """
        self._nbytes = n_bytes

    def __repr__(self) -> str:
        obj = self._object
        text = f"Array{obj.shape} {obj.dtype}" if isinstance(obj, np.ndarray) else type(obj).__name__
        return f"<{type(self).__name__} {text}{' …' if self.cont is not None else ''}>"


Container = GadgetContainerMessage


def kept_alive_nbytes(array: np.ndarray[Any, Any]) -> int:
    """Bytes that a reference to this array keeps alive: those of the array that owns the memory."""
    owner: Any = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    base = owner.base
    if isinstance(base, memoryview):
        return max(base.nbytes, int(owner.nbytes))
    return int(owner.nbytes)


class ParametersMessage(MessageBlock):
    """Parameters for every gadget: raw bytes, conventionally an ISMRMRD XML header.

    The header is parsed on demand, once per session, and shared: `parameters.header`.
    """

    __slots__ = ("__dict__", "data")

    def __init__(self, data: bytes) -> None:
        super().__init__(MessageKind.CONFIG)
        self.data = data

    @property
    def own_nbytes(self) -> int:
        """Memory of the raw bytes [bytes]."""
        return BLOCK_OVERHEAD_BYTES + len(self.data)

    @cached_property
    def text(self) -> str:
        """The parameters as text, without the trailing NUL characters that some clients count in."""
        return self.data.rstrip(b"\0").decode("utf-8", errors="replace")

    @cached_property
    def header(self) -> IsmrmrdHeader:
        """The ISMRMRD header.

        Raises
        ------
        MalformedMessageError
            If the parameters are not an ISMRMRD header.
        """
        from gadgetron.header import parse_ismrmrd_header

        return parse_ismrmrd_header(self.data)


@dataclass(slots=True)
class GadgetMessageIdentifier:
    """The first block of an output message: which writer the rest is for."""

    id: int


def make_message(first: object, *rest: object) -> GadgetContainerMessage[Any]:
    """Chain containers around objects: `make_message(header, data, meta)`."""
    cont: MessageBlock | None = None
    for obj in reversed(rest):
        cont = GadgetContainerMessage(obj, cont)
    return GadgetContainerMessage(first, cont)


def as_container_message(block: MessageBlock | None, expected: Any) -> GadgetContainerMessage[Any] | None:
    """Give the block if it holds an object of the expected type, else None.

    Parameters
    ----------
    block
        A block, or None, as `message.cont` may be.
    expected
        A class, `Array[dtype]`, a union, or `Any`.
    """
    if isinstance(block, GadgetContainerMessage) and fits(block._object, expected):
        return block
    return None


def blocks(message: MessageBlock) -> Iterator[MessageBlock]:
    """Iterate over the blocks of a message, first to last."""
    block: MessageBlock | None = message
    while block is not None:
        yield block
        block = block.cont


def close_message() -> MessageBlock:
    """Make the message that ends a stream."""
    return MessageBlock(MessageKind.CLOSE)


def config_message(data: bytes | str) -> ParametersMessage:
    """Make the message that carries parameters to every gadget."""
    return ParametersMessage(data.encode() if isinstance(data, str) else bytes(data))


def matches(message: MessageBlock, message_type: tuple[Any, ...]) -> bool:
    """Tell whether the first blocks of a message are of these types; further blocks do not matter."""
    block: MessageBlock | None = message
    for expected in message_type:
        if not isinstance(block, GadgetContainerMessage):
            return False
        obj: Any = block._object
        for class_, dtype in alternatives(expected):
            if isinstance(obj, class_) and (dtype is None or obj.dtype == dtype):  # type: ignore[attr-defined]  # an array
                break
        else:
            if alternatives(expected):
                return False
        block = block.cont
    return True
