"""Configurations: what an XML file says about a chain, checked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gadgetron.configuration.model import ComponentSpec as ComponentSpec
    from gadgetron.configuration.model import GadgetSpec as GadgetSpec
    from gadgetron.configuration.model import StreamConfiguration as StreamConfiguration
    from gadgetron.configuration.parse import parse_configuration as parse_configuration
    from gadgetron.configuration.search import ConfigurationSearch as ConfigurationSearch
    from gadgetron.configuration.search import load_configuration as load_configuration

_HOMES = {
    "ComponentSpec": "model",
    "ConfigurationSearch": "search",
    "GadgetSpec": "model",
    "StreamConfiguration": "model",
    "load_configuration": "search",
    "parse_configuration": "parse",
}

__all__ = [
    "ComponentSpec",
    "ConfigurationSearch",
    "GadgetSpec",
    "StreamConfiguration",
    "load_configuration",
    "parse_configuration",
]


def __getattr__(name: str) -> object:
    """Import on demand: who only needs xml_safe does not pay for the rest."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
