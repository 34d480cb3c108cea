"""What a model behind Anthropic's Messages API is asked: our conversation in its words. Pure.

Its rules: the roles alternate, a user begins, no text is empty, and the results of a turn's calls follow it at once,
all in one message. What the model thought goes back to it unchanged while it calls tools, and is signed together with
all that was said before it; hence only the run that goes on is told its thoughts, and its results come in a set order.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from agents_app.engine.providers.anthropic_thinking import Abilities, thinking_arguments, without_thinking
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.spec import Message
from agents_app.exceptions import RunFailed

BASE_URL = "https://api.anthropic.com"
_CACHE = {"type": "ephemeral"}
_LONGEST_ID = 64
_UNUSABLE_IN_SCHEMAS = {"oneOf", "anyOf", "allOf"}  # at the top; the loop checks arguments against the whole schema


def api_root(base_url: str) -> str:
    """The address without the version that the SDK adds, which people are used to write."""
    return (base_url or BASE_URL).rstrip("/").removesuffix("/v1")


def origin(model: str) -> str:
    """Who understands what this model thought: itself."""
    return f"anthropic/{model}"


def arguments(request: ModelRequest, able: Abilities, *, thoughts: bool = True) -> dict[str, Any]:
    """The request as arguments for the SDK. Without `thoughts`, the model is not told what it thought in this run."""
    asked: dict[str, Any] = {"model": request.model, "stream": True} | thinking_arguments(request.parameters, able)
    if _begun_without_thoughts(request, thoughts) and asked.get("thinking", {}).get("type") == "enabled":
        asked = without_thinking(asked, request.parameters)
    if asked.get("thinking", {}).get("type") == "disabled":
        thoughts = False
    asked["messages"] = _turns(request, thoughts)
    if request.system_prompt.strip():
        asked["system"] = [{"type": "text", "text": request.system_prompt, "cache_control": _CACHE}]
    if request.tools:
        asked["tools"] = [
            {"name": t.name, "description": t.description, "input_schema": _schema(t.parameters)} for t in request.tools
        ]
        asked["tools"][-1]["cache_control"] = _CACHE
    if request.parameters.stop:
        asked["stop_sequences"] = list(request.parameters.stop)
    if request.parameters.response_format:
        asked["output_config"] = asked.get("output_config", {}) | _format(request.parameters.response_format)
    return asked


def _format(wanted: dict[str, Any]) -> dict[str, Any]:
    """The form of the answer.

    Raises:
        RunFailed: these models cannot be held to it.
    """
    from anthropic import transform_schema  # who executes runs has the SDK already, and nobody else needs it

    problem = "Claude models have no JSON mode: give a schema."
    if wanted["type"] == "json_schema":
        try:
            schema = transform_schema(wanted["json_schema"].get("schema", {}))
            return {"format": {"type": "json_schema", "schema": schema}}
        except ValueError as error:
            problem = f"its schema cannot be used with Claude models: {error}"
    raise RunFailed(f"'response_format' is not supported: {problem}", code="unsupported_response_format")


def tells_thoughts(request: ModelRequest) -> bool:
    """Whether the model would be told what it thought."""
    return any(_is_own(message, request) for message in _open_turns(request))


def _open_turns(request: ModelRequest) -> list[Message]:
    """The model's turns since the last word of a user: the run that goes on."""
    since = itertools.takewhile(lambda message: message.role != "user", reversed(request.messages))
    return [message for message in since if message.role == "assistant"][::-1]


def _is_own(message: Message, request: ModelRequest) -> bool:
    return bool(message.blocks) and message.origin == origin(request.model)


def _begun_without_thoughts(request: ModelRequest, thoughts: bool) -> bool:
    turns = _open_turns(request)
    return bool(turns) and not (thoughts and _is_own(turns[0], request))


def _turns(request: ModelRequest, thoughts: bool) -> list[dict[str, Any]]:
    told = {id(message) for message in _open_turns(request) if thoughts and _is_own(message, request)}
    turns: list[dict[str, Any]] = []
    taken: set[str] = set()
    for position, message in enumerate(request.messages):
        if message.role == "user":
            _add(turns, "user", _texts(message.content))
        elif message.role == "assistant":
            names = [_call_id(call.id, taken) for call in message.tool_calls]
            _add(turns, "assistant", _said(message, names, with_blocks=id(message) in told))
            _add(turns, "user", _results(message, names, request.messages[position + 1 :]))
    if request.tools or len(turns) > 1:  # the next request begins with all of this
        turns[-1]["content"][-1] = turns[-1]["content"][-1] | {"cache_control": _CACHE}
    return turns


def _add(turns: list[dict[str, Any]], role: str, content: list[dict[str, Any]]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += content
    elif content:
        turns.append({"role": role, "content": content})


def _texts(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _call_id(given: str, taken: set[str]) -> str:
    """An id that the API takes, also of another provider's call: of a few characters, and unique in the request."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", given)[:_LONGEST_ID] or "call"
    numbered = (f"{plain[: _LONGEST_ID - 8]}_{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain([plain], numbered) if name not in taken)
    taken.add(name)
    return name


def _said(message: Message, names: list[str], *, with_blocks: bool) -> list[dict[str, Any]]:
    """A turn of the model: its own blocks in their order, or its text and then its calls."""
    calls = [
        {
            "type": "tool_use",
            "id": name,
            "name": re.sub(r"[^A-Za-z0-9_-]", "_", call.name),
            "input": orjson.loads(call.arguments),
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


def _results(message: Message, names: list[str], later: Sequence[Message]) -> list[dict[str, Any]]:
    """The results of a turn's calls, in the order of the calls: one for each, as the API insists."""
    answers = {m.tool_call_id: m for m in itertools.takewhile(lambda m: m.role == "tool", later)}
    missing = Message("tool", "There is no result of this call.", is_error=True)
    return [_result(name, answers.get(call.id, missing)) for call, name in zip(message.tool_calls, names, strict=True)]


def _result(name: str, answer: Message) -> dict[str, Any]:
    content = answer.content.replace("\x00", "")  # as it is kept: a restart must not change what was said
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": name}
    if answer.is_error:
        return result | {"content": content if content.strip() else "The tool failed.", "is_error": True}
    return result | ({"content": content} if content.strip() else {})


def _schema(parameters: dict[str, Any]) -> dict[str, Any]:
    usable = {name: value for name, value in parameters.items() if name not in _UNUSABLE_IN_SCHEMAS}
    return usable | {"type": "object"}
