"""Tools of the caller: the model calls them, and the program that started the run executes them.

The run waits for their results as it waits for a person, and no worker meanwhile.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from agents_app.engine.spec import JSON, Decision
from agents_app.engine.toolset import CLIENT_TOOL, NAME, Call, Tool, ToolError, ToolResult
from agents_app.exceptions import InvalidRequest
from agents_app.foreign_text import clean_json

MOST_TOOLS = 128
MOST_BYTES = 256 * 1024  # of all definitions together
LONGEST_DESCRIPTION = 8000  # characters
LONGEST_OUTPUT = 256 * 1024  # characters
_SERVER_TOOL = "__"  # between the name of an MCP server and that of its tool


def checked(definitions: Any, field: str = "tools") -> list[JSON]:
    """Return the definitions of tools, as `{name, description, parameters, strict}`, with schemas that models accept.

    Raises:
        InvalidRequest: a definition cannot be used. Names its field, below `field`.
    """
    if not isinstance(definitions, list):
        _refuse(field, "must be a list of tools.")
    if len(definitions) > MOST_TOOLS:
        _refuse(field, f"has more than {MOST_TOOLS} tools.")
    if _size(definitions) > MOST_BYTES:
        _refuse(field, f"is larger than {MOST_BYTES // 1024} KiB.")
    tools: dict[str, JSON] = {}
    for position, definition in enumerate(definitions):
        tool = _checked(definition, f"{field}[{position}]")
        if tool["name"] in tools:
            _refuse(f"{field}[{position}].name", f"is {tool['name']!r}, as that of another tool of the list.")
        tools[tool["name"]] = tool
    return list(tools.values())


def _size(definitions: list[Any]) -> int:
    try:
        return len(json.dumps(definitions))
    except (ValueError, TypeError, RecursionError):
        return MOST_BYTES + 1


def _checked(definition: Any, path: str) -> JSON:
    if not isinstance(definition, dict):
        _refuse(path, "must be an object.")
    if (kind := definition.get("type", "function")) != "function":
        _refuse(f"{path}.type", f"is {str(kind)[:50]!r}: only tools of the type 'function' are supported.")
    name, description, strict = (definition.get(key) for key in ("name", "description", "strict"))
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        _refuse(f"{path}.name", "must be 1 to 64 letters, digits, '_' or '-'.")
    if not isinstance(description, str | None) or len(description or "") > LONGEST_DESCRIPTION:
        _refuse(f"{path}.description", f"must be a string of at most {LONGEST_DESCRIPTION:,} characters.")
    if not isinstance(strict, bool | None):
        _refuse(f"{path}.strict", "must be true or false.")
    tool = {"name": name, "description": description or "", "parameters": _parameters(definition, path)}
    if clean_json(tool) != tool:
        _refuse(path, "has characters that cannot be stored, such as NUL.")
    return tool | ({"strict": strict} if strict is not None else {})


def _parameters(definition: JSON, path: str) -> JSON:
    from agents_app.engine.mcp.tool_parameters import Unclear, UnusableSchema, parameters  # as in `toolset`

    schema = definition.get("parameters")
    if schema is not None and (not isinstance(schema, dict) or schema.get("type", "object") != "object"):
        _refuse(f"{path}.parameters", "must be the JSON Schema of an object.")
    try:
        return parameters(schema)
    except (Unclear, UnusableSchema) as error:
        _refuse(f"{path}.parameters", f"cannot be used: {error}.")


def _refuse(param: str, problem: str) -> NoReturn:
    raise InvalidRequest(f"'{param}' {problem}", param=param)


def taken_name(names: Iterable[str], own: Iterable[str], servers: Iterable[str]) -> str | None:
    """Return the first of the names that the agent has for a tool of its own: of `own`, or of an MCP server."""
    own, prefixes = set(own), tuple(re.sub(r"[^A-Za-z0-9_-]", "_", server) + _SERVER_TOOL for server in servers)
    return next((name for name in names if name in own or name.startswith(prefixes)), None)


def make_tools(definitions: Sequence[JSON]) -> list[Tool]:
    """Return the tools for a model."""
    return [
        Tool(
            name=definition["name"],
            description=definition["description"],
            parameters=definition["parameters"],
            call=_not_called,
            action=CLIENT_TOOL,
        )
        for definition in definitions
    ]


async def _not_called(_arguments: JSON, _call: Call) -> str:
    raise ToolError("Only the calling program executes this tool.")


def outcome(decision: Decision) -> ToolResult:
    """Return what the model gets as the result of the call."""
    if decision.approved:
        return ToolResult(decision.response, is_error=decision.is_error)
    if not decision.by:
        return ToolResult("The program that has this tool gave no result in time.", is_error=True)
    reason = f" Reason: {decision.reason}" if decision.reason else ""
    return ToolResult(f"This call was not made: {decision.by} declined it.{reason}", is_error=True)
