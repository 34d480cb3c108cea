"""Convert a conversation into a request of Anthropic's Messages API. Pure: no I/O.

The API's rules: roles alternate, a user begins, no text is empty, and the results of a turn's calls follow it
immediately, all in one message. While the model calls tools, its thoughts go back to it unchanged; they are signed
together with all that precedes them. So only the current run gets its thoughts back, and its results have a set order.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from agents_app.engine.arguments import parse_arguments
from agents_app.engine.providers.anthropic_thinking import Abilities, thinking_arguments, without_thinking
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.providers.request_body import Encoded
from agents_app.engine.spec import Message, Parameters
from agents_app.exceptions import RunFailed

BASE_URL = "https://api.anthropic.com"
_CACHE = {"type": "ephemeral"}
_MAX_ID = 64
_OPENING = "(The assistant begins.)"
_UNUSABLE_IN_SCHEMAS = {"oneOf", "anyOf", "allOf"}  # at the top; the loop checks arguments against the whole schema


def api_root(base_url: str) -> str:
    """Return the URL without the version, which the SDK adds and people often write."""
    return (base_url or BASE_URL).rstrip("/").removesuffix("/v1")


def origin(model: str) -> str:
    """Return who can read this model's thoughts: only the model itself."""
    return f"anthropic/{model}"


def arguments(request: ModelRequest, able: Abilities, *, thoughts: bool = True) -> dict[str, Any]:
    """Return the request as arguments for the SDK, with the model's thoughts of this run if `thoughts`."""
    arguments: dict[str, Any] = {"model": request.model, "stream": True} | thinking_arguments(request.parameters, able)
    if _started_without_thoughts(request, thoughts) and arguments.get("thinking", {}).get("type") == "enabled":
        arguments = without_thinking(arguments, request.parameters)
    if request.parameters.tool_choice and request.tools:  # the API refuses to think first
        arguments = without_thinking(arguments, request.parameters)
        thoughts = False
    if arguments.get("thinking", {}).get("type") == "disabled":
        thoughts = False
    arguments["messages"] = _turns(request, thoughts)
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


def _turns(request: ModelRequest, thoughts: bool) -> list[dict[str, Any]]:
    with_blocks = {id(message) for message in _open_turns(request) if thoughts and _is_own(message, request)}
    turns: list[dict[str, Any]] = []
    call_ids: set[str] = set()
    for position, message in enumerate(request.messages):
        if message.role == "user":
            _add(turns, "user", _contents(request, message) if message.parts else _texts(message.content))
        elif message.role == "assistant":
            names = [_call_id(call.id, call_ids) for call in message.tool_calls]
            _add(turns, "assistant", _assistant_content(message, names, with_blocks=id(message) in with_blocks))
            _add(turns, "user", _results(request, message, names, request.messages[position + 1 :]))
    if turns and turns[0]["role"] == "assistant":  # of a client whose history begins with a greeting
        turns.insert(0, {"role": "user", "content": _texts(_OPENING)})
    if request.tools or len(turns) > 1:  # the next request begins with all of these
        turns[-1]["content"][-1] = turns[-1]["content"][-1] | {"cache_control": _CACHE}
    return turns


def _add(turns: list[dict[str, Any]], role: str, content: list[dict[str, Any]]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += content
    elif content:
        turns.append({"role": role, "content": content})


def _contents(request: ModelRequest, message: Message) -> list[Any]:
    """Return the texts and files of a message in their order. Files in words are texts."""
    content: list[Any] = []
    for part in message.parts:
        if isinstance(part, str):
            content += _texts(part)
        else:
            file = request.file(part)
            content += [Encoded(file.json)] if file.json else _texts(file.text)
    return content


def _texts(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _call_id(original: str, used: set[str]) -> str:
    """Return an id that the API accepts, for another provider's call too: short, and unique in the request."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", original)[:_MAX_ID] or "call"
    numbered = (f"{plain[: _MAX_ID - 8]}_{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain([plain], numbered) if name not in used)
    used.add(name)
    return name


def _assistant_content(message: Message, names: list[str], *, with_blocks: bool) -> list[dict[str, Any]]:
    """Return a turn of the model: its own blocks in their order, or its text and then its calls."""
    calls = [
        {
            "type": "tool_use",
            "id": name,
            "name": re.sub(r"[^A-Za-z0-9_-]", "_", call.name),
            "input": parse_arguments(call.arguments) or {},
        }
        for call, name in zip(message.tool_calls, names, strict=True)
    ]
    if not with_blocks:
        return _texts(message.content) + calls
    return list(_in_place(message.blocks, calls))


def _in_place(blocks: Sequence[dict[str, Any]], calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    waiting = iter(calls)
    for block in blocks:
        if block["type"] == "tool_use":
            yield from itertools.islice(waiting, 1)
        elif block["type"] != "text" or block["text"].strip():
            yield block
    yield from waiting


def _results(
    request: ModelRequest, message: Message, names: list[str], later: Sequence[Message]
) -> list[dict[str, Any]]:
    """The results of a turn's calls, in the order of the calls: one for each, as the API insists."""
    answers = {m.tool_call_id: m for m in itertools.takewhile(lambda m: m.role == "tool", later)}
    missing = Message("tool", "There is no result of this call.", is_error=True)
    return [
        _result(request, name, answers.get(call.id, missing))
        for call, name in zip(message.tool_calls, names, strict=True)
    ]


def _result(request: ModelRequest, name: str, answer: Message) -> dict[str, Any]:
    content = answer.content.replace("\x00", "")  # as it is stored: a restart must not change it
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": name}
    if answer.parts and not answer.is_error:  # an error takes text only
        return result | {"content": _contents(request, answer)}
    if answer.is_error:
        return result | {"content": content if content.strip() else "The tool failed.", "is_error": True}
    return result | ({"content": content} if content.strip() else {})


def _schema(parameters: dict[str, Any]) -> dict[str, Any]:
    usable = {name: value for name, value in parameters.items() if name not in _UNUSABLE_IN_SCHEMAS}
    return usable | {"type": "object"}
