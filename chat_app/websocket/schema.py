"""The frames of the socket as JSON Schema: the machine-readable twin of PROTOCOL, section 1."""

from typing import Any

from agents_app.api.protocol import PROTOCOL_VERSION

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SEQ: Schema = {"type": "integer", "minimum": 1}
_MOMENT: Schema = {"type": "number", "description": "Seconds since the epoch."}
_USAGE = ("input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "requests", "tool_calls")
_STEP_TYPES = ["thought", "tool_use", "tool_result", "final_answer", "error"]


def _object(optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_TOOL = (
    "tool_name", "tool_call_id", "arguments", "is_error", "duration_ms",
    "attachments", "child_run_id", "child_session_id",
)  # fmt: skip
_ATTACHMENT = _object(
    id={"type": "string", "format": "uuid"},
    kind={"enum": ["text", "image", "audio", "resource", "structured"]},
    media_type=_TEXT,
    name=_TEXT,
    size=_COUNT,
)

LOG_DATA: dict[str, Schema] = {
    "reasoning_start": _object(
        agent=_TEXT,
        message=_TEXT,
        enable_reasoning={"type": "boolean"},
        message_id=_nullable(_TEXT),
        trigger={"enum": ["chat", "api", "schedule", "mcp", "admin", "agent"]},
    ),
    "reasoning_delta": _object(step=_COUNT, type={"enum": _STEP_TYPES}, iteration=_COUNT, offset=_COUNT, content=_TEXT),
    "reasoning_step": _object(
        _TOOL,
        step=_COUNT,
        type={"enum": _STEP_TYPES},
        content=_TEXT,
        iteration=_COUNT,
        timestamp=_MOMENT,
        tool_name=_TEXT,
        tool_call_id=_TEXT,
        arguments={"type": "object"},
        is_error={"type": "boolean"},
        duration_ms=_COUNT,
        attachments={"type": "array", "items": _ATTACHMENT},
        child_run_id=_TEXT,
        child_session_id=_TEXT,
    ),
    "approval_required": _object(
        tool_call_id=_TEXT,
        tool_name=_TEXT,
        arguments={"type": "object"},
        expires_at={"type": "string", "format": "date-time"},
    ),
    "approval_resolved": _object(
        tool_call_id=_TEXT, tool_name=_TEXT, approved={"type": "boolean"}, reason=_TEXT, by=_TEXT
    ),
    "warning": _object(message=_TEXT, code=_TEXT),
    "retry": _object(step=_COUNT, attempt=_COUNT, reason=_TEXT, delay_ms=_COUNT),
    "response": _object(content=_TEXT),
    "interrupted": _object(message=_TEXT, by=_TEXT),
    "error": _object(message=_TEXT, code=_TEXT),
    "reasoning_complete": _object(
        status={"enum": ["completed", "failed", "cancelled"]},
        iterations=_COUNT,
        usage=_object(("cached_tokens",), **dict.fromkeys(_USAGE, _COUNT)),
        duration_ms=_COUNT,
    ),
}

SOCKET_DATA: dict[str, Schema] = {
    "connected": _object(
        session_id=_TEXT,
        agent_name=_nullable(_TEXT),
        message=_TEXT,
        last_seq=_COUNT,
        runs={"type": "array", "items": _object(id=_TEXT, status={"enum": ["queued", "running", "waiting"]})},
        heartbeat_interval={"type": "number"},
        protocol={"const": PROTOCOL_VERSION},
    ),
    "ping": _object(timestamp=_MOMENT),
    "pong": _object(timestamp=_MOMENT),
    "error": _object(
        ("field", "retry_after", "message_id"),
        message=_TEXT,
        code=_TEXT,
        field=_TEXT,
        retry_after={"type": "number"},
        message_id=_TEXT,
    ),
    "notice": _object(message=_TEXT),
    "reset": _object(after=_COUNT),
}


def _log_frame(kind: str, data: Schema) -> Schema:
    run = _nullable({"type": "string", "format": "uuid"})
    return _object(("first",), type={"const": kind}, seq=_SEQ, first=_SEQ, run_id=run, timestamp=_MOMENT, data=data)


def _client_frame(kind: str, payload: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, "payload": payload},
        "required": ["type"],
    }


def _payload(required: list[str], **properties: Schema) -> Schema:
    """What a client may send: fields that we do not know are ignored."""
    return {"type": "object", "properties": properties, "required": required}


_CLIENT: list[Schema] = [
    _client_frame(
        "chat",
        _payload(
            ["message"],
            message={"type": "string", "minLength": 1, "maxLength": 100_000},
            agent_name=_nullable({"type": "string", "maxLength": 64}),
            enable_reasoning={"type": "boolean", "default": True},
            message_id=_nullable({"type": "string", "maxLength": 128}),
            if_busy={"enum": ["enqueue", "reject", "interrupt"], "default": "enqueue"},
        ),
    ),
    _client_frame("interrupt", _payload([], run_id=_nullable(_TEXT))),
    _client_frame(
        "approve",
        _payload(
            ["tool_call_id", "approved"],
            tool_call_id={"type": "string", "maxLength": 128},
            approved={"type": "boolean"},
            reason=_nullable({"type": "string", "maxLength": 2000}),
            for_run={"type": "boolean", "default": False},
        ),
    ),
    _client_frame("resume", _payload(["after"], after=_COUNT)),
    _client_frame("ping", _payload([], timestamp=_nullable({"type": "number"}))),
    _client_frame("pong", _payload([])),
]

SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "/v1/schema/frames",
    "title": "Frames of /ws/chat/{session_id}",
    "oneOf": [{"$ref": "#/$defs/server"}, {"$ref": "#/$defs/client"}],
    "$defs": {
        "server": {"oneOf": [{"$ref": "#/$defs/log"}, {"$ref": "#/$defs/socket"}]},
        "log": {"oneOf": [_log_frame(kind, data) for kind, data in LOG_DATA.items()]},
        "socket": {"oneOf": [_object(type={"const": kind}, data=data) for kind, data in SOCKET_DATA.items()]},
        "client": {"oneOf": _CLIENT},
    },
}
