"""What a client says of the conversation, in its roles and parts, as what our runs are given."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from agents_app import runs
from chat_app.openai_api.fields import Fields, plain_text, refuse

_ROLES = ("developer", "system", "user", "assistant", "tool")
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


@dataclass(slots=True)
class Told:
    """A conversation as it is told, message by message. The last one must be the user's: it becomes the prompt."""

    instructions: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    _unanswered: dict[str, str] = field(default_factory=dict)  # calls without a result: id and where they were made
    _last: str = ""

    def say(self, role: str, text: str, path: str) -> None:
        """A message of anybody but a tool."""
        if role in ("system", "developer"):
            self.instructions += [text] if text.strip() else []
            return
        self._require_results(path)
        self._last = path
        self.messages.append({"role": role, "content": text})

    def call(self, call_id: str, name: str, arguments: str, path: str) -> None:
        """A call that the last message of the assistant makes."""
        if not self.messages or self.messages[-1]["role"] != "assistant" or self._last != path:
            self.messages.append({"role": "assistant", "content": ""})
            self._last = path
        call = {"id": call_id, "name": name, "arguments": _object_text(arguments)}
        self.messages[-1].setdefault("tool_calls", []).append(call)
        self._unanswered[call_id] = path

    def result(self, call_id: str, text: str, path: str, id_path: str) -> None:
        """What a call has returned."""
        if self._unanswered.pop(call_id, None) is None:
            refuse(id_path, "must be the id of a call that was made just before and has no result yet.")
        self._last = path
        self.messages.append({"role": "tool", "content": text, "tool_call_id": call_id})

    def prompt(self, path: str) -> str:
        """Take off the last message: what is asked."""
        self._require_results(path)
        if not self.messages or self.messages[-1]["role"] != "user":
            refuse(path, "must end with a message of the user: an agent's tools run on the server.")
        text = self.messages.pop()["content"]
        if not text.strip():
            refuse(self._last, "must not be empty.")
        return plain_text(text, self._last, longest=runs.LONGEST_MESSAGE)

    def _require_results(self, path: str) -> None:
        if self._unanswered:
            refuse(path, f"has no result of the call {next(iter(self._unanswered))[:100]!r}.")


def of_chat(messages: list[Any], path: str = "messages") -> Told:
    """A conversation as chat completions tell it."""
    told = Told()
    for position, value in enumerate(messages):
        here = f"{path}[{position}]"
        message = Fields(value, here)
        role = message.required("role")
        if role not in _ROLES:
            refuse(message.path("role"), f"must be one of: {', '.join(_ROLES)}.")
        if role == "tool":
            told.result(
                plain_text(message.required("tool_call_id"), message.path("tool_call_id"), longest=128),
                text_of(message.required("content"), message.path("content")),
                here,
                message.path("tool_call_id"),
            )
            continue
        calls = message.items("tool_calls") if role == "assistant" else []
        content = message.get("content") if role == "assistant" else message.required("content")
        told.say(role, text_of(content or "", message.path("content")), here)
        for number, call in enumerate(calls):
            _chat_call(told, Fields(call, f"{message.path('tool_calls')}[{number}]"), here)
    return told


def _chat_call(told: Told, call: Fields, path: str) -> None:
    function = call.object("function")
    told.call(
        plain_text(call.required("id"), call.path("id"), longest=128, least=1),
        plain_text(function.required("name"), function.path("name"), longest=128, least=1),
        plain_text(function.required("arguments"), function.path("arguments")),
        path,
    )


def of_responses(items: list[Any], path: str = "input") -> Told:
    """A conversation as the Responses API tells it. Its own reports of what the server did are passed over."""
    told = Told()
    turn = ""
    for position, value in enumerate(items):
        here = f"{path}[{position}]"
        item = Fields(value, here)
        kind = item.get("type") or "message"
        if kind == "message":
            role = item.required("role")
            if role not in _ROLES[:-1]:
                refuse(item.path("role"), f"must be one of: {', '.join(_ROLES[:-1])}.")
            told.say(role, text_of(item.required("content"), item.path("content")), here)
        elif kind == "function_call":
            turn = turn or here
            told.call(
                plain_text(item.required("call_id"), item.path("call_id"), longest=128, least=1),
                plain_text(item.required("name"), item.path("name"), longest=128, least=1),
                plain_text(item.required("arguments"), item.path("arguments")),
                turn,
            )
            continue
        elif kind == "function_call_output":
            call_id = plain_text(item.required("call_id"), item.path("call_id"), longest=128)
            told.result(call_id, text_of(item.required("output"), item.path("output")), here, item.path("call_id"))
        elif kind not in _REPORTS:
            refuse(item.path("type"), f"{str(kind)[:50]!r} is not supported here.", "unsupported_value")
        turn = ""
    return told


_REPORTS = ("reasoning", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response")


def text_of(content: Any, path: str) -> str:
    """The text of a content: itself, or that of its parts."""
    if not isinstance(content, list):
        return plain_text(content, path)
    texts = []
    for position, value in enumerate(content):
        part = Fields(value, f"{path}[{position}]")
        kind = plain_text(part.required("type"), part.path("type"))
        if kind not in _TEXT_PARTS:
            text = f"is of type {kind[:50]!r}: agents take text only."
            refuse(f"{path}[{position}]", text, "unsupported_value")
        texts.append(plain_text(part.required(_TEXT_PARTS[kind]), part.path(_TEXT_PARTS[kind])))
    return "\n".join(texts)


def _object_text(arguments: str) -> str:
    """The arguments, if they are a JSON object, as models insist."""
    try:
        return arguments if isinstance(orjson.loads(arguments), dict) else "{}"
    except orjson.JSONDecodeError:
        return "{}"
