"""What gadgetron_info and gadgetron_validate share: where configurations and classes are looked for."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

from gadgetron.configuration.global_config import GlobalConfiguration, load_global_configuration
from gadgetron.configuration.search import ConfigurationSearch, read_file
from gadgetron.errors import ConfigurationError
from gadgetron.loader import Loader


@dataclass(frozen=True)
class Lookup:
    """Where things are found, as the daemon would find them with the same options and environment."""

    search: ConfigurationSearch
    loader: Loader
    global_configuration: GlobalConfiguration

    def read(self, target: str) -> tuple[str, bytes]:
        """Give a configuration's name and document: a file of that path, or what a client gets by that name.

        Raises
        ------
        ConfigurationError
            If there is neither.
        """
        path = Path(target)
        if path.is_file():
            return path.name, read_file(path, path.name)
        if path.is_absolute() or target.startswith("."):
            raise ConfigurationError(f"there is no file {target}")
        return target, read_file(self.search.find(target), target)


def add_lookup_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where to look; they mean what they mean to the daemon."""
    group = parser.add_argument_group("where to look, as for the daemon")
    group.add_argument("--config-dir", type=Path, metavar="DIR", help="look here first [GADGETRON_CONFIG_DIR]")
    group.add_argument("-G", "--home", type=Path, metavar="DIR", help="home, with config/ in it [GADGETRON_HOME]")
    group.add_argument(
        "--allow", action="append", default=[], metavar="PREFIX", help="also load classes below PREFIX (repeatable)"
    )


def make_lookup(options: argparse.Namespace) -> Lookup:
    """Set up the search from the command line, the environment, and gadgetron.xml.

    Raises
    ------
    ConfigurationError
        If gadgetron.xml is not valid, or a prefix is none.
    """
    environment = dict(os.environ)
    if options.home is not None:
        environment["GADGETRON_HOME"] = str(options.home)
    config_dir = options.config_dir or environment.get("GADGETRON_CONFIG_DIR")
    search = ConfigurationSearch(config_dir=Path(config_dir) if config_dir else None, environment=environment)
    global_configuration = load_global_configuration(search.global_file())
    return Lookup(
        search=replace(search, aliases=dict(global_configuration.aliases)),
        loader=Loader([*global_configuration.allowed_prefixes, *options.allow]),
        global_configuration=global_configuration,
    )
