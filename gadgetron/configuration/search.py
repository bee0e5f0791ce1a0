"""Find a configuration by the name that a client asks for, and nothing but a configuration.

A name comes from the wire. It may be a file's name, or a path below a configuration folder with `/`. It is never an
absolute path, never leads out of the folder, neither by `..` nor through a link, and never opens anything but a regular
file whose name ends in `.xml`. Error texts reach clients: they repeat the name, and no path of the server.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from gadgetron.configuration.model import StreamConfiguration
from gadgetron.configuration.packaged import stock_folder
from gadgetron.configuration.parse import parse_configuration
from gadgetron.errors import ConfigurationError
from gadgetron.limits import LIMITS, check
from gadgetron.property_types import nearest_name, quoted

MAX_NAME_CHARACTERS = 255
GLOBAL_NAME = "gadgetron.xml"

_NAME = re.compile(
    r"[A-Za-z0-9_+@=,()][A-Za-z0-9_+@=,(). -]*(/[A-Za-z0-9_+@=,()][A-Za-z0-9_+@=,(). -]*){0,7}", re.ASCII
)


@dataclass(frozen=True)
class ConfigurationSearch:
    """Where configurations are looked for: `--config-dir`, `$GADGETRON_HOME`, the user's folder, the package.

    Parameters
    ----------
    config_dir
        Folder that is looked at first, or None.
    aliases
        Names that clients ask for, and the file each of them gets (`configurationAlias` in gadgetron.xml).
    environment
        The process's environment variables, unless a test says otherwise.
    """

    config_dir: Path | None = None
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders, in the order in which they are looked at; those that do not exist included."""
        folders = [] if self.config_dir is None else [self.config_dir]
        home = self.environment.get("GADGETRON_HOME", "")
        if home:
            folders += [Path(home, "config"), Path(home, "share", "gadgetron", "config")]
        base = self.environment.get("XDG_CONFIG_HOME", "")
        user = Path(base) if base and Path(base).is_absolute() else self._home() / ".config"
        return (*folders, user / "gadgetron", stock_folder())

    def find(self, name: str) -> Path:
        """Give the file of a configuration.

        Raises
        ------
        ConfigurationError
            If the name is not one that is allowed, or there is no such file: with the nearest name that exists.
        """
        name = self.aliases.get(name, name)
        shown = quoted(name)
        if len(name) > MAX_NAME_CHARACTERS:
            raise ConfigurationError(
                f"configuration name has {len(name)} characters, the limit is {MAX_NAME_CHARACTERS}"
            )
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"configuration name {shown} is not allowed: expected a file's name such as default.xml, "
                "of letters, digits and _ + @ = , ( ) . - /"
            )
        if not name.endswith(".xml"):
            near = f"; did you mean {name}.xml?" if f"{name}.xml" in self.names() else ""
            raise ConfigurationError(
                f"configuration name {shown} is not allowed: expected a name that ends in .xml{near}"
            )
        for folder in self.folders:
            path = self._below(folder, name)
            if path is not None:
                return path
        known = self.names()
        near_name = nearest_name(name, known)
        hint = f"did you mean {near_name}?" if near_name else f"there are {', '.join(known[:40])}"
        raise ConfigurationError(f"no configuration is called {shown}: {hint}")

    def names(self) -> list[str]:
        """Give the names of all configurations that can be found, sorted; aliases are not among them."""
        return sorted({name for folder in self.folders for name in _names_in(folder)})

    def global_file(self) -> Path | None:
        """Give the first gadgetron.xml on the way, or None."""
        for folder in self.folders:
            path = folder / GLOBAL_NAME
            if path.is_file():
                return path
        return None

    def _home(self) -> Path:
        home = self.environment.get("HOME", "")
        return Path(home) if home else Path("~").expanduser()

    def _below(self, folder: Path, name: str) -> Path | None:
        """Give the regular file of that name in a folder, or None. A link may not lead out of the folder."""
        if name == GLOBAL_NAME:
            return None
        path = folder / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return None
            root, target = folder.resolve(strict=True), path.resolve(strict=True)
        except OSError:
            return None
        return path if target.is_relative_to(root) else None


def load_configuration(name: str, search: ConfigurationSearch) -> StreamConfiguration:
    """Find, read and parse a configuration.

    Raises
    ------
    ConfigurationError
        If the name is refused or unknown, or the file is not a valid configuration; everything wrong with it at once.
    LimitExceeded
        If the file is too large.
    """
    return parse_configuration(read_file(search.find(name), name), name)


def given_configuration(given: str | Path | bytes, search: ConfigurationSearch) -> tuple[StreamConfiguration, str]:
    """Parse what the user of this process means: XML text, the path of a file, or the name of a configuration.

    For whoever runs the process; a client's names go through `load_configuration`, which opens no other path. Folders
    in a text stay below the working directory, as in one that a client sends; those in a file are the file's own.

    Returns
    -------
        The configuration, and what to call it.
    """
    if isinstance(given, bytes) or (isinstance(given, str) and given.lstrip().startswith("<")):
        data = given.encode() if isinstance(given, str) else given
        return parse_configuration(data, "the configuration given as text", from_client=True), "(text)"
    path = Path(given)
    if isinstance(given, Path) or path.is_file():
        return parse_configuration(read_file(path, path.name), path.name), path.name
    return load_configuration(given, search), given


def read_file(path: Path, name: str) -> bytes:
    """Read a configuration file, but not more of it than a configuration may have.

    Raises
    ------
    ConfigurationError
        If it cannot be read.
    LimitExceeded
        If it is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMITS.max_config_bytes + 1)
    except OSError as err:
        raise ConfigurationError(f"configuration {name} cannot be read: {err.strerror}") from err
    check(f"size of {name} in bytes", len(data), LIMITS.max_config_bytes)
    return data


def _names_in(folder: Path) -> Iterator[str]:
    """Names of the XML files in a folder and two levels below; the folder of schemas has none."""
    for pattern in ("*.xml", "*/*.xml", "*/*/*.xml"):
        try:
            yield from (
                path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.name != GLOBAL_NAME
            )
        except OSError:
            return
