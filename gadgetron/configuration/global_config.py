"""gadgetron.xml: what holds for the whole server. Who writes it is trusted; no client ever sends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gadgetron.configuration.parse import problems_text
from gadgetron.configuration.parse_v1 import child_text
from gadgetron.configuration.schema import normalize, schema_errors
from gadgetron.configuration.search import read_file
from gadgetron.configuration.xml_safe import local_name, parse_xml
from gadgetron.errors import ConfigurationError, UnknownClassError
from gadgetron.foreign.settings import CommandSettings, ForeignSettings, LanguageSettings
from gadgetron.limits import LIMITS
from gadgetron.loader import check_prefix

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ROOT = "gadgetronConfiguration"
IGNORED = {
    "cloudBus": "distributing work through a relay is not part of this server",
    "rest": "this server has no REST interface: nothing on the network can stop it",
}


@dataclass(frozen=True)
class GlobalConfiguration:
    """The contents of gadgetron.xml; without one, the defaults.

    Attributes
    ----------
    port
        TCP port, or None where the file does not say.
    global_parameters
        (name, value) of properties that are set on every gadget that declares them, after its own.
    allowed_prefixes
        Module prefixes, besides the built-in ones, below which classes may be loaded.
    aliases
        Names that clients ask for, and the file each of them gets.
    external_hosts
        Hosts, besides loopback, that a configuration may connect to.
    default_configuration
        Configuration for clients that name none; None where the file does not say.
    clients
        Names of the clients that are served, where their protocol has names; empty for all.
    notices
        What the file has that has no effect here, in words.
    languages, commands
        How foreign modules of a type are started, and programs that configurations may start, by name.
    """

    port: int | None = None
    global_parameters: tuple[tuple[str, str], ...] = ()
    allowed_prefixes: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    external_hosts: tuple[str, ...] = ()
    default_configuration: str | None = None
    clients: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    languages: tuple[tuple[str, LanguageSettings], ...] = ()
    commands: tuple[tuple[str, CommandSettings], ...] = ()

    @property
    def foreign(self) -> ForeignSettings:
        """What holds for foreign modules."""
        return ForeignSettings(self.external_hosts, self.languages, self.commands)


def load_global_configuration(path: Path | None) -> GlobalConfiguration:
    """Read gadgetron.xml; None gives the defaults.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or is not valid; everything wrong with it at once.
    """
    if path is None:
        return GlobalConfiguration()
    return parse_global_configuration(read_file(path, path.name), path.name)


def parse_global_configuration(xml: bytes, source: str) -> GlobalConfiguration:
    """Parse the document.

    Raises
    ------
    ConfigurationError
        As `load_global_configuration`.
    """
    root = parse_xml(xml, max_bytes=LIMITS.max_config_bytes, what=source)
    if local_name(root) != ROOT:
        raise ConfigurationError(f"{source}: the root element is <{local_name(root)[:80]}>, expected <{ROOT}>")
    problems = schema_errors(normalize(root))
    if problems:
        raise ConfigurationError(problems_text(source, problems))
    prefixes = [prefix.removesuffix(".") for prefix in _texts(root, "allowedPrefix")]
    for prefix in prefixes:
        try:
            check_prefix(prefix)
        except UnknownClassError as err:
            problems.append(str(err))
    if problems:
        raise ConfigurationError(problems_text(source, problems))
    port = child_text(root, "port")
    return GlobalConfiguration(
        port=int(port) if port is not None else None,
        global_parameters=_pairs(root, "globalGadgetParameter", "value"),
        allowed_prefixes=tuple(prefixes),
        aliases=_pairs(root, "configurationAlias", "file"),
        external_hosts=tuple(_texts(root, "externalHost")),
        default_configuration=child_text(root, "defaultConfiguration"),
        clients=tuple(_texts(root, "client")),
        languages=tuple(_language(child) for child in root if local_name(child) == "externalLanguage"),
        commands=tuple(_command(child) for child in root if local_name(child) == "externalCommand"),
        notices=tuple(
            f"{source}: <{name}> has no effect: {reason}"
            for name, reason in IGNORED.items()
            if child_text(root, name) is not None
        ),
    )


def _language(element: Element) -> tuple[str, LanguageSettings]:
    timeout = child_text(element, "timeout")
    settings = LanguageSettings(
        executable=child_text(element, "executable"),
        working_folder=child_text(element, "workingFolder"),
        environment=_pairs(element, "environment", "value"),
        timeout_s=None if timeout is None else float(timeout),
    )
    return (child_text(element, "type") or "").lower(), settings


def _command(element: Element) -> tuple[str, CommandSettings]:
    arguments = tuple(_texts(element, "argument"))
    return child_text(element, "name") or "", CommandSettings(child_text(element, "executable") or "", arguments)


def _texts(root: Element, name: str) -> list[str]:
    return [(child.text or "").strip() for child in root if local_name(child) == name]


def _pairs(root: Element, name: str, value: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (child_text(child, "name") or "", child_text(child, value) or "") for child in root if local_name(child) == name
    )
