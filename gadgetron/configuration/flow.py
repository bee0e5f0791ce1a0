"""Check that neighbours in a chain fit, before data arrives: which types of messages can reach which gadget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gadgetron.message_types import MessageType, message_may_fit, message_type_name

if TYPE_CHECKING:
    from gadgetron.gadget import Gadget


@dataclass(frozen=True, slots=True)
class FlowStep:
    """A gadget as the flow of messages sees it.

    Attributes
    ----------
    own_accepts, own_emits
        Instead of those of the class.
    emits_anything
        What it emits is everything that it could: nobody knows what will come.
    """

    name: str
    cls: type[Gadget]
    pass_on_undesired_data: bool = True
    own_accepts: tuple[MessageType, ...] | None = None
    own_emits: tuple[MessageType, ...] | None = None
    emits_anything: bool = False

    @property
    def accepts(self) -> tuple[MessageType, ...]:
        """Types of the messages that it processes: its own, or its class's."""
        return self.cls.accepts if self.own_accepts is None else self.own_accepts

    @property
    def emits(self) -> tuple[MessageType, ...] | None:
        """Types of the messages that it puts: its own, or its class's."""
        return self.cls.emits if self.own_emits is None else self.own_emits


@dataclass(frozen=True, slots=True)
class FlowParallel:
    """Parallel streams as the flow of messages sees them; `streams` are (key, nodes) pairs."""

    branch: FlowStep
    streams: Sequence[tuple[str, Sequence[FlowNode]]]
    merge: FlowStep


FlowNode: TypeAlias = "FlowStep | FlowParallel"


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
    emitted_by_readers: Iterable[MessageType], nodes: Sequence[FlowNode], accepted_by_writers: Iterable[MessageType]
) -> FlowReport:
    """Follow the types of messages through a chain.

    Parameters
    ----------
    emitted_by_readers
        Types of the messages that enter.
    nodes
        The gadgets, first to last, and the parallel streams between them.
    accepted_by_writers
        Types of the messages that writers can take at the end.
    """
    report = FlowReport()
    flowing = _unique(emitted_by_readers)
    if not flowing and nodes:
        report.notices.append("no reader brings messages into this chain; it runs on parameters and the end alone")
        return report
    walk = _Walk(report)
    flowing = walk.through(nodes, flowing)
    writers = list(accepted_by_writers)
    report.notices += [
        f"messages of type {message_type_name(kind)} fall off the end of the chain, and no writer takes them"
        for kind in flowing
        if kind not in walk.possible and not any(message_may_fit(kind, accepted) for accepted in writers)
    ]
    report.at_end = flowing
    return report


class _Walk:
    """One way through a chain; counts the gadgets that it has met."""

    def __init__(self, report: FlowReport) -> None:
        self._report = report
        self.possible: set[MessageType] = set()  # types that may come from a node, or may not
        self._n_met = 0

    def through(self, nodes: Sequence[FlowNode], flowing: list[MessageType]) -> list[MessageType]:
        """Give the types that flow behind some nodes."""
        for node in nodes:
            if isinstance(node, FlowParallel):
                flowing = self._through_parallel(node, flowing)
            else:
                matched, passed = self._split(node, flowing, node.accepts)
                emitted = node.emits
                if emitted is not None:
                    self.possible.difference_update(emitted)
                    self.possible |= set(emitted).difference(passed) if node.emits_anything else set()
                flowing = _unique([*passed, *(matched if emitted is None or not matched else emitted)])
        return flowing

    def _through_parallel(self, node: FlowParallel, flowing: list[MessageType]) -> list[MessageType]:
        branch: Any = node.branch.cls
        merge: Any = node.merge.cls
        matched, behind = self._split(node.branch, flowing, branch.accepts)
        results: list[MessageType] = []
        arriving: dict[str, list[MessageType]] = {}
        for key, stream in node.streams:
            reached = matched and (branch.keys is None or key in branch.keys)
            arriving[key] = self.through(stream, list(branch.emits_to.get(key, matched)) if reached else [])
        self._n_met += 1
        for key, kinds in arriving.items():
            if merge.inputs is None:
                results += kinds
                continue
            taken = merge.inputs.get(key, ())
            results += [kind for kind in kinds if _fits_any(kind, taken)]
            behind += [kind for kind in kinds if not _fits_any(kind, taken)]
            if kinds and taken and not any(_fits_any(kind, taken) for kind in kinds):
                self._report.warnings.append(
                    f"merge {node.merge.name} takes {_names(taken)} from the stream {key!r}, "
                    f"but only {_names(kinds)} can reach it from there"
                )
        return _unique([*behind, *(results if merge.emits is None or not results else merge.emits)])

    def _split(
        self, step: FlowStep, flowing: list[MessageType], accepts: Sequence[MessageType]
    ) -> tuple[list[MessageType], list[MessageType]]:
        """Give the types that a gadget processes, and those that pass by; note what is wrong with that."""
        self._n_met += 1
        matched = [kind for kind in flowing if _fits_any(kind, accepts)]
        passed = [kind for kind in flowing if kind not in matched]
        where = f"gadget {step.name} ({self._n_met} in the chain)"
        wanted = _names(accepts)
        if flowing and not matched:
            text = f"{where} takes {wanted}, but only {_names(flowing)} can reach it"
            if step.pass_on_undesired_data:
                self._report.warnings.append(f"{text}: it will do nothing")
            else:
                self._report.errors.append(f"{text}, and it may not pass on others (pass_on_undesired_data is false)")
        elif passed and not step.pass_on_undesired_data:
            self._report.warnings.append(
                f"{where} takes {wanted}; a message of type {_names(passed)} will fail the session"
            )
        return matched, passed


def _fits_any(kind: MessageType, accepted: Iterable[MessageType]) -> bool:
    return any(message_may_fit(kind, candidate) for candidate in accepted)


def _unique(kinds: Iterable[MessageType]) -> list[MessageType]:
    return list(dict.fromkeys(kinds))


def _names(kinds: Iterable[MessageType]) -> str:
    return " or ".join(message_type_name(kind) for kind in kinds)
