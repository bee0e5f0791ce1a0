"""From names in a configuration to classes: only below allowed module prefixes, and only of the right kind.

A configuration may come from a client, so a name is checked before anything is imported for it, and what was imported
is checked again: the class must be defined below an allowed prefix, and be a gadget, a reader or a writer.
"""

from __future__ import annotations

import importlib
import keyword
import re
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from gadgetron.errors import UnknownClassError
from gadgetron.gadget import Gadget
from gadgetron.libraries import CLASS_ALIASES, LIBRARIES, class_index
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.property_types import nearest_name, quoted

DEFAULT_PREFIXES = ("gadgets", "readers_writers", "gadgetron.examples")
ENTRY_POINT_GROUP = "gadgetron.gadgets"
MAX_NAME_CHARACTERS = 256

_KINDS: dict[type, str] = {
    Gadget: "gadget",
    GadgetMessageReader: "reader",
    GadgetMessageWriter: "writer",
}
_PART = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)

T = TypeVar("T")


class Loader:
    """Finds the classes that configurations name. Shared by all sessions; any thread may call it.

    Parameters
    ----------
    allowed_prefixes
        Module prefixes besides `DEFAULT_PREFIXES` and the installed entry points: `my_package` allows `my_package` and
        everything below it, not `my_packages`.
    """

    def __init__(self, allowed_prefixes: Iterable[str] = ()) -> None:
        own = tuple(prefix.removesuffix(".") for prefix in allowed_prefixes)
        for prefix in own:
            check_prefix(prefix)
        self._prefixes = (*DEFAULT_PREFIXES, *own)
        self._lock = threading.Lock()  # guards the next
        self._loaded: dict[tuple[type, str, str], type] = {}

    @property
    def allowed_prefixes(self) -> tuple[str, ...]:
        """All prefixes below which classes may be loaded, those of entry points included."""
        return (*self._prefixes, *(prefix for prefix in _entry_points().values() if prefix not in self._prefixes))

    def load_gadget(self, dll: str, classname: str) -> type[Gadget]:
        """Give a gadget's class.

        Parameters
        ----------
        dll
            A historical library name, a Python module, or an entry point's name. Ignored if `classname` has dots.
        classname
            A class's name, or the dotted path of one.

        Raises
        ------
        UnknownClassError
            If the name is not allowed (says which setting would allow it), there is no such class, or it is no gadget.
        """
        return self._load(Gadget, dll, classname)

    def load_reader(self, dll: str, classname: str) -> type[GadgetMessageReader]:
        """Give a reader's class; as `load_gadget`."""
        return self._load(GadgetMessageReader, dll, classname)

    def load_writer(self, dll: str, classname: str) -> type[GadgetMessageWriter]:
        """Give a writer's class; as `load_gadget`."""
        return self._load(GadgetMessageWriter, dll, classname)

    def _load(self, base: type[T], dll: str, classname: str) -> type[T]:
        key = (base, "" if "." in classname else dll, classname)  # a client must not fill the memory with its dlls
        with self._lock:
            known = self._loaded.get(key)
        if known is not None:
            return known
        found = self._find(base, dll.strip(), classname.strip())
        with self._lock:
            self._loaded[key] = found
        return found

    def _find(self, base: type[T], dll: str, classname: str) -> type[T]:
        module, _, name = classname.rpartition(".")
        shown = f"{_KINDS[base]} {quoted(classname)}"
        _check_name(classname, shown)
        if module:
            return self._import(base, module, name, shown)
        if not dll:
            raise UnknownClassError(
                f"{shown}: a name without dots needs a <dll>, a library or a module to look it up in"
            )
        shown += f" of {quoted(dll)}"
        if dll in LIBRARIES:
            return self._from_library(base, dll, name, shown)
        _check_name(dll, shown)
        module = _entry_points().get(dll, dll)
        if module == dll and "." not in dll and not self._is_allowed(dll):
            near = nearest_name(dll, LIBRARIES)
            hint = f"did you mean {near}?" if near else _how_to_allow(dll)
            raise UnknownClassError(f"{shown}: neither a known library nor an allowed module: {hint}")
        return self._import(base, module, name, shown)

    def _from_library(self, base: type[T], dll: str, name: str, shown: str) -> type[T]:
        """Look a name up in the packages that stand for a historical library."""
        index: dict[str, str] = {}
        for package in LIBRARIES[dll]:
            index |= class_index(package)
        for candidate in (name, CLASS_ALIASES.get(name, name)):
            if candidate in index:
                return self._import(base, index[candidate], candidate, shown)
        known = [*index, *(alias for alias, meant in CLASS_ALIASES.items() if meant in index)]
        near = nearest_name(name, known, ending="Gadget")
        hint = f"; did you mean {near}?" if near else ""
        raise UnknownClassError(f"{shown}: there is no such class{hint}")

    def _import(self, base: type[T], module: str, name: str, shown: str) -> type[T]:
        if not self._is_allowed(module):
            raise UnknownClassError(
                f"{shown}: module {quoted(module)} is not below an allowed prefix: {_how_to_allow(module)}"
            )
        found = getattr(_imported(module, shown), name, None)
        if found is None:
            near = nearest_name(name, class_index(module), ending="Gadget")
            raise UnknownClassError(f"{shown}: there is no such class{f'; did you mean {near}?' if near else ''}")
        if not isinstance(found, type) or not issubclass(found, base):
            raise UnknownClassError(f"{shown}: it is not a {_KINDS[base]} (a subclass of {base.__name__})")
        if base is not Gadget and not hasattr(found, "slot"):
            raise UnknownClassError(f"{shown}: it has no slot, so it is a base class and no {_KINDS[base]} of its own")
        if not self._is_allowed(found.__module__):
            raise UnknownClassError(
                f"{shown}: it is defined outside the allowed prefixes: {_how_to_allow(found.__module__)}"
            )
        return found

    def _is_allowed(self, module: str) -> bool:
        return is_below(module, self._prefixes) or is_below(module, _entry_points().values())


