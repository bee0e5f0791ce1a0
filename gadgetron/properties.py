"""Properties of gadgets: declared on the class, typed, with default, limits and a line of documentation.

    class ScaleGadget(Gadget2[ImageHeader, Array[np.float32]]):
        factor = Property(1.0, minimum=0.0, doc="What every pixel is multiplied by.")

Inside the gadget `self.factor` is a float. In a configuration its value is text, `<value>2.5</value>`, that is parsed
and checked when the chain is built. A value `name@gadget` is a reference: the property `name` of the gadget called
`gadget`, looked up whenever it is read, so that a gadget can publish what it finds out while it runs.
"""

from __future__ import annotations

import builtins
import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from gadgetron.errors import PropertyError
from gadgetron.property_types import as_text, enum_names, expected_text, nearest_name, parse_item, quoted, value_type

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget

__all__ = [
    "Property",
    "Reference",
    "apply_properties",
    "declared_properties",
    "find_property",
    "nearest_name",
    "parse_reference",
    "property_text",
    "set_property",
    "undeclared_properties",
]

T = TypeVar("T")

MAX_VALUE_CHARACTERS = 64 * 1024

_REFERENCE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]{0,127})@(\S(?:.{0,254}\S)?)\s*")


@dataclass(frozen=True)
class Reference:
    """A value that is another gadget's property: `property_name@gadget_name` in a configuration."""

    property_name: str
    gadget_name: str

    def __str__(self) -> str:
        return f"{self.property_name}@{self.gadget_name}"


