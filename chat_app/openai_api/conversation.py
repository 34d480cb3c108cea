"""The conversation of a request, in its roles and parts, as the instructions and messages of a run."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from agents_app.exceptions import InvalidRequest
from agents_app.files.incoming import IncomingFile
from agents_app.models.overrides import EarlierMessage, MadeCall
from agents_app.runs.messages import TOO_LONG as MESSAGE_TOO_LONG
from agents_app.runs.messages import validate_message
from chat_app.openai_api import compaction
from chat_app.openai_api.contents import MessageContent, read
from chat_app.openai_api.continuing import CallResult
from chat_app.openai_api.requests import (
    AnyChatMessage,
    ChatAssistantMessage,
    ChatToolMessage,
    CompactionItem,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputItem,
    MessageItem,
)
from chat_app.openai_api.validation import INVALID, TOO_LONG, refuse

Value = TypeVar("Value")


@dataclass(slots=True)
class Conversation:
    """A conversation, built message by message. The last one becomes the prompt, if it is the user's.

    `field`: of the request, that it is in.
    """

    field: str
    instructions: list[str] = dataclasses.field(default_factory=list)
    messages: list[EarlierMessage] = dataclasses.field(default_factory=list)
    _pending: dict[str, str] = dataclasses.field(default_factory=dict)  # calls without a result, by id: their message
    _last: str = ""

    def add_message(self, role: str, content: MessageContent, path: str) -> None:
        """Add a message of anybody but a tool."""
        text = content.text
        if role != "user":
            _refuse_files(content)
        if role in ("system", "developer"):
            self.instructions += [text] if text.strip() else []
            return
        self._require_results(path)
        if role == "assistant" and not text.strip():
            return  # an answer that was stopped before its first word: models' servers refuse it
        self._last = path
        self._append({"role": role, "content": text}, content)

    def add_call(self, call_id: str, name: str, arguments: str, path: str) -> None:
        """Add a call to the last message of the assistant."""
        if not self.messages or self.messages[-1]["role"] != "assistant" or self._last != path:
            self.messages.append({"role": "assistant", "content": ""})
            self._last = path
        call: MadeCall = {"id": call_id, "name": name, "arguments": _object_text(arguments)}
        self.messages[-1].setdefault("tool_calls", []).append(call)
        self._pending[call_id] = path

    def add_result(self, call_id: str, content: MessageContent, path: str, id_path: str) -> None:
        """Add the result of a call."""
        if self._pending.pop(call_id, None) is None:
            refuse(id_path, "must be the id of a call in the message before that has no result yet.")
        self._last = path
        self._append({"role": "tool", "content": content.text, "tool_call_id": call_id}, content)

    def compact(self, summary: list[EarlierMessage], path: str) -> None:
        """Put a summary in the place of all messages but the user's last one."""
        self._require_results(path)
        own = [message for message in self.messages if message["role"] == "user"]
        self.messages = [*summary, *own[-1:]]

    def _append(self, message: EarlierMessage, content: MessageContent) -> None:
        if content.parts:
            message["parts"] = content.parts
        self.messages.append(message)

    def take_prompt(self) -> MessageContent:
        """Remove the last message and return it. A conversation that ends with results of tools has no prompt."""
        path = self.field
        self._require_results(path)
        if self.messages and self.messages[-1]["role"] == "tool":
            return MessageContent("")
        if not self.messages or self.messages[-1]["role"] != "user":
            refuse(path, "must end with a message of the user, or with results of calls.")
        last = self.messages.pop()
        content = MessageContent(last["content"], last.get("parts", []))
        try:
            validate_message(content.text, param=self._last, has_files=bool(content.parts))
        except InvalidRequest as error:
            code = TOO_LONG if error.code == MESSAGE_TOO_LONG else INVALID
            raise InvalidRequest(str(error), param=error.param, code=code) from None
        return content

    def call_ids(self) -> list[str]:
        """Return the ids of the calls in the conversation."""
        return [call["id"] for message in self.messages for call in message.get("tool_calls", ())]

    def _require_results(self, path: str) -> None:
        if self._pending:
            refuse(path, f"has no result for the call {next(iter(self._pending))[:100]!r}.")


