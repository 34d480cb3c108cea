"""The frames that a client may send on the socket: a model for each payload, from which parser and schema come."""

import json
import re
import uuid
from typing import Annotated, Any, Literal

import msgspec
from django.conf import settings
from msgspec import Meta

from agents_app import exact_json
from agents_app.exceptions import InvalidMessage
from agents_app.files.parts import MOST_PARTS
from agents_app.models import agent_names
from agents_app.runs import LONGEST_MESSAGE_ID
from agents_app.runs.approvals import LONGEST_REASON
from agents_app.runs.client_tools import LONGEST_OUTPUT, MOST_TOOLS
from chat_app.websocket.json_schema import Schema, schema_of

_LARGEST_SEQ = 2**63 - 1
_CHECKED_LATER = ("message", "parts", "tools")  # for NUL characters, with the rest that is checked of them
_TEXT = {"type": "string"}


def _part(kind: str, field: str) -> Schema:
    properties = {"type": {"const": kind}, field: _TEXT}
    return {"type": "object", "properties": properties, "required": ["type", field]}


_PARTS = Meta(
    max_length=MOST_PARTS, extra_json_schema={"items": {"oneOf": [_part("text", "text"), _part("file", "file_id")]}}
)


class Payload(msgspec.Struct, frozen=True):
    """The payload of a frame. Unknown fields are ignored."""


class Chat(Payload, frozen=True):
    """Start a run. `files.parts` checks the parts, `runs.validate_message` the text; it is empty only beside files."""

    message: Annotated[str, Meta(extra_json_schema={"maxLength": settings.MAX_MESSAGE_CHARACTERS})] = ""
    parts: Annotated[list[Any], _PARTS] | None = None
    agent_name: Annotated[str, Meta(max_length=agent_names.LONGEST)] | None = None
    enable_reasoning: bool = True
    message_id: Annotated[str, Meta(max_length=LONGEST_MESSAGE_ID)] | None = None
    if_busy: Literal["enqueue", "reject", "interrupt", "steer"] = "enqueue"
    tools: Annotated[list[Any], Meta(max_length=MOST_TOOLS)] | None = None


class Interrupt(Payload, frozen=True):
    """Stop a run; without `run_id`, every unfinished run of the session."""

    run_id: uuid.UUID | None = None


class Approve(Payload, frozen=True):
    """Approve or deny a tool call that waits; `for_run`: its tool, for the rest of the run.

    `arguments` replace those of the model: all of them.
    """

    tool_call_id: Annotated[str, Meta(min_length=1, max_length=128)]
    approved: bool
    reason: Annotated[str, Meta(max_length=LONGEST_REASON)] | None = None
    for_run: bool = False
    arguments: dict[str, Any] | None = None


class Answer(Payload, frozen=True):
    """Answer an action, or decline to.

    `response` answers a question, or is the result of a tool; `is_error`: which says that the tool failed. The other
    fields are those of `approve`.
    """

    action_id: Annotated[str, Meta(min_length=1, max_length=128)]
    outcome: Literal["answered", "declined"]
    response: Annotated[str, Meta(max_length=LONGEST_OUTPUT)] | None = None
    arguments: dict[str, Any] | None = None
    reason: Annotated[str, Meta(max_length=LONGEST_REASON)] | None = None
    for_run: bool = False
    is_error: bool = False


class Resume(Payload, frozen=True):
    """Replay the events that follow `after`."""

    after: Annotated[int, Meta(ge=0, le=_LARGEST_SEQ)]


class Ping(Payload, frozen=True):
    """Answer with a `pong` of the same timestamp."""

    timestamp: int | float | None = None


class Pong(Payload, frozen=True):
    """The answer to the server's `ping`."""


PAYLOADS: dict[str, type[Payload]] = {
    "chat": Chat,
    "interrupt": Interrupt,
    "approve": Approve,
    "answer": Answer,
    "resume": Resume,
    "ping": Ping,
    "pong": Pong,
}


def parse(text: str) -> Payload:
    """Return the payload of a client's frame.

    Raises:
        InvalidMessage: the frame is invalid; `param` names the field, `code` the kind of error.
    """
    try:
        content = exact_json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidMessage(f"This is not JSON: {error}.", code="invalid_json") from None
    if not isinstance(content, dict):
        raise InvalidMessage("A message must be an object with 'type' and 'payload'.")
    kind = content.get("type")
    if not isinstance(kind, str):
        raise InvalidMessage("'type' is missing or not a string.", param="type")
    if kind not in PAYLOADS:
        raise InvalidMessage(f"Unknown type {kind[:50]!r}: use one of {', '.join(PAYLOADS)}.", param="type")
    payload = content.get("payload", {})
    if not isinstance(payload, dict):
        raise InvalidMessage("'payload' must be an object.", param="payload")
    if kind == "ping" and "timestamp" not in payload and "timestamp" in content:
        payload = {"timestamp": content["timestamp"]}
    return _convert(payload, PAYLOADS[kind])


def _convert(payload: dict[str, Any], model: type[Payload]) -> Payload:
    try:
        result = msgspec.convert(payload, model)
    except msgspec.ValidationError as error:
        raise _invalid(model, _field_of(error)) from None
    for field in model.__struct_fields__:
        if field not in _CHECKED_LATER and "\x00" in str(getattr(result, field)):
            raise InvalidMessage(f"'{field}' must not contain NUL characters.", param=field)
    return result


def _field_of(error: msgspec.ValidationError) -> str:
    """Return the field that msgspec names: "… required field `x`", or "… - at `$.x`"."""
    match = re.search(r"field `(\w+)`|`\$\.(\w+)", str(error))
    assert match is not None, error
    return match[1] or match[2]


def _invalid(model: type[Payload], field: str) -> InvalidMessage:
    schema = schema_of(model)["properties"][field]
    return InvalidMessage(f"'{field}' must be {_requirement(schema)}.", param=field)


def _requirement(schema: Schema) -> str:
    """Describe in words what a field's schema requires."""
    first = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in first:
        *others, last = (repr(value) for value in first["enum"])
        return f"{', '.join(others)} or {last}"
    match first["type"], first:
        case "string", {"format": "uuid"}:
            return "a UUID"
        case "string", {"minLength": least, "maxLength": most}:
            return f"a string of {least:,} to {most:,} characters"
        case "string", {"maxLength": most}:
            return f"a string of at most {most:,} characters"
        case "array", {"maxItems": most}:
            return f"a list of at most {most:,} entries"
        case "object", _:
            return "an object"
        case "boolean", _:
            return "true or false"
        case "integer", {"minimum": least}:
            return f"a whole number, {least} or more"
    return "a number"
