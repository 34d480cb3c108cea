"""Convert a server's tools: names that every model provider accepts, and schemas that describe an object."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Call, Tool, ToolResult, matches

MakeFunction = Callable[[str], Callable[[JSON, Call], Awaitable[str | ToolResult]]]

_MAX_NAME = 64
_HASH = 8  # hexadecimal digits
DIGEST = 32  # hexadecimal digits
_MAX_DESCRIPTION = 8000  # characters
_MAX_QUOTED = 100  # characters of a name in a sentence


def make_tools(spec: ServerSpec, descriptions: Sequence[JSON], make_function: MakeFunction) -> tuple[Tool, ...]:
    """Return the tools that may be used, of those that `sort_out` returns.

    `make_function` makes the function that calls the tool of that own name.
    """
    by_own_name: dict[str, JSON] = {}
    for tool in descriptions:
        name = tool.get("name")
        if isinstance(name, str) and name and is_allowed(spec, name) and _is_for_models(tool):
            by_own_name.setdefault(name, tool)
    timeouts = dict(spec.tool_timeouts)
    names = _names(spec.name, list(by_own_name))
    return tuple(
        Tool(
            name=names[name],
            **(shown := _shown(tool)),
            call=make_function(name),
            timeout=timeouts.get(name, spec.timeout),
            server=spec.name,
            own_name=name,
            digest=_digest(shown),
        )
        for name, tool in by_own_name.items()
    )


def _is_for_models(tool: JSON) -> bool:
    """Whether a model may get the tool, and not only an app that the server shows (extension MCP Apps)."""
    meta = tool.get("_meta")
    app = meta.get("ui") if isinstance(meta, dict) else None
    visibility = app.get("visibility") if isinstance(app, dict) else None
    return not isinstance(visibility, list) or "model" in visibility


def _shown(tool: JSON) -> JSON:
    """Return what models and people go by when they decide about a call."""
    return {
        "description": _description(tool),
        "parameters": tool["inputSchema"],
        "read_only": _hint(tool, "readOnlyHint"),
        "idempotent": _hint(tool, "idempotentHint"),
    }


def _digest(shown: JSON) -> str:
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:DIGEST]


def changed(spec: ServerSpec, tools: Sequence[Tool]) -> list[str]:
    """Return the tools that are not what they were at the last check, by the server's own names."""
    digests = dict(spec.tool_digests)
    return [tool.own_name for tool in tools if digests.get(tool.own_name, tool.digest) != tool.digest]


def changes(spec: ServerSpec, tools: Sequence[Tool]) -> str:
    """Return a sentence about the tools that are not what they were at the last check; empty if there are none."""
    if not (names := changed(spec, tools)):
        return ""
    listed = ", ".join(repr(name[:_MAX_QUOTED]) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"Tools of the MCP server {spec.name!r} have another description or other parameters than at its last check: "
        f"{listed}{more}. An administrator should read them, and check the server again."
    )


def sort_out(spec: ServerSpec, descriptions: Sequence[JSON]) -> tuple[list[JSON], str]:
    """Return the tools with schemas that can be used, and a sentence about the others; empty if there are none."""
    from agents_app.engine.mcp.tool_parameters import Unclear, UnusableSchema, parameters  # as in `toolset`

    usable: list[JSON] = []
    problems: list[str] = []
    for tool in descriptions:
        name = tool.get("name")
        if not isinstance(name, str) or not is_allowed(spec, name) or not _is_for_models(tool):
            continue
        try:
            usable.append(tool | {"inputSchema": parameters(tool.get("inputSchema"))})
        except (Unclear, UnusableSchema) as error:
            problems.append(f"{name[:_MAX_QUOTED]!r}: {error}")
    if not problems:
        return usable, ""
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    text = f"Tools of the MCP server {spec.name!r} are left out for their schemas. {'; '.join(problems[:3])}{more}."
    return usable, text


def is_allowed(spec: ServerSpec, name: str) -> bool:
    """Whether the server's settings let this tool be used."""
    return (not spec.allowed or matches(name, spec.allowed)) and not matches(name, spec.denied)


def _names(server: str, own: list[str]) -> dict[str, str]:
    """Return `server__tool` for each. A name that must change to be valid, and then is not unique, ends in a hash."""
    plain = {name: f"{server}__{name}" for name in own}
    valid = {name: re.sub(r"[^A-Za-z0-9_-]", "_", long) for name, long in plain.items()}
    counts = Counter(valid.values())
    return {
        name: _with_hash(new, name) if len(new) > _MAX_NAME or (new != plain[name] and counts[new] > 1) else new
        for name, new in valid.items()
    }


def _with_hash(name: str, own: str) -> str:
    digest = hashlib.sha256(own.encode("utf-8", "replace")).hexdigest()[:_HASH]
    return f"{name[: _MAX_NAME - _HASH - 1]}_{digest}"


def _description(tool: JSON) -> str:
    for text in (tool.get("description"), tool.get("title")):
        if isinstance(text, str) and text:
            return text[:_MAX_DESCRIPTION].encode("utf-8", "replace").decode()
    return ""


def _hint(tool: JSON, name: str) -> bool:
    annotations = tool.get("annotations")
    return isinstance(annotations, dict) and annotations.get(name) is True