def is_below(module: str, prefixes: Iterable[str]) -> bool:
    """Tell whether a module is one of the prefixes or lies below one: whole parts between dots are compared."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def _how_to_allow(module: str) -> str:
    """Name the settings that would allow a module."""
    return f"--allow {module.partition('.')[0]}, or <allowedPrefix> in gadgetron.xml, would allow it"


def check_prefix(prefix: str) -> None:
    """Refuse what is no module prefix.

    Raises
    ------
    UnknownClassError
        If it is not dotted names of letters, digits and underscores.
    """
    _check_name(prefix, f"allowed prefix {quoted(prefix)}")


def _check_name(name: str, shown: str) -> None:
    if len(name) > MAX_NAME_CHARACTERS:
        raise UnknownClassError(f"{shown}: {len(name)} characters, the limit is {MAX_NAME_CHARACTERS}")
    if not all(_PART.fullmatch(part) and not keyword.iskeyword(part) for part in name.split(".")):
        raise UnknownClassError(
            f"{shown}: not a name that can be loaded; expected names of letters, digits and underscores, "
            "the first a letter, with dots between them"
        )


def _imported(module: str, shown: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        missing = err.name or ""
        if is_below(module, (missing,)):
            raise UnknownClassError(f"{shown}: there is no module {missing}") from err
        raise UnknownClassError(f"{shown}: its module {module} needs {missing}, which is not installed") from err
    except (Exception, SystemExit) as err:  # foreign code runs: anything may happen, and its text may hold a path
        raise UnknownClassError(f"{shown}: importing {module} failed with {type(err).__name__}") from err


@cache
def _entry_points() -> Mapping[str, str]:
    """Name and module of what installed packages declare in the group `gadgetron.gadgets`."""
    return {point.name: point.module for point in entry_points(group=ENTRY_POINT_GROUP)}