def of_chat(messages: list[AnyChatMessage]) -> Conversation:
    """Return the conversation of a chat completion."""
    conversation = Conversation("messages")
    for position, message in enumerate(messages):
        path = f"messages[{position}]"
        content = read(message.content, f"{path}.content")
        if isinstance(message, ChatToolMessage):
            conversation.add_result(message.tool_call_id, content, path, f"{path}.tool_call_id")
            continue
        conversation.add_message(message.role, content, path)
        if isinstance(message, ChatAssistantMessage):
            for call in message.tool_calls or ():
                conversation.add_call(call.id, call.function.name, call.function.arguments, path)
    return conversation


def results_at_end(messages: list[AnyChatMessage]) -> dict[str, CallResult]:
    """Return the results of calls with which a chat completion ends, by the ids of the calls."""
    results: dict[str, CallResult] = {}
    for position, message in _at_end(messages, ChatToolMessage):
        path = f"messages[{position}]"
        result = CallResult(read(message.content, f"{path}.content"), f"{path}.tool_call_id", f"{path}.content")
        _add_result(results, message.tool_call_id, result)
    return results


def outputs_at_end(items: list[InputItem]) -> dict[str, CallResult]:
    """Return the results of calls with which a response's input ends, by the ids of the calls."""
    results: dict[str, CallResult] = {}
    for position, item in _at_end(items, FunctionCallOutputItem):
        path = f"input[{position}]"
        result = CallResult(read(item.output, f"{path}.output"), f"{path}.call_id", f"{path}.output")
        _add_result(results, item.call_id, result)
    return results


def _at_end(values: Sequence[Any], kind: type[Value]) -> list[tuple[int, Value]]:
    """Return the values of that kind after the last one of another, with their positions."""
    others = (position for position in range(len(values), 0, -1) if not isinstance(values[position - 1], kind))
    first = next(others, 0)
    return list(enumerate(values[first:], start=first))


def _add_result(results: dict[str, CallResult], call_id: str, result: CallResult) -> None:
    if call_id in results:
        refuse(result.id_path, "is the id of a call that has another result in the same request.")
    results[call_id] = result


def of_responses(items: list[InputItem]) -> Conversation:
    """Return the conversation of a response's input. Items that report what the server did are ignored."""
    conversation = Conversation("input")
    turn = ""  # path of the first of the calls that follow each other: they are one message
    for position, item in enumerate(items):
        path = f"input[{position}]"
        if isinstance(item, FunctionCallItem):
            turn = turn or path
            conversation.add_call(item.call_id, item.name, item.arguments, turn)
            continue
        turn = ""
        if isinstance(item, CompactionItem):
            conversation.compact(compaction.messages(item.encrypted_content, f"{path}.encrypted_content"), path)
        elif isinstance(item, MessageItem):
            conversation.add_message(item.role, read(item.content, f"{path}.content"), path)
        elif isinstance(item, FunctionCallOutputItem):
            conversation.add_result(item.call_id, read(item.output, f"{path}.output"), path, f"{path}.call_id")
    return conversation


def of_text(text: str) -> Conversation:
    """Return the conversation that is one message of the user."""
    conversation = Conversation("input")
    conversation.add_message("user", MessageContent(text), "input")
    return conversation


def _refuse_files(content: MessageContent) -> None:
    for part in content.parts:
        if isinstance(part, IncomingFile):
            refuse(part.path, "is a file: only messages of the user and results of tools can have files.")


def _object_text(arguments: str) -> str:
    """Return the arguments if they are a JSON object, which models insist on."""
    try:
        return arguments if isinstance(orjson.loads(arguments), dict) else "{}"
    except orjson.JSONDecodeError:
        return "{}"
