"""Check that neighbours in a chain fit, before data arrives: which types of messages can reach which gadget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gadgetron.message_types import MessageType, message_may_fit, message_type_name

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget


@dataclass(frozen=True, slots=True)
class FlowStep:
    """A gadget as the flow of messages sees it."""

    name: str
    cls: type[Gadget]
    pass_on_undesired_data: bool = True


@dataclass(slots=True)
class FlowReport:
    """What was found: errors stop a session, warnings are logged, notices are for who asks.

    Attributes
    ----------
    at_end
        Types of the messages that fall off the chain's end.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    at_end: list[MessageType] = field(default_factory=list)


def check_flow(
    emitted_by_readers: Iterable[MessageType], steps: Sequence[FlowStep], accepted_by_writers: Iterable[MessageType]
) -> FlowReport:
    """Follow the types of messages through a chain.

    Parameters
    ----------
    emitted_by_readers
        Types of the messages that enter.
    steps
        The gadgets, first to last.
    accepted_by_writers
        Types of the messages that writers can take at the end.
    """
    report = FlowReport()
    flowing = list(dict.fromkeys(emitted_by_readers))
    if not flowing and steps:
        report.notices.append("no reader brings messages into this chain; it runs on parameters and the end alone")
        return report
    for position, step in enumerate(steps, 1):
        flowing = _through(step, position, flowing, report)
    writers = list(accepted_by_writers)
    report.notices += [
        f"messages of type {message_type_name(kind)} fall off the end of the chain, and no writer takes them"
        for kind in flowing
        if not any(message_may_fit(kind, accepted) for accepted in writers)
    ]
    report.at_end = flowing
    return report


def _through(step: FlowStep, position: int, flowing: list[MessageType], report: FlowReport) -> list[MessageType]:
    """Give the types that flow behind a gadget."""
    accepts = step.cls.accepts
    matched = [kind for kind in flowing if any(message_may_fit(kind, accepted) for accepted in accepts)]
    passed = [kind for kind in flowing if kind not in matched]
    where = f"gadget {step.name} ({position} in the chain)"
    wanted = _names(accepts)
    if flowing and not matched:
        text = f"{where} takes {wanted}, but only {_names(flowing)} can reach it"
        if step.pass_on_undesired_data:
            report.warnings.append(f"{text}: it will do nothing")
        else:
            report.errors.append(f"{text}, and it may not pass on others (pass_on_undesired_data is false)")
    elif passed and not step.pass_on_undesired_data:
        report.warnings.append(f"{where} takes {wanted}; a message of type {_names(passed)} will fail the session")
    if not matched:
        return passed
    emitted = step.cls.emits
    return list(dict.fromkeys([*passed, *(matched if emitted is None else emitted)]))


def _names(kinds: Iterable[MessageType]) -> str:
    return " or ".join(message_type_name(kind) for kind in kinds)
