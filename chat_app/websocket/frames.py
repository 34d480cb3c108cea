"""What a client may say on the socket, validated; and the frames of the socket itself. PROTOCOL, section 1."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson

from agents_app.exceptions import AgentError, InvalidMessage, InvalidRequest, RateLimited
from agents_app.runs import LONGEST_MESSAGE_ID
from agents_app.runs.approvals import LONGEST_REASON

_LARGEST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Chat:
    """Start a run."""

    message: str
    agent_name: str | None
    enable_reasoning: bool
    message_id: str | None
    if_busy: Literal["enqueue", "reject", "interrupt"]


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop a run; every unfinished one of the session where none is named."""

    run_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Approve:
    """Approve or deny a call that waits; `for_run`: its tool, for the rest of the run."""

    tool_call_id: str
    approved: bool
    reason: str
    for_run: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Replay what follows `after`."""

    after: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with the same timestamp."""

    timestamp: float | None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to our ping."""


ClientFrame = Chat | Interrupt | Approve | Resume | Ping | Pong


def parse(text: str) -> ClientFrame:
    """What the client said.

    Raises:
        InvalidMessage: it is nothing that we understand; `param` names the field, `code` the kind of fault.
    """
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidMessage(f"This is not JSON: {error}.", code="invalid_json") from None
    if not isinstance(content, dict):
        raise InvalidMessage("A message is an object with 'type' and 'payload'.")
    kind = content.get("type")
    if not isinstance(kind, str):
        raise InvalidMessage("'type' is missing or not a string.", param="type")
    if kind not in _PARSERS:
        raise InvalidMessage(f"Unknown type {kind[:50]!r}; there are: {', '.join(_PARSERS)}.", param="type")
    payload = content.get("payload", {})
    if not isinstance(payload, dict):
        raise InvalidMessage("'payload' must be an object.", param="payload")
    if kind == "ping" and "timestamp" not in payload and "timestamp" in content:
        payload = {"timestamp": content["timestamp"]}
    return _PARSERS[kind](payload)


def _chat(payload: dict[str, Any]) -> Chat:
    message = payload.get("message")
    if not isinstance(message, str):
        raise InvalidMessage("'message' must be a string.", param="message")
    if_busy = payload.get("if_busy", "enqueue")
    if if_busy not in ("enqueue", "reject", "interrupt"):
        raise InvalidMessage("'if_busy' must be 'enqueue', 'reject' or 'interrupt'.", param="if_busy")
    return Chat(
        message=message,
        agent_name=_text(payload, "agent_name", longest=64),
        enable_reasoning=_flag(payload, "enable_reasoning", default=True),
        message_id=_text(payload, "message_id", longest=LONGEST_MESSAGE_ID),
        if_busy=cast(Literal["enqueue", "reject", "interrupt"], if_busy),
    )


def _interrupt(payload: dict[str, Any]) -> Interrupt:
    run_id = _text(payload, "run_id", longest=64)
    try:
        return Interrupt(None if run_id is None else uuid.UUID(run_id))
    except ValueError:
        raise InvalidMessage("'run_id' is not the id of a run.", param="run_id") from None


def _approve(payload: dict[str, Any]) -> Approve:
    tool_call_id = _text(payload, "tool_call_id", longest=128)
    if not tool_call_id:
        raise InvalidMessage("'tool_call_id' must name the call.", param="tool_call_id")
    if "approved" not in payload:
        raise InvalidMessage("'approved' must be true or false.", param="approved")
    return Approve(
        tool_call_id=tool_call_id,
        approved=_flag(payload, "approved", default=False),
        reason=_text(payload, "reason", longest=LONGEST_REASON) or "",
        for_run=_flag(payload, "for_run", default=False),
    )


def _resume(payload: dict[str, Any]) -> Resume:
    after = payload.get("after")
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after <= _LARGEST_SEQ:
        raise InvalidMessage("'after' must be a whole number, 0 or more.", param="after")
    return Resume(after)


def _ping(payload: dict[str, Any]) -> Ping:
    timestamp = payload.get("timestamp")
    if timestamp is not None and (isinstance(timestamp, bool) or not isinstance(timestamp, int | float)):
        raise InvalidMessage("'timestamp' must be a number.", param="timestamp")
    return Ping(timestamp)


_PARSERS: dict[str, Callable[[dict[str, Any]], ClientFrame]] = {
    "chat": _chat,
    "interrupt": _interrupt,
    "approve": _approve,
    "resume": _resume,
    "ping": _ping,
    "pong": lambda payload: Pong(),
}


def _text(payload: dict[str, Any], field: str, *, longest: int) -> str | None:
    value = payload.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidMessage(f"'{field}' must be a string.", param=field)
    if len(value) > longest:
        raise InvalidMessage(f"'{field}' is longer than {longest:,} characters.", param=field)
    if "\x00" in value:
        raise InvalidMessage(f"'{field}' must not contain NUL characters.", param=field)
    return value


def _flag(payload: dict[str, Any], field: str, *, default: bool) -> bool:
    value = payload.get(field, default)
    if not isinstance(value, bool):
        raise InvalidMessage(f"'{field}' must be true or false.", param=field)
    return value


def encode(kind: str, data: dict[str, Any]) -> str:
    """A frame of the socket: without a number, not in the log."""
    return orjson.dumps({"type": kind, "data": data}).decode()


def error_frame(error: AgentError, message_id: str | None = None) -> str:
    """How an error is told on the socket, which stays open; `message_id` where a `chat` that had one is refused."""
    data: dict[str, Any] = {"message": str(error), "code": error.code}
    if isinstance(error, InvalidRequest) and error.param:
        data["field"] = error.param
        if not isinstance(error, InvalidMessage):
            data["code"] = InvalidMessage.code
    if isinstance(error, RateLimited):
        data["retry_after"] = round(error.retry_after, 3)
    if message_id is not None:
        data["message_id"] = message_id
    return encode("error", data)


def ping_frame() -> str:
    return encode("ping", {"timestamp": time.time()})


def pong_frame(timestamp: float | None) -> str:
    return encode("pong", {"timestamp": timestamp if timestamp is not None else time.time()})
