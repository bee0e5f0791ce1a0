"""The Gadgetron: a streaming MRI reconstruction server.

A client sends raw k-space over a connection; a `GadgetStreamController` per connection reads it with a
`GadgetMessageReader` chosen by message id. Messages run through a chain of gadgets, active objects with a queue and a
thread each, that an XML configuration describes. What a gadget gives to `output_ready`, and what falls off the end of
the chain, is written back by a `GadgetMessageWriter`. A message only ever moves forward, and the close message moves
last. Whatever fails, fails one session, with one error that the client is told at once.

Names are imported on first use, so that `import gadgetron` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gadgetron._version import __version__

if TYPE_CHECKING:
    from gadgetron.branch import Branch, Fanout, copy_message
    from gadgetron.connector import GadgetronConnector
    from gadgetron.controller import GadgetStreamController
    from gadgetron.errors import GadgetronError
    from gadgetron.gadget import GADGET_FAIL, GADGET_OK, Gadget, Gadget1, Gadget2, Gadget3
    from gadgetron.header import parse_ismrmrd_header
    from gadgetron.in_process import reconstruct, reconstruct_iter
    from gadgetron.merge import Merge
    from gadgetron.message import (
        Container,
        GadgetContainerMessage,
        GadgetMessageIdentifier,
        MessageBlock,
        ParametersMessage,
        as_container_message,
        close_message,
        config_message,
        make_message,
    )
    from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
    from gadgetron.message_queue import MessageQueue
    from gadgetron.message_types import Array
    from gadgetron.properties import Property
    from gadgetron.server import GadgetServerAcceptor
    from gadgetron.task import Task

_MODULES = {
    "branch": ["Branch", "Fanout", "copy_message"],
    "connector": ["GadgetronConnector"],
    "controller": ["GadgetStreamController"],
    "errors": ["GadgetronError"],
    "gadget": ["GADGET_FAIL", "GADGET_OK", "Gadget", "Gadget1", "Gadget2", "Gadget3"],
    "header": ["parse_ismrmrd_header"],
    "merge": ["Merge"],
    "message": [
        "Container",
        "GadgetContainerMessage",
        "GadgetMessageIdentifier",
        "MessageBlock",
        "ParametersMessage",
        "as_container_message",
        "close_message",
        "config_message",
        "make_message",
    ],
    "message_io": ["GadgetMessageReader", "GadgetMessageWriter"],
    "message_queue": ["MessageQueue"],
    "message_types": ["Array"],
    "properties": ["Property"],
    "in_process": ["reconstruct", "reconstruct_iter"],
    "server": ["GadgetServerAcceptor"],
    "task": ["Task"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

# Names that foreign modules know from the package `gadgetron` 1.4, and where they are.
_FOREIGN = {
    "IsmrmrdDataBuffered": ("types", "ReconBuffer"),
    "IsmrmrdImageArray": ("types", "ImageArray"),
    "IsmrmrdReconBit": ("types", "ReconBit"),
    "IsmrmrdReconData": ("types", "ReconData"),
    "SamplingDescription": ("types", "SamplingDescription"),
    "SamplingLimit": ("types", "SamplingLimit"),
}
_FOREIGN_PACKAGES = ("examples", "external", "legacy", "types", "util", "version")

__all__ = [
    "GADGET_FAIL",
    "GADGET_OK",
    "Array",
    "Branch",
    "Container",
    "Fanout",
    "Gadget",
    "Gadget1",
    "Gadget2",
    "Gadget3",
    "GadgetContainerMessage",
    "GadgetMessageIdentifier",
    "GadgetMessageReader",
    "GadgetMessageWriter",
    "GadgetServerAcceptor",
    "GadgetStreamController",
    "GadgetronConnector",
    "GadgetronError",
    "Merge",
    "MessageBlock",
    "MessageQueue",
    "ParametersMessage",
    "Property",
    "Task",
    "__version__",
    "as_container_message",
    "close_message",
    "config_message",
    "copy_message",
    "make_message",
    "parse_ismrmrd_header",
    "reconstruct",
    "reconstruct_iter",
]


def __getattr__(name: str) -> Any:
    if name in _FOREIGN_PACKAGES:
        return importlib.import_module(f"gadgetron.{name}")
    module, attribute = _FOREIGN.get(name, (_HOME.get(name), name))
    if module is None:
        raise AttributeError(f"module 'gadgetron' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gadgetron.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
