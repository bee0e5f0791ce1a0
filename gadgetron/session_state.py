"""What a session does with each kind of message in each state: a table, and nothing else."""

from __future__ import annotations

from enum import Enum


class SessionState(Enum):
    """How far a session has come; the value completes "while …"."""

    AWAIT_CONFIG = "waiting for a configuration"
    AWAIT_HEADER = "waiting for parameters"
    STREAM = "reconstructing"
    DRAINING = "finishing"


class Received(Enum):
    """Kinds of messages a peer can send."""

    CONFIG = "a configuration"
    HEADER = "parameters"
    CLOSE = "the close message"
    TEXT = "text"
    QUERY = "a query"
    RESPONSE = "a response"
    ERROR = "an error"
    DATA = "data"
    UNKNOWN = "a message with an unknown id"


class Action(Enum):
    """What the controller does."""

    CONFIGURE = "build the chain"
    SEND_PARAMETERS = "send them through the chain"
    SEND_DATA = "send them into the chain"
    END = "drain the chain"
    LOG = "log it"
    ANSWER = "answer it"
    REPORT_PEER_ERROR = "fail with what the peer says"
    REFUSE = "fail: not now"
    REFUSE_UNKNOWN = "fail: unknown"
    IGNORE = "ignore it"


_ALWAYS = {
    Received.TEXT: Action.LOG,
    Received.QUERY: Action.ANSWER,
    Received.RESPONSE: Action.REFUSE,
    Received.ERROR: Action.REPORT_PEER_ERROR,
    Received.UNKNOWN: Action.REFUSE_UNKNOWN,
    Received.CLOSE: Action.END,
}

TRANSITIONS: dict[tuple[SessionState, Received], Action] = {
    **{(state, received): action for state in SessionState for received, action in _ALWAYS.items()},
    (SessionState.AWAIT_CONFIG, Received.CONFIG): Action.CONFIGURE,
    (SessionState.AWAIT_CONFIG, Received.HEADER): Action.REFUSE,
    (SessionState.AWAIT_CONFIG, Received.DATA): Action.REFUSE,
    (SessionState.AWAIT_HEADER, Received.CONFIG): Action.REFUSE,
    (SessionState.AWAIT_HEADER, Received.HEADER): Action.SEND_PARAMETERS,
    (SessionState.AWAIT_HEADER, Received.DATA): Action.REFUSE,
    (SessionState.STREAM, Received.CONFIG): Action.REFUSE,
    (SessionState.STREAM, Received.HEADER): Action.SEND_PARAMETERS,
    (SessionState.STREAM, Received.DATA): Action.SEND_DATA,
    **{(SessionState.DRAINING, received): Action.IGNORE for received in Received},
}

ADVICE = {
    (SessionState.AWAIT_CONFIG, Received.HEADER): "send a configuration first",
    (SessionState.AWAIT_CONFIG, Received.DATA): "send a configuration and parameters first",
    (SessionState.AWAIT_HEADER, Received.CONFIG): "the chain has been configured already",
    (SessionState.AWAIT_HEADER, Received.DATA): "send parameters (an ISMRMRD header) first",
    (SessionState.STREAM, Received.CONFIG): "the chain has been configured already",
}