class Property(Generic[T]):
    """A property of a gadget class; on an instance, reading it gives a value of type T.

    Parameters
    ----------
    default
        Value when nothing is configured. Its type is the property's type, unless `type` says otherwise.
    type
        bool, int, float, str, an Enum class, or `list[int]`, `list[float]`, `list[str]`.
    doc
        One sentence for people; shown by gadgetron_info.
    minimum, maximum
        Allowed range, both ends included; for a list, of every item.
    choices
        The only values allowed; for a list, for every item.
    aliases
        Other names that configurations may use.
    folder
        The value names a folder. A relative one lies in the working directory; one that a client sent may not leave
        it.
    """

    name: str = ""

    def __init__(
        self,
        default: T,
        *,
        type: Any = None,  # noqa: A002  what a declaration reads best with
        doc: str = "",
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Iterable[object] | None = None,
        aliases: Iterable[str] = (),
        folder: bool = False,
    ) -> None:
        self.default = default
        self.type, self.is_list = value_type(default, type)
        self.doc = doc
        self.minimum = minimum
        self.maximum = maximum
        self.choices = None if choices is None else tuple(choices)
        self.aliases = tuple(aliases)
        self.folder = folder

    def __set_name__(self, owner: builtins.type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: builtins.type) -> Property[T]: ...

    @overload
    def __get__(self, instance: object, owner: builtins.type | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: builtins.type | None = None) -> Property[T] | T:
        if instance is None:
            return self
        stored = instance.__dict__.get(self.name, self.default)
        if isinstance(stored, Reference):
            return self._resolve(instance, stored)
        return cast("T", list(stored) if self.is_list else stored)

    def __set__(self, instance: object, value: T) -> None:
        """Set a value of the property's own type, from Python code; it is checked as a configured one is."""
        items: list[Any] = list(cast("Iterable[Any]", value)) if self.is_list else [value]
        items = [self._checked(self._converted(item)) for item in items]
        instance.__dict__[self.name] = items if self.is_list else items[0]

    @property
    def type_name(self) -> str:
        """The type as documentation shows it: `int`, `list of float`, `a | b | c` for an Enum."""
        if issubclass(self.type, enum.Enum):
            return " | ".join(enum_names(self.type))
        name = "folder" if self.folder else self.type.__name__
        return f"list of {name}" if self.is_list else name

    @property
    def limits_text(self) -> str:
        """The limits as documentation shows them; empty if there are none."""
        if self.choices is not None:
            return "one of " + ", ".join(as_text(choice) or '""' for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        return "" if self.maximum is None else f"at most {self.maximum:g}"

    @property
    def default_text(self) -> str:
        """The default as one would write it in a configuration."""
        return as_text(self.default)

    def parse(self, text: str) -> T:
        """Give the value that a configuration's text stands for.

        Raises
        ------
        PropertyError
            If the text is not a value of the property's type, or outside its limits. The caller adds the gadget's name.
        """
        if len(text) > MAX_VALUE_CHARACTERS:
            raise PropertyError(f"property {self.name} has {len(text)} characters, the limit is {MAX_VALUE_CHARACTERS}")
        if not self.is_list:
            return cast("T", self._checked(self._parse_item(text)))
        return cast("T", [self._checked(self._parse_item(part)) for part in re.split(r"[\s,]+", text) if part])

    def _parse_item(self, text: str) -> Any:
        if self.type is str:
            return text.strip() if self.folder else text
        try:
            return parse_item(self.type, text.strip())
        except ValueError:
            raise PropertyError(
                f"property {self.name} is {quoted(text.strip())}: expected {expected_text(self.type)}"
            ) from None

    def _converted(self, value: Any) -> Any:
        """Give a Python value as one of the property's type, where nothing is lost by it."""
        if isinstance(value, self.type) and not (self.type is int and isinstance(value, bool)):
            return value
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return self._parse_item(value if isinstance(value, str) else as_text(value))

    def _checked(self, value: Any) -> Any:
        if self.choices is not None and value not in self.choices:
            raise PropertyError(f"property {self.name} is {quoted(as_text(value))}: expected {self.limits_text}")
        # Written so that a NaN fails, too.
        too_small = self.minimum is not None and not value >= self.minimum
        too_large = self.maximum is not None and not value <= self.maximum
        if too_small or too_large:
            raise PropertyError(f"property {self.name} is {as_text(value)}: the limit is {self.limits_text}")
        return value

    def _resolve(self, instance: object, reference: Reference) -> T:
        """Follow a reference, from gadget to gadget, to a value."""
        seen = {(id(instance), self.name)}
        gadget: Any = instance
        while True:
            target = gadget.controller.find_gadget(reference.gadget_name)
            if target is None:
                raise PropertyError(f"property {self.name}: no gadget is called {quoted(reference.gadget_name)}")
            found = find_property(type(target), reference.property_name)
            name = found.name if found is not None else reference.property_name
            if (id(target), name) in seen:
                raise PropertyError(
                    f"property {self.name}: the reference {quoted(str(reference))} leads back to itself"
                )
            seen.add((id(target), name))
            values: Mapping[str, Any] = target.__dict__ if found is not None else undeclared_properties(target)
            if found is None and name not in values:
                raise PropertyError(
                    f"property {self.name}: gadget {reference.gadget_name} has no property {quoted(name)}"
                )
            value = values[name] if found is None else values.get(name, found.default)
            if found is None:
                value = parse_reference(value) or value
            if not isinstance(value, Reference):
                text = as_text(value)
                same = found is not None and (found.type, found.is_list) == (self.type, self.is_list)
                return cast("T", (list(value) if self.is_list else value) if same else self.parse(text))
            gadget, reference = target, value


def declared_properties(cls: type) -> Mapping[str, Property[Any]]:
    """Give a gadget class's properties by name: in declaration order, those of its base classes first."""
    return _declared(cls)


@lru_cache(maxsize=1024)
def _declared(cls: type) -> Mapping[str, Property[Any]]:
    found: dict[str, Property[Any]] = {}
    for base in reversed(cls.__mro__):
        found |= {name: value for name, value in vars(base).items() if isinstance(value, Property)}
    return found


def find_property(cls: type, name: str) -> Property[Any] | None:
    """Give the property that a configuration means by a name: declared, an alias, or a known misspelling; else None."""
    declared = _declared(cls)
    found = declared.get(name) or declared.get(getattr(cls, "property_aliases", {}).get(name, ""))
    if found is None:
        found = next((candidate for candidate in declared.values() if name in candidate.aliases), None)
    return found


def undeclared_properties(gadget: object) -> dict[str, str]:
    """Give what was configured on a gadget that `accepts_any_property` under names that it does not declare."""
    values: dict[str, str] = gadget.__dict__.setdefault("_undeclared_properties", {})
    return values


def parse_reference(text: str) -> Reference | None:
    """Give the reference that a configured value is, or None if it is a plain value."""
    match = _REFERENCE.fullmatch(text)
    return Reference(match[1], match[2]) if match else None


def parse_value(cls: type, name: str, text: str) -> tuple[Property[Any] | None, Any]:
    """Give the property that a name means for a gadget class, and the value, or Reference, that a text stands for.

    The property is None where the class accepts any property and does not declare this one.

    Raises
    ------
    PropertyError
        If the class knows no such property, or the value is not one for it.
    """
    found = find_property(cls, name)
    reference = parse_reference(text)
    if found is not None:
        return found, reference or found.parse(text)
    if getattr(cls, "accepts_any_property", False):
        if len(text) > MAX_VALUE_CHARACTERS:
            raise PropertyError(
                f"property {quoted(name)} has {len(text)} characters, the limit is {MAX_VALUE_CHARACTERS}"
            )
        return None, reference or text
    near = nearest_name(name, _declared(cls))
    hint = f"did you mean {near}?" if near else f"it has {', '.join(_declared(cls)) or 'none'}"
    raise PropertyError(f"unknown property {quoted(name)}: {hint}")


def set_property(
    gadget: Gadget, name: str, value: object, *, working_directory: Path | None = None, from_client: bool = False
) -> None:
    """Set a property of a gadget, by any of the names that a configuration may use.

    Parameters
    ----------
    value
        A configuration's text; from Python code also a value of the property's own type.
    working_directory
        Where relative folders lie; None leaves them as they are written.
    from_client
        The text came over the wire: a folder that is not below the working directory is refused.

    Raises
    ------
    PropertyError
        If the name is unknown (with the nearest known one), or the value is of the wrong type or out of range.
    """
    cls = type(gadget)
    try:
        found, parsed = parse_value(cls, name, value if isinstance(value, str) else as_text(value))
        if found is not None and found.folder and isinstance(parsed, str):
            parsed = resolve_folder(found.name, parsed, working_directory, from_client=from_client)
    except PropertyError as err:
        raise PropertyError(f"gadget {getattr(gadget, 'name', '') or cls.__name__}: {err}") from err
    if found is None:
        undeclared_properties(gadget)[name] = str(parsed)
    else:
        gadget.__dict__[found.name] = parsed
        if name in getattr(cls, "property_aliases", {}):
            gadget.log.warning("property.misspelt", property=name, means=found.name)


def apply_properties(
    gadget: Gadget,
    properties: Iterable[tuple[str, str]],
    global_parameters: Iterable[tuple[str, str]] = (),
    *,
    working_directory: Path | None = None,
    from_client: bool = False,
) -> None:
    """Set what a configuration says about a gadget, then the global parameters that the gadget declares; these win.

    Raises
    ------
    PropertyError
        For the first property that cannot be set; `gadgetron.configuration.validate` finds all of them beforehand.
    """
    for name, text in properties:
        set_property(gadget, name, text, working_directory=working_directory, from_client=from_client)
    for name, text in global_parameters:
        if find_property(type(gadget), name) is not None:
            set_property(gadget, name, text, working_directory=working_directory)


def resolve_folder(name: str, value: str, working_directory: Path | None, *, from_client: bool) -> str:
    """Give the folder that a configured value names, an absolute path if the working directory is known.

    Raises
    ------
    PropertyError
        If a client's value leaves the working directory: absolute, through `..`, or through a link.
    """
    if not value:
        return value
    if "\0" in value:
        raise PropertyError(f"property {name}: a folder's name cannot hold a NUL character")
    if from_client and (Path(value).is_absolute() or ".." in Path(value).parts):
        raise PropertyError(f"property {name} is {quoted(value)}: expected a folder below the working directory")
    if working_directory is None:
        return value
    folder = working_directory / value
    if from_client and not folder.resolve().is_relative_to(working_directory.resolve()):
        raise PropertyError(f"property {name} is {quoted(value)}: expected a folder below the working directory")
    return str(folder)


def property_text(gadget: Gadget, name: str) -> str | None:
    """Give the current value of a declared or undeclared property as text; None if there is none of that name."""
    found = find_property(type(gadget), name)
    if found is not None:
        return as_text(getattr(gadget, found.name))
    return undeclared_text(gadget, name)


def undeclared_text(gadget: Gadget, name: str) -> str | None:
    """Give the current value of an undeclared property as text; None if there is none of that name."""
    text = undeclared_properties(gadget).get(name)
    reference = parse_reference(text) if text is not None else None
    if reference is None:
        return text
    free = Property("")
    free.name = name
    return free._resolve(gadget, reference)
