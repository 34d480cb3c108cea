"""Convert a conversation into a request of Anthropic's Messages API. Pure: no I/O.

The API's rules: roles alternate, a user begins, no text is empty, and the results of a turn's calls follow it
immediately, all in one message. While the model calls tools, its thoughts go back to it unchanged; they are signed
together with all that precedes them. So only the current run gets its thoughts back, and its results have a set order.
"""

import itertools
from typing import Any

from agents_app.engine.providers import request_body
from agents_app.engine.providers.anthropic_messages import encoded_messages
from agents_app.engine.providers.anthropic_thinking import (
    EXTRA_HEADERS,
    Abilities,
    thinking_arguments,
    without_thinking,
)
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.spec import Message, Parameters
from agents_app.exceptions import RunFailed

BASE_URL = "https://api.anthropic.com"
_CACHE = {"type": "ephemeral"}
_UNUSABLE_IN_SCHEMAS = {"oneOf", "anyOf", "allOf"}  # at the top; the loop checks arguments against the whole schema


def api_root(base_url: str) -> str:
    """Return the URL without the version, which the SDK adds and people often write."""
    return (base_url or BASE_URL).rstrip("/").removesuffix("/v1")


def origin(model: str) -> str:
    """Return who can read this model's thoughts: only the model itself."""
    return f"anthropic/{model}"


def body(
    request: ModelRequest, able: Abilities, *, thoughts: bool = True
) -> tuple[bytes | request_body.Body, dict[str, str]]:
    """Return the request, with the model's thoughts of this run if `thoughts`, and its headers."""
    arguments = _arguments(request, able, thoughts=thoughts)
    headers = arguments.pop(EXTRA_HEADERS, {})
    is_disabled = arguments.get("thinking", {}).get("type") == "disabled" or _must_call(request)
    turns = _open_turns(request) if thoughts and not is_disabled else []
    messages = encoded_messages(request, with_blocks=[turn for turn in turns if _is_own(turn, request)])
    return request_body.body(request_body.with_message_pieces(arguments, messages)), headers


def _arguments(request: ModelRequest, able: Abilities, *, thoughts: bool) -> dict[str, Any]:
    """Return the request without its messages."""
    arguments: dict[str, Any] = {"model": request.model, "stream": True} | thinking_arguments(request.parameters, able)
    if _started_without_thoughts(request, thoughts) and arguments.get("thinking", {}).get("type") == "enabled":
        arguments = without_thinking(arguments, request.parameters)
    if _must_call(request):  # the API refuses to think first
        arguments = without_thinking(arguments, request.parameters)
    if request.system_prompt.strip():
        arguments["system"] = [{"type": "text", "text": request.system_prompt, "cache_control": _CACHE}]
    if request.tools:
        arguments["tools"] = [
            {"name": t.name, "description": t.description, "input_schema": _schema(t.parameters)} for t in request.tools
        ]
        arguments["tools"][-1]["cache_control"] = _CACHE
        arguments |= _choice(request.parameters)
    if request.parameters.stop:
        arguments["stop_sequences"] = list(request.parameters.stop)
    if request.parameters.response_format:
        arguments["output_config"] = arguments.get("output_config", {}) | _format(request.parameters.response_format)
    return arguments


def _choice(parameters: Parameters) -> dict[str, Any]:
    """Return the field that says which tools to call; nothing if that is the model's choice."""
    choice, one = parameters.tool_choice, not parameters.parallel_tool_calls
    if choice is None and not one:
        return {}
    kind = "auto" if choice is None else "tool" if choice.name else "any"
    named = {"name": choice.name} if choice and choice.name else {}
    return {"tool_choice": {"type": kind, **named} | ({"disable_parallel_tool_use": True} if one else {})}


def _must_call(request: ModelRequest) -> bool:
    return bool(request.parameters.tool_choice and request.tools)


def _format(response_format: dict[str, Any]) -> dict[str, Any]:
    """Return the output format.

    Raises:
        RunFailed: Claude models do not support it.
    """
    from anthropic import transform_schema  # workers have imported the SDK, and nobody else needs it

    problem = "Claude models have no JSON mode: give a schema."
    if response_format["type"] == "json_schema":
        try:
            schema = transform_schema(response_format["json_schema"].get("schema", {}))
            return {"format": {"type": "json_schema", "schema": schema}}
        except ValueError as error:
            problem = f"its schema cannot be used with Claude models: {error}"
    raise RunFailed(f"'response_format' is not supported: {problem}", code="unsupported_response_format")


def has_thoughts(request: ModelRequest) -> bool:
    """Whether the request contains thoughts of the model."""
    return any(_is_own(message, request) for message in _open_turns(request))


def _open_turns(request: ModelRequest) -> list[Message]:
    """Return the model's turns since the last message of a user: the current run.

    A message right after results of tools is one that the run took while it worked.
    """
    turns: list[Message] = []
    for message, before in itertools.pairwise([*reversed(request.messages), None]):
        assert message is not None
        if message.role == "user" and (before is None or before.role != "tool"):
            break
        if message.role == "assistant":
            turns.append(message)
    return turns[::-1]


def _is_own(message: Message, request: ModelRequest) -> bool:
    return bool(message.blocks) and message.origin == origin(request.model)


def _started_without_thoughts(request: ModelRequest, thoughts: bool) -> bool:
    turns = _open_turns(request)
    return bool(turns) and not (thoughts and _is_own(turns[0], request))


def _schema(parameters: dict[str, Any]) -> dict[str, Any]:
    usable = {name: value for name, value in parameters.items() if name not in _UNUSABLE_IN_SCHEMAS}
    return usable | {"type": "object"}
