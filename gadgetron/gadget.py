"""The gadget: the unit users write. Subclass `Gadget1`, `Gadget2` or `Gadget3` and implement `process`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import structlog
from numpy.typing import NDArray

from gadgetron.debug_arrays import DebugArrays
from gadgetron.errors import GadgetError, LimitExceeded, PropertyError, QueueClosed, StorageError, describe
from gadgetron.gadget_controller import GadgetController, NoController
from gadgetron.limits import LIMITS
from gadgetron.log import VerboseLogger
from gadgetron.message import GadgetContainerMessage, MessageBlock, MessageKind, ParametersMessage, close_message
from gadgetron.message_types import MessageType, alternatives, message_type_name
from gadgetron.properties import Property, find_property, property_text, set_property
from gadgetron.task import Task
from gadgetron.turnstile import Turnstile

GADGET_OK = 0
GADGET_FAIL = -1

CLOSE_NORMAL = 1
"""`flags` of `Gadget.close` at the end of a stream."""
CLOSE_ABORTED = 0
"""`flags` of `Gadget.close` when the session has failed: nobody takes what is put any more."""

DATA = MessageKind.DATA
CONFIG = MessageKind.CONFIG

P1 = TypeVar("P1")
P2 = TypeVar("P2")
P3 = TypeVar("P3")

MAX_PENDING_BYTES = LIMITS.queue_bytes // 2


class _Outputs(threading.local):
    """What one thread has put during the batch it works on; `pending` is None where messages go on at once."""

    pending: list[MessageBlock] | None = None
    nbytes: int = 0
    ticket: int = -1


class Gadget(Task):
    """A step of a reconstruction: takes messages from its queue, puts messages to the next gadget.

    Hooks, all of them called in the gadget's own thread:

    * `process_config(parameters)` whenever parameters arrive, at least once before the first data, in order with it;
    * `process(message)` for each message, or `process_many(messages)` for what is waiting;
    * `close(flags)` exactly once, after the last message and before the next gadget's `close`, to flush what is held.

    Returning GADGET_OK or None is success; GADGET_FAIL or an exception fails the session, with this gadget named.
    Do not subclass this to take messages of certain types: subclass Gadget1, Gadget2 or Gadget3.

    Parameters
    ----------
    name
        The name in the chain.
    **properties
        Values of declared properties, as text or as what they are.
    """

    accepts: ClassVar[tuple[MessageType, ...]] = ((Any,),)
    """Types of the messages it processes; others pass by."""

    emits: ClassVar[tuple[MessageType, ...] | None] = None
    """Types of the messages it puts, besides those that pass by; None for the same as it accepts."""

    thread_safe: ClassVar[bool] = False
    """Whether `process` may run in several threads at once. If not, `threads` buys nothing but does no harm."""

    accepts_any_property: ClassVar[bool] = False
    """Whether undeclared properties are kept, for `get_string_value` and its kin, instead of refused."""

    property_aliases: ClassVar[dict[str, str]] = {}
    """Misspelt names in stock configurations, and the right ones."""

    threads = Property(
        1, doc="number of threads; more than one helps only gadgets that are thread-safe", minimum=1, maximum=64
    )
    pass_on_undesired_data = Property(True, doc="pass on messages of other types; if false they are an error")
    verbose = Property(False, doc="show this gadget's debug records at level info, and a record for each batch")
    perform_timing = Property(False, doc="log the time spent in this gadget at the end of the session")
    debug_folder = Property(
        "",
        doc="folder below the working directory for intermediate results, as .npy files; gadgets of the Generic family "
        "write some",
        folder=True,
    )
    workingDirectory = Property("", doc="folder for stored data, inside the server's working directory", folder=True)
    using_cloudbus = Property(False, doc="accepted for old configurations; has no effect")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name or type(self).__name__)
        self.controller: GadgetController = NoController()
        self.messages_in = 0
        self.messages_out = 0
        self.busy_s = 0.0
        self._next: Task | None = None
        self._outputs = _Outputs()
        self._turnstile: Turnstile | None = None
        self._get_lock = threading.Lock()  # makes taking a batch and drawing its ticket one step
        self._process_lock: threading.Lock | None = None  # one process at a time where the class is not thread-safe
        self._told: set[str] = set()
        self._close_lock = threading.Lock()  # guards the one above and the next three
        self._closed_once = False
        self._debug_arrays = DebugArrays()
        self._debug_failed = False
        self._serving = 0
        self._left = 0
        for property_name, value in properties.items():
            if isinstance(value, str) or find_property(type(self), property_name) is None:
                set_property(self, property_name, str(value))
            else:
                setattr(self, property_name, value)

    # What gadgets use

    @property
    def log(self) -> Any:
        """A structlog logger; session and gadget are bound to the thread. With `verbose`, debug records are shown."""
        logger = structlog.get_logger()
        return VerboseLogger(logger) if self.verbose else logger

    def next(self) -> Task:
        """Give the task downstream."""
        if self._next is None:
            raise GadgetError(self.name, "nothing is connected downstream")
        return self._next

    def put_next(self, message: MessageBlock) -> None:
        """Give a message to the next gadget. Waits while its queue is full.

        Raises
        ------
        QueueClosed
            If the session is ending; let it pass.
        """
        outputs = self._outputs
        if outputs.pending is None:
            self.messages_out += 1
            self.next().putq(message)
            return
        outputs.pending.append(message)
        outputs.nbytes += message.nbytes
        if outputs.nbytes >= MAX_PENDING_BYTES or len(outputs.pending) >= LIMITS.queue_messages:
            self._flush(outputs)

    def pass_on(self, message: MessageBlock) -> None:
        """Pass on a message that this gadget does not process, or fail if it may not (`pass_on_undesired_data`)."""
        if not self.pass_on_undesired_data:
            raise GadgetError(
                self.name,
                f"got {message!r}, expected {' or '.join(map(message_type_name, self.accepts))} "
                "(pass_on_undesired_data is false)",
            )
        self.put_next(message)

    def warn_once(self, event: str, text: str, **fields: object) -> None:
        """Log a warning and tell the client, at the first event of this name in the session.

        Parameters
        ----------
        event
            Name of the log's record, `noun.verb`.
        text
            What the client is told: a sentence for people.
        **fields
            What else the record has.
        """
        with self._close_lock:
            if event in self._told:
                return
            self._told.add(event)
        self.log.warning(event, text=text, **fields)
        self.controller.tell_client(f"WARNING gadget {self.name}: {text}")

    def debug_array(self, stage: str, array: NDArray[Any]) -> None:
        """Log an intermediate result's shape at debug, and write it as .npy file where `debug_folder` is set."""
        self.log.debug("array", stage=stage, shape=array.shape, dtype=str(array.dtype))
        if not self.debug_folder or self._debug_failed:
            return
        folder = Path(self.debug_folder)
        if not folder.is_absolute():
            folder = self.controller.working_directory / folder
        try:
            self._debug_arrays.save(folder, (self.session_name or "session", self.name, stage), array)
        except (StorageError, LimitExceeded) as error:  # no reason to do without the images
            self._debug_failed = True
            self.log.warning("debug_folder.not_written", stage=stage, reason=str(error))

    @property
    def working_directory(self) -> Path:
        """Folder in which this gadget may write: the server's, or the folder below it that `workingDirectory` names."""
        root = self.controller.working_directory
        return root / self.workingDirectory if self.workingDirectory else root

    def get_string_value(self, name: str) -> str:
        """Give a property's value as text; empty if it is not set."""
        return property_text(self, name) or ""

    def get_int_value(self, name: str) -> int:
        """Give a property's value as an integer; 0 if it is not set."""
        return int(self._number(name, int))

    def get_double_value(self, name: str) -> float:
        """Give a property's value as a floating point number; 0 if it is not set."""
        return float(self._number(name, float))

    def get_bool_value(self, name: str) -> bool:
        """Give a property's value as a truth value; False if it is not set."""
        text = self.get_string_value(name).strip().lower()
        if text in ("true", "1", "yes"):
            return True
        if text in ("false", "0", "no", ""):
            return False
        raise PropertyError(f"property {name} of {self.name} is {text!r}, expected true or false")

    def _number(self, name: str, kind: type[int | float]) -> int | float:
        text = self.get_string_value(name).strip()
        try:
            return kind(text or 0)
        except ValueError:
            raise PropertyError(f"property {name} of {self.name} is {text!r}, expected a number") from None

    # What gadgets implement

    def process_config(self, parameters: ParametersMessage) -> int | None:
        """Take parameters, conventionally an ISMRMRD header (`parameters.header`); they travel on by themselves."""
        return GADGET_OK

    def process(self, *args: Any, **kwargs: Any) -> Any:
        """Process one message."""
        raise NotImplementedError(f"{type(self).__name__} does not implement process")

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Process what is waiting, in order; override it where a batch is cheaper than one by one.

        What is put meanwhile goes downstream in one queue operation. `messages` never holds parameters or the end.
        """
        for message in messages:
            self._check(self.process(message))

    def close(self, flags: int) -> int | None:
        """Flush what is held: the hook for the end, called once by the framework.

        `flags` is CLOSE_NORMAL (1) at the end of a stream. It is CLOSE_ABORTED (0) when the session has failed: release
        what the operating system holds, put nothing.
        """
        return GADGET_OK

    def matches(self, message: MessageBlock) -> bool:
        """Tell whether this gadget processes such a message."""
        return True

    # The framework's side

    def connect(self, downstream: Task) -> None:
        """Set the task downstream."""
        self._next = downstream

    def activate(self, n_threads: int = 0) -> None:
        """Start the gadget's threads: as many as its `threads` property says, unless told otherwise."""
        n_threads = n_threads or self.threads
        if n_threads > 1:
            if self.thread_safe:
                self._turnstile = Turnstile()
            else:
                self._process_lock = threading.Lock()
        self._serving = n_threads
        super().activate(n_threads)

    def svc(self) -> None:
        """Serve the queue: the loop of every thread of the gadget."""
        structlog.contextvars.bind_contextvars(session=self.session_name, gadget=self.name)
        try:
            if self._process_lock is not None:
                while self._serve_locked(self._process_lock):
                    pass
            else:
                while self._serve():
                    pass
        except BaseException as error:  # noqa: BLE001  # whatever a gadget raises, SystemExit too, ends its session only
            try:
                # An end that came through this gadget's queue is nobody's failure; a queue of the gadget's own is.
                if not (isinstance(error, QueueClosed) and self.inbox.is_closed):
                    self._report(self._named(error))  # first, or the neighbours' QueueClosed could be told instead
            finally:
                self.abort()
        finally:
            self._leave()

    def _named(self, error: BaseException) -> GadgetError:
        if isinstance(error, GadgetError):
            return error
        named = GadgetError(self.name, describe(error))
        named.__cause__ = error
        return named

    def _leave(self) -> None:
        """Run the close hook after an abort, in the last thread to leave: no `process` is running any more."""
        with self._close_lock:
            self._left += 1
            is_last = self._left >= self._serving
        if is_last:
            self._close_once(CLOSE_ABORTED)

    def _serve_locked(self, lock: threading.Lock) -> bool:
        with lock:
            return self._serve()

    def _serve(self) -> bool:
        """Take and process one batch; False after the close message."""
        turnstile = self._turnstile
        if turnstile is None:
            batch = self.inbox.get_many(LIMITS.queue_messages)
            ticket = -1
        else:
            with self._get_lock:
                # A fair share of what waits, so that the other threads get some too.
                batch = self.inbox.get_many(max(1, self.inbox.qsize() // self._serving))
                ticket = turnstile.issue()
        kind = batch[0].kind
        if kind is DATA:
            self._serve_data(batch, ticket)
        elif kind is CONFIG:
            parameters = batch[0]
            if isinstance(parameters, ParametersMessage):
                self._check(self.process_config(parameters))
            self.next().putq(parameters)
        else:
            self._close_once(CLOSE_NORMAL)
            self.next().putq(close_message())
        del batch  # an idle gadget must not pin its last readouts
        if turnstile is not None:
            turnstile.advance(ticket)
        self.inbox.done()
        if kind is MessageKind.CLOSE:
            self.inbox.close()
            return False
        return True

    def _serve_data(self, batch: list[MessageBlock], ticket: int) -> None:
        outputs = self._outputs
        outputs.ticket = ticket
        # A lone message at one thread: what it gives rise to goes on at once, there is nothing to gather.
        outputs.pending = [] if len(batch) > 1 or ticket >= 0 else None
        began = perf_counter()
        self.process_many(batch)
        elapsed_s = perf_counter() - began
        if self.verbose:
            self.log.debug("gadget.batch", n_messages=len(batch), busy_s=round(elapsed_s, 6))
        if ticket >= 0 and self._turnstile is not None:
            self._turnstile.wait(ticket)  # the counters below are this thread's alone from here on
        self.busy_s += elapsed_s
        self.messages_in += len(batch)
        if outputs.pending:
            self._flush(outputs)
        outputs.pending = None
        outputs.ticket = -1

    def _flush(self, outputs: _Outputs) -> None:
        self.wait_for_turn()
        pending, outputs.pending, outputs.nbytes = outputs.pending or [], [], 0
        self.messages_out += len(pending)
        self.next().put_many(pending)

    def flush_pending(self) -> None:
        """Put on what this thread has put and what is still gathered. The framework calls it."""
        if self._outputs.pending:
            self._flush(self._outputs)

    def wait_for_turn(self) -> None:
        """With several threads: wait until what was taken before has been put. The framework calls it."""
        if self._turnstile is not None and self._outputs.ticket >= 0:
            self._turnstile.wait(self._outputs.ticket)

    def _close_once(self, flags: int) -> None:
        with self._close_lock:
            if self._closed_once:
                return
            self._closed_once = True
        if flags == CLOSE_NORMAL:
            self._outputs.pending = None
            self._check(self.close(flags))
            if self.perform_timing:
                self.log.info("gadget.timing", busy_s=round(self.busy_s, 6), messages=self.messages_in)
            return
        try:
            self.close(flags)
        except QueueClosed:
            self.log.debug("gadget.close_dropped_output")
        except BaseException as error:  # noqa: BLE001  # the session has failed already, with the first error; this is the second
            self.log.warning("gadget.close_failed_after_abort", error=describe(error))

    def abort(self) -> int:
        """End now: drop what is queued and wake everybody who waits here."""
        dropped = super().abort()
        if self._turnstile is not None:
            self._turnstile.abort()
        return dropped

    def _check(self, result: object) -> None:
        if result is not None and isinstance(result, int) and result < 0:
            raise GadgetError(self.name, "returned GADGET_FAIL")


class _TypedGadget(Gadget):
    """What Gadget1, Gadget2 and Gadget3 share: matching of a message's first blocks, and `process` with containers."""

    _arity: ClassVar[int] = 0
    _matchers: ClassVar[tuple[tuple[tuple[type, Any], ...], ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin, arguments = get_origin(base), get_args(base)
            if isinstance(origin, type) and issubclass(origin, _TypedGadget) and origin._arity:
                if any(isinstance(argument, TypeVar) for argument in arguments):
                    continue
                if origin in (Gadget1, Gadget2, Gadget3):
                    cls._matchers = tuple(alternatives(argument) for argument in arguments)
                    cls.accepts = (tuple(arguments),)

    def matches(self, message: MessageBlock) -> bool:
        """Tell whether the first blocks of a message are of this gadget's types."""
        block: MessageBlock | None = message
        for pairs in self._matchers:
            if not isinstance(block, GadgetContainerMessage):
                return False
            if pairs:
                obj: Any = block._object
                for class_, dtype in pairs:
                    if isinstance(obj, class_) and (dtype is None or obj.dtype == dtype):  # type: ignore[attr-defined]  # an array
                        break
                else:
                    return False
            block = block.cont
        return True

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Call `process` with the containers of each message that matches, and pass on the others."""
        arity = self._arity
        for message in messages:
            if not self.matches(message):
                self.pass_on(message)
            elif arity == 1:
                self._check(self.process(message))
            elif arity == 2:
                self._check(self.process(message, message.cont))
            else:
                self._check(self.process(message, message.cont, message.cont.cont))  # type: ignore[union-attr]  # matched


class Gadget1(_TypedGadget, Generic[P1]):
    """A gadget that takes messages whose first block holds a P1: implement `process(self, m1)`."""

    _arity = 1


class Gadget2(_TypedGadget, Generic[P1, P2]):
    """A gadget that takes messages whose first blocks hold a P1 and a P2: implement `process(self, m1, m2)`.

    Further blocks (a trajectory, meta attributes) are m2's `cont`, and travel along with `put_next(m1)`.
    """

    _arity = 2


class Gadget3(_TypedGadget, Generic[P1, P2, P3]):
    """A gadget that takes messages whose first blocks hold a P1, P2 and P3: implement `process(self, m1, m2, m3)`."""

    _arity = 3
