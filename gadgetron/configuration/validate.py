"""Everything that is wrong with a configuration, all at once, before any data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from gadgetron.configuration.flow import FlowNode, FlowStep, check_flow
from gadgetron.configuration.model import (
    ComponentSpec,
    ExternalSpec,
    GadgetSpec,
    Node,
    PureStreamSpec,
    StreamConfiguration,
    walk,
)
from gadgetron.configuration.references import ConfiguredGadget, reference_problems
from gadgetron.configuration.structure import flow_nodes, structure_problems
from gadgetron.errors import ConfigurationError, PropertyError
from gadgetron.foreign.launch import check_external
from gadgetron.foreign.make import load_components
from gadgetron.foreign.node import ExternalGadget
from gadgetron.foreign.settings import ForeignSettings
from gadgetron.limits import LIMITS
from gadgetron.nodes import pure_stream_threads
from gadgetron.properties import Reference, find_property, parse_value, resolve_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from gadgetron.loader import Loader
    from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter

T = TypeVar("T")


@dataclass(slots=True)
class ValidationReport:
    """What was found.

    Attributes
    ----------
    errors
        Why a session with this configuration fails.
    warnings
        What is allowed, and probably not meant.
    notices
        What is good to know.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether a session with this configuration can start."""
        return not self.errors


def validate(
    configuration: StreamConfiguration,
    loader: Loader,
    global_parameters: Sequence[tuple[str, str]] = (),
    foreign: ForeignSettings | None = None,
) -> ValidationReport:
    """Check a parsed configuration: names, properties, references, threads, and whether neighbours fit.

    Parameters
    ----------
    loader
        Decides which names may be loaded; loading imports the modules that the configuration names.
    global_parameters
        (name, value) of properties that are set on every gadget that declares them.
    foreign
        What foreign modules may be.
    """
    report = ValidationReport()
    report.errors += [
        f"node {node.position} of the stream, <{node.kind}>, is not supported yet" for node in configuration.unsupported
    ]
    readers = _load_components(configuration.readers, "reader", loader.load_reader, report)
    writers = _load_components(configuration.writers, "writer", loader.load_writer, report)
    gadgets = {spec: _load_gadget(spec, loader, report) for spec in configuration.gadgets}
    known = {spec: gadget for spec, gadget in gadgets.items() if gadget is not None}
    loaded = [known[spec] for spec in configuration.gadgets if spec in known]
    steps: dict[GadgetSpec | ExternalSpec, FlowStep] = {
        spec: _check_properties(gadget, configuration.from_client, global_parameters, report)
        for spec, gadget in known.items()
    }
    externals = {
        spec: _load_external(spec, loader, foreign or ForeignSettings(), report) for spec in configuration.externals
    }
    steps |= {spec: step for spec, step in externals.items() if step is not None}
    structure = structure_problems(configuration.nodes, {spec: gadget.cls for spec, gadget in known.items()})
    report.errors += structure
    nodes = [ConfiguredGadget(spec.name, ExternalGadget, spec.properties) for spec in configuration.externals]
    report.errors += reference_problems([*loaded, *nodes])
    names = Counter(spec.name for spec in configuration.gadgets)
    report.notices += [f"{count} gadgets are called {name}" for name, count in names.items() if count > 1]
    _check_threads(configuration.nodes, loaded, report)
    if len(steps) == len(gadgets) + len(externals) and not structure and not configuration.unsupported:
        _check_neighbours(readers, flow_nodes(configuration.nodes, steps), writers, report)
    return report


def _load_components(
    specs: Sequence[ComponentSpec], kind: str, load: Callable[[str, str], T], report: ValidationReport
) -> list[T]:
    loaded = []
    slots: Counter[int] = Counter()
    for spec in specs:
        try:
            cls: Any = load(spec.dll, spec.classname)
        except ConfigurationError as err:
            report.errors.append(str(err))
            continue
        slots[cls.slot if spec.slot is None else spec.slot] += 1
        loaded.append(cls)
    report.warnings += [
        f"{count} {kind}s have the slot {slot}: the last one counts" for slot, count in slots.items() if count > 1
    ]
    return loaded


def _load_external(
    spec: ExternalSpec, loader: Loader, foreign: ForeignSettings, report: ValidationReport
) -> FlowStep | None:
    try:
        check_external(spec, loader, foreign)
        readers, writers = load_components(spec, loader)
    except ConfigurationError as err:
        report.errors.append(str(err))
        return None
    return FlowStep(
        spec.name,
        ExternalGadget,
        True,
        tuple(kind for writer in writers for kind in writer.accepts),
        tuple(kind for reader in readers for kind in reader.emits),
        emits_anything=not spec.readers,
    )


def _load_gadget(spec: GadgetSpec, loader: Loader, report: ValidationReport) -> ConfiguredGadget | None:
    try:
        return ConfiguredGadget(spec.name, loader.load_gadget(spec.dll, spec.classname), spec.properties)
    except ConfigurationError as err:
        text = str(err)
        report.errors.append(text if spec.name == spec.classname.rpartition(".")[2] else f"{spec.name}: {text}")
        return None


def _check_properties(
    gadget: ConfiguredGadget, from_client: bool, global_parameters: Sequence[tuple[str, str]], report: ValidationReport
) -> FlowStep:
    """Check what is configured on a gadget, and give it as the flow of messages sees it."""
    pass_on = True
    aliases = gadget.cls.property_aliases
    own = [(name, text, from_client) for name, text in gadget.properties]
    own += [(name, text, False) for name, text in global_parameters if find_property(gadget.cls, name) is not None]
    for name, text, is_from_client in own:
        try:
            found, value = parse_value(gadget.cls, name, text)
            if found is not None and found.folder and isinstance(value, str):
                resolve_folder(found.name, value, None, from_client=is_from_client)
        except PropertyError as err:
            report.errors.append(f"gadget {gadget.name}: {err}")
            continue
        if name in aliases:
            report.warnings.append(f"gadget {gadget.name}: property {name} is spelled {aliases[name]}")
        if found is not None and found.name == "pass_on_undesired_data":
            pass_on = isinstance(value, Reference) or value
    return FlowStep(gadget.name, gadget.cls, pass_on)


def _check_threads(nodes: Sequence[Node], gadgets: Sequence[ConfiguredGadget], report: ValidationReport) -> None:
    pure = [node for node in walk(nodes) if isinstance(node, PureStreamSpec)]
    inside = {spec.name for node in pure for spec in node.gadgets}
    total = sum(pure_stream_threads(node.workers) for node in pure)
    for gadget in gadgets:
        if gadget.name in inside:
            continue
        n_threads = 1
        for name, text in gadget.properties:
            if name == "threads" and text.isascii() and text.isdecimal() and len(text) < 20:
                n_threads = int(text)
        total += n_threads
        if n_threads > 1 and not gadget.cls.thread_safe:
            report.notices.append(
                f"gadget {gadget.name}: {n_threads} threads, but {gadget.cls.__name__} works on one message at a time"
            )
    if total > LIMITS.max_threads_per_session:
        report.errors.append(f"the chain asks for {total} threads, the limit is {LIMITS.max_threads_per_session}")


def _check_neighbours(
    readers: Sequence[type[GadgetMessageReader]],
    nodes: Sequence[FlowNode],
    writers: Sequence[type[GadgetMessageWriter]],
    report: ValidationReport,
) -> None:
    flow = check_flow(
        [kind for reader in readers for kind in reader.emits],
        nodes,
        [kind for writer in writers for kind in writer.accepts],
    )
    report.errors += flow.errors
    report.warnings += flow.warnings
    report.notices += flow.notices
