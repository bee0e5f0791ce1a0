"""From a configuration to the objects it names: readers, writers and gadgets, ready to be connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from gadgetron.branch import Branch
from gadgetron.configuration import model
from gadgetron.configuration.flow import FlowStep, check_flow
from gadgetron.configuration.model import (
    ComponentSpec,
    ExternalSpec,
    GadgetSpec,
    ParallelSpec,
    PureStreamSpec,
    StreamConfiguration,
    UnsupportedNode,
)
from gadgetron.configuration.references import ConfiguredGadget, reference_problems
from gadgetron.configuration.structure import flow_nodes, structure_problems
from gadgetron.environment import Environment
from gadgetron.errors import ConfigurationError, GadgetError, GadgetronError, PropertyError, UnknownClassError, describe
from gadgetron.foreign.make import make_external
from gadgetron.foreign.node import ExternalGadget
from gadgetron.gadget import Gadget
from gadgetron.merge import Merge
from gadgetron.message import MessageBlock, matches
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.nodes import Node, Parallel, PureStream, all_gadgets, running_gadgets
from gadgetron.properties import apply_properties
from gadgetron.protocol.message_ids import FIRST_CONTROL_ID, LAST_CONTROL_ID, MessageID, message_name

log = structlog.get_logger()


@dataclass
class Chain:
    """The components of one session.

    Attributes
    ----------
    nodes
        The gadgets, first to last, and the nodes that hold gadgets.
    readers, writers
        By message id.
    writers_in_order
        As configured: the first that accepts a message that falls off the chain's end writes it.
    """

    nodes: list[Node] = field(default_factory=list)
    readers: dict[int, GadgetMessageReader] = field(default_factory=dict)
    writers: dict[int, GadgetMessageWriter] = field(default_factory=dict)
    writers_in_order: list[GadgetMessageWriter] = field(default_factory=list)

    @property
    def gadgets(self) -> list[Gadget]:
        """The gadgets that have threads, branches and merges included, in the order in which messages meet them."""
        return list(running_gadgets(self.nodes))

    @property
    def all_gadgets(self) -> list[Gadget]:
        """Every gadget, those of pure streams included."""
        return list(all_gadgets(self.nodes))

    def writer_for(self, message: MessageBlock) -> GadgetMessageWriter | None:
        """Give the first writer that accepts a message's types."""
        for writer in self.writers_in_order:
            if any(matches(message, message_type) for message_type in writer.accepts):
                return writer
        return None


def build_chain(configuration: StreamConfiguration, environment: Environment) -> Chain:
    """Make the components of a configuration. No thread is started.

    Raises
    ------
    ConfigurationError
        With everything that is wrong at once: names that cannot be loaded, properties that cannot be set; or references
        to nothing, and neighbours that cannot work together.
    """
    problems: list[GadgetronError] = []
    chain = Chain()
    for spec in configuration.readers:
        _add_reader(chain, spec, environment, problems)
    for spec in configuration.writers:
        _add_writer(chain, spec, environment, problems)
    builder = _Builder(environment, configuration.from_client, problems)
    classes = builder.load(configuration.gadgets)
    problems += [ConfigurationError(text) for text in structure_problems(configuration.nodes, classes)]
    chain.nodes = builder.nodes(configuration.nodes)
    _raise_if_any(problems)
    _check_as_a_whole(configuration, chain, builder)
    return chain


def _check_as_a_whole(configuration: StreamConfiguration, chain: Chain, builder: _Builder) -> None:
    """Check what no gadget can check alone: references to other gadgets, and whether neighbours' types fit."""
    made = builder.made
    configured = [ConfiguredGadget(spec.name, type(gadget), spec.properties) for spec, gadget in made]
    configured += [ConfiguredGadget(spec.name, ExternalGadget, spec.properties) for spec, _ in builder.externals]
    problems: list[GadgetronError] = [PropertyError(text) for text in reference_problems(configured)]
    steps: dict[GadgetSpec | ExternalSpec, FlowStep] = {
        spec: FlowStep(gadget.name, type(gadget), gadget.__dict__.get("pass_on_undesired_data") is not False)
        for spec, gadget in made
    }
    for node, external in builder.externals:
        module = external.module
        steps[node] = FlowStep(node.name, type(external), True, module.accepts, module.emits, not node.readers)
    flow = check_flow(
        [kind for reader in chain.readers.values() for kind in reader.emits],
        flow_nodes(configuration.nodes, steps),
        [kind for writer in chain.writers_in_order for kind in writer.accepts],
    )
    problems += [ConfigurationError(text) for text in flow.errors]
    _raise_if_any(problems)
    for text in flow.warnings:
        log.warning("chain.suspicious", problem=text)


