"""The conversation of a request, in its roles and parts, as the instructions and messages of a run."""

from dataclasses import dataclass, field

import orjson

from agents_app.exceptions import InvalidRequest
from agents_app.models.overrides import EarlierMessage, MadeCall
from agents_app.runs.messages import TOO_LONG as MESSAGE_TOO_LONG
from agents_app.runs.messages import validate_message
from chat_app.openai_api.requests import (
    AnyChatMessage,
    ChatAssistantMessage,
    ChatToolMessage,
    Content,
    ContentPart,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputItem,
    MessageItem,
)
from chat_app.openai_api.validation import INVALID, MISSING, TOO_LONG, refuse

_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text")  # left out


@dataclass(slots=True)
class Conversation:
    """A conversation, built message by message. The last one must be the user's: it becomes the prompt."""

    instructions: list[str] = field(default_factory=list)
    messages: list[EarlierMessage] = field(default_factory=list)
    _pending: dict[str, str] = field(default_factory=dict)  # calls without a result: id → path of their message
    _last: str = ""

    def add_message(self, role: str, text: str, path: str) -> None:
        """Add a message of anybody but a tool."""
        if role in ("system", "developer"):
            self.instructions += [text] if text.strip() else []
            return
        self._require_results(path)
        if role == "assistant" and not text.strip():
            return  # an answer that was stopped before its first word: models' servers refuse it
        self._last = path
        self.messages.append({"role": role, "content": text})

    def add_call(self, call_id: str, name: str, arguments: str, path: str) -> None:
        """Add a call to the last message of the assistant."""
        if not self.messages or self.messages[-1]["role"] != "assistant" or self._last != path:
            self.messages.append({"role": "assistant", "content": ""})
            self._last = path
        call: MadeCall = {"id": call_id, "name": name, "arguments": _object_text(arguments)}
        self.messages[-1].setdefault("tool_calls", []).append(call)
        self._pending[call_id] = path

    def add_result(self, call_id: str, text: str, path: str, id_path: str) -> None:
        """Add the result of a call."""
        if self._pending.pop(call_id, None) is None:
            refuse(id_path, "must be the id of a call in the message before that has no result yet.")
        self._last = path
        self.messages.append({"role": "tool", "content": text, "tool_call_id": call_id})

    def take_prompt(self, path: str) -> str:
        """Remove the last message and return its text."""
        self._require_results(path)
        if not self.messages or self.messages[-1]["role"] != "user":
            refuse(path, "must end with a message of the user: an agent's tools run on the server.")
        text = self.messages.pop()["content"]
        try:
            return validate_message(text, param=self._last)
        except InvalidRequest as error:
            code = TOO_LONG if error.code == MESSAGE_TOO_LONG else INVALID
            raise InvalidRequest(str(error), param=error.param, code=code) from None

    def _require_results(self, path: str) -> None:
        if self._pending:
            refuse(path, f"has no result for the call {next(iter(self._pending))[:100]!r}.")


def of_chat(messages: list[AnyChatMessage]) -> Conversation:
    """Return the conversation of a chat completion."""
    conversation = Conversation()
    for position, message in enumerate(messages):
        path = f"messages[{position}]"
        text = text_of(message.content or "", f"{path}.content")
        if isinstance(message, ChatToolMessage):
            conversation.add_result(message.tool_call_id, text, path, f"{path}.tool_call_id")
            continue
        conversation.add_message(message.role, text, path)
        if isinstance(message, ChatAssistantMessage):
            for call in message.tool_calls or ():
                conversation.add_call(call.id, call.function.name, call.function.arguments, path)
    return conversation


def of_responses(items: list[InputItem]) -> Conversation:
    """Return the conversation of a response's input. Items that report what the server did are ignored."""
    conversation = Conversation()
    turn = ""  # path of the first of the calls that follow each other: they are one message
    for position, item in enumerate(items):
        path = f"input[{position}]"
        if isinstance(item, FunctionCallItem):
            turn = turn or path
            conversation.add_call(item.call_id, item.name, item.arguments, turn)
            continue
        turn = ""
        if isinstance(item, MessageItem):
            conversation.add_message(item.role, text_of(item.content, f"{path}.content"), path)
        elif isinstance(item, FunctionCallOutputItem):
            text = text_of(item.output, f"{path}.output")
            conversation.add_result(item.call_id, text, path, f"{path}.call_id")
    return conversation


def of_text(text: str) -> Conversation:
    """Return the conversation that is one message of the user."""
    conversation = Conversation()
    conversation.add_message("user", text, "input")
    return conversation


def text_of(content: Content, path: str) -> str:
    """Return the text of a content: itself, or that of its parts."""
    if isinstance(content, str):
        return content
    parts = [(f"{path}[{position}]", part) for position, part in enumerate(content)]
    return "\n".join(_text_of_part(part, place) for place, part in parts if part.type not in _THOUGHT_PARTS)


def _text_of_part(part: ContentPart, path: str) -> str:
    if part.type not in (*_TEXT_PARTS, "refusal"):
        refuse(path, f"is of type {part.type[:50]!r}: agents take text only.", "unsupported_value")
    name = "refusal" if part.type == "refusal" else "text"
    text: str | None = getattr(part, name)
    if text is None:
        refuse(f"{path}.{name}", "is missing.", MISSING)
    return text


def _object_text(arguments: str) -> str:
    """Return the arguments if they are a JSON object, which models insist on."""
    try:
        return arguments if isinstance(orjson.loads(arguments), dict) else "{}"
    except orjson.JSONDecodeError:
        return "{}"
