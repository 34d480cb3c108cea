"""A server's tools as ours: names that every model provider takes, and schemas that describe an object."""

import hashlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Call, Tool, ToolResult, matches

Caller = Callable[[str], Callable[[JSON, Call], Awaitable[str | ToolResult]]]

_LONGEST_NAME = 64
_HASH = 8  # hexadecimal digits
_LONGEST_DESCRIPTION = 8000  # characters


def tools_of(spec: ServerSpec, listed: Sequence[JSON], caller: Caller) -> tuple[Tool, ...]:
    """The tools that may be used. `caller` makes the function that calls a tool, by the server's own name."""
    own: dict[str, JSON] = {}
    for tool in listed:
        name = tool.get("name")
        if isinstance(name, str) and name and is_allowed(spec, name):
            own.setdefault(name, tool)
    timeouts = dict(spec.tool_timeouts)
    names = _names(spec.name, list(own))
    return tuple(
        Tool(
            name=names[name],
            description=_description(tool),
            parameters=_parameters(tool.get("inputSchema")),
            call=caller(name),
            read_only=_hint(tool, "readOnlyHint"),
            idempotent=_hint(tool, "idempotentHint"),
            timeout=timeouts.get(name, spec.timeout),
            server=spec.name,
            own_name=name,
        )
        for name, tool in own.items()
    )


def is_allowed(spec: ServerSpec, name: str) -> bool:
    """Whether the server's settings let this tool be used."""
    return (not spec.allowed or matches(name, spec.allowed)) and not matches(name, spec.denied)


def _names(server: str, own: list[str]) -> dict[str, str]:
    """`server__tool` for each; what must be changed to fit, and is then no longer the only one, ends in a hash."""
    plain = {name: f"{server}__{name}" for name in own}
    fitting = {name: re.sub(r"[^A-Za-z0-9_-]", "_", long) for name, long in plain.items()}
    taken = Counter(fitting.values())
    return {
        name: _hashed(fits, name) if len(fits) > _LONGEST_NAME or (fits != plain[name] and taken[fits] > 1) else fits
        for name, fits in fitting.items()
    }


def _hashed(name: str, own: str) -> str:
    digest = hashlib.sha256(own.encode("utf-8", "replace")).hexdigest()[:_HASH]
    return f"{name[: _LONGEST_NAME - _HASH - 1]}_{digest}"


def _description(tool: JSON) -> str:
    for text in (tool.get("description"), tool.get("title")):
        if isinstance(text, str) and text:
            return text[:_LONGEST_DESCRIPTION].encode("utf-8", "replace").decode()
    return ""


def _parameters(schema: object) -> JSON:
    """Models are told of an object, whatever the server says: arguments always are one."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return {"type": "object", "properties": {}}
    properties = schema.get("properties")
    return {**schema, "type": "object", "properties": properties if isinstance(properties, dict) else {}}


def _hint(tool: JSON, name: str) -> bool:
    annotations = tool.get("annotations")
    return isinstance(annotations, dict) and annotations.get(name) is True