def _raise_if_any(problems: Sequence[GadgetronError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        kinds = {type(problem) for problem in problems}
        error = UnknownClassError if kinds == {UnknownClassError} else ConfigurationError
        raise error("; ".join(str(problem) for problem in problems))


def _add_reader(chain: Chain, spec: ComponentSpec, environment: Environment, problems: list[GadgetronError]) -> None:
    try:
        reader = environment.loader.load_reader(spec.dll, spec.classname)()
    except ConfigurationError as error:
        problems.append(error)
        return
    slot = reader.slot if spec.slot is None else spec.slot
    if FIRST_CONTROL_ID <= slot <= LAST_CONTROL_ID and slot != MessageID.TEXT:
        # A reader for CLOSE, say, would leave no way to end the session. A chain may have a use for texts.
        problems.append(
            ConfigurationError(f"reader {spec.classname}: slot {message_name(slot)} belongs to the protocol itself")
        )
        return
    chain.readers[slot] = reader


def _add_writer(chain: Chain, spec: ComponentSpec, environment: Environment, problems: list[GadgetronError]) -> None:
    try:
        writer = environment.loader.load_writer(spec.dll, spec.classname)()
    except ConfigurationError as error:
        problems.append(error)
        return
    if environment.legacy_images and hasattr(writer, "legacy_image_messages"):
        writer.legacy_image_messages = True
    chain.writers[writer.slot if spec.slot is None else spec.slot] = writer
    chain.writers_in_order.append(writer)


class _Builder:
    """Makes the nodes of a chain; what goes wrong is added to `problems`.

    Attributes
    ----------
    made
        Each gadget and what it was made of, in the order in which messages meet them.
    externals
        The same for external nodes.
    """

    def __init__(self, environment: Environment, from_client: bool, problems: list[GadgetronError]) -> None:
        self.made: list[tuple[GadgetSpec, Gadget]] = []
        self.externals: list[tuple[ExternalSpec, ExternalGadget]] = []
        self._environment = environment
        self._from_client = from_client
        self._problems = problems
        self._classes: dict[GadgetSpec, type[Gadget]] = {}

    def load(self, specs: Sequence[GadgetSpec]) -> dict[GadgetSpec, type[Gadget]]:
        """Find the classes of gadgets."""
        for spec in specs:
            try:
                self._classes[spec] = self._environment.loader.load_gadget(spec.dll, spec.classname)
            except ConfigurationError as error:
                self._problems.append(error)
        return self._classes

    def nodes(self, specs: Sequence[model.Node]) -> list[Node]:
        """Make nodes; those that cannot be made are missing."""
        return [node for node in map(self._node, specs) if node is not None]

    def _node(self, spec: model.Node) -> Node | None:
        if isinstance(spec, GadgetSpec):
            return self._gadget(spec)
        if isinstance(spec, PureStreamSpec):
            gadgets = [gadget for gadget in map(self._gadget, spec.gadgets) if gadget is not None]
            return PureStream(gadgets, spec.workers) if all(gadget.thread_safe for gadget in gadgets) else None
        if isinstance(spec, ParallelSpec):
            return self._parallel(spec)
        if isinstance(spec, ExternalSpec):
            return self._external(spec)
        self._problems.append(_cannot_run(spec))
        return None

    def _external(self, spec: ExternalSpec) -> Gadget | None:
        try:
            external = make_external(spec, self._environment)
        except ConfigurationError as error:
            self._problems.append(error)
            return None
        self.externals.append((spec, external))
        return external

    def _parallel(self, spec: ParallelSpec) -> Parallel | None:
        branch = self._gadget(spec.branch)
        streams = {key: self.nodes(stream) for key, stream in spec.streams}
        merge = self._gadget(spec.merge)
        if isinstance(branch, Branch) and isinstance(merge, Merge):  # or what is wrong has been noted
            return Parallel(branch, streams, merge)
        return None

    def _gadget(self, spec: GadgetSpec) -> Gadget | None:
        class_ = self._classes.get(spec)
        if class_ is None:  # that has been noted
            return None
        try:
            try:
                gadget = class_()
            except Exception as error:  # a user's constructor: anything may happen
                raise GadgetError(spec.name, describe(error)) from error
            gadget.name = spec.name
            apply_properties(
                gadget,
                spec.properties,
                self._environment.global_parameters,
                working_directory=self._environment.working_directory,
                from_client=self._from_client,
            )
        except (ConfigurationError, GadgetError) as error:
            self._problems.append(error)
            return None
        self.made.append((spec, gadget))
        return gadget


def _cannot_run(spec: UnsupportedNode) -> ConfigurationError:
    return ConfigurationError(f"node {spec.position} of the stream is a <{spec.kind}>: this server cannot run it yet")
