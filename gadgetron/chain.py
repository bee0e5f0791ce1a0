"""From a configuration to the objects it names: readers, writers and gadgets, ready to be connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from gadgetron.configuration.flow import FlowStep, check_flow
from gadgetron.configuration.model import ComponentSpec, Node, StreamConfiguration, UnsupportedNode
from gadgetron.configuration.references import ConfiguredGadget, reference_problems
from gadgetron.environment import Environment
from gadgetron.errors import ConfigurationError, GadgetError, GadgetronError, PropertyError, UnknownClassError, describe
from gadgetron.gadget import Gadget
from gadgetron.message import MessageBlock, matches
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter
from gadgetron.properties import apply_properties
from gadgetron.protocol.message_ids import FIRST_CONTROL_ID, LAST_CONTROL_ID, MessageID, message_name

log = structlog.get_logger()


@dataclass
class Chain:
    """The components of one session.

    Attributes
    ----------
    gadgets
        First to last.
    readers, writers
        By message id.
    writers_in_order
        As configured: the first that accepts a message that falls off the chain's end writes it.
    """

    gadgets: list[Gadget] = field(default_factory=list)
    readers: dict[int, GadgetMessageReader] = field(default_factory=dict)
    writers: dict[int, GadgetMessageWriter] = field(default_factory=dict)
    writers_in_order: list[GadgetMessageWriter] = field(default_factory=list)

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
    for node in configuration.nodes:
        _add_gadget(chain, node, environment, configuration.from_client, problems)
    _raise_if_any(problems)
    _check_as_a_whole(configuration, chain)
    return chain


def _check_as_a_whole(configuration: StreamConfiguration, chain: Chain) -> None:
    """Check what no gadget can check alone: references to other gadgets, and whether neighbours' types fit."""
    specs = zip(configuration.gadgets, chain.gadgets, strict=True)
    configured = [ConfiguredGadget(spec.name, type(gadget), spec.properties) for spec, gadget in specs]
    problems: list[GadgetronError] = [PropertyError(text) for text in reference_problems(configured)]
    flow = check_flow(
        [kind for reader in chain.readers.values() for kind in reader.emits],
        [
            FlowStep(gadget.name, type(gadget), gadget.__dict__.get("pass_on_undesired_data") is not False)
            for gadget in chain.gadgets
        ],
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


def _add_gadget(
    chain: Chain, spec: Node, environment: Environment, from_client: bool, problems: list[GadgetronError]
) -> None:
    if isinstance(spec, UnsupportedNode):
        problems.append(
            ConfigurationError(f"node {spec.position} of the stream is a <{spec.kind}>: this server cannot run it yet")
        )
        return
    try:
        class_ = environment.loader.load_gadget(spec.dll, spec.classname)
        try:
            gadget = class_()
        except Exception as error:  # a user's constructor: anything may happen
            raise GadgetError(spec.name, describe(error)) from error
        gadget.name = spec.name
        apply_properties(
            gadget,
            spec.properties,
            environment.global_parameters,
            working_directory=environment.working_directory,
            from_client=from_client,
        )
    except (ConfigurationError, GadgetError) as error:
        problems.append(error)
        return
    chain.gadgets.append(gadget)
