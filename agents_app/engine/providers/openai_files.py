"""Files in requests with OpenAI's API. Pure: no I/O."""

from collections.abc import Iterator
from typing import Any

from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.providers.request_body import Encoded
from agents_app.engine.spec import Message

_OF_TOOLS = "[Files that the tools returned:]"


def with_files(request: ModelRequest) -> Iterator[Message | dict[str, Any]]:
    """Yield the messages, those with files as objects of the API.

    A tool's result takes text only, so its files follow in a message of the user: after the last result of the turn,
    because the results of a turn's calls must stand together.
    """
    of_tools: list[Encoded] = []
    for message in request.messages:
        if message.role != "tool" and of_tools:
            yield _user([{"type": "text", "text": _OF_TOOLS}, *of_tools])
            of_tools = []
        if not message.parts:
            yield message
            continue
        content = contents(request, message)
        if message.role == "tool":
            of_tools += [each for each in content if isinstance(each, Encoded)]
            yield {"role": "tool", "tool_call_id": message.tool_call_id, "content": _joined(content)}
        else:
            yield _user(content)
    if of_tools:
        yield _user([{"type": "text", "text": _OF_TOOLS}, *of_tools])


def contents(request: ModelRequest, message: Message) -> list[dict[str, Any] | Encoded]:
    """Return the texts and files of a message in their order. Files in words are texts."""
    content: list[dict[str, Any] | Encoded] = []
    for part in message.parts:
        file = None if isinstance(part, str) else request.file(part)
        if file is not None and file.json:
            content.append(Encoded(file.json))
        elif text := (part if isinstance(part, str) else file.text if file else ""):
            content.append({"type": "text", "text": text})
    return content


def _user(content: list[dict[str, Any] | Encoded]) -> dict[str, Any]:
    """Return a message of the user: as one text if it has no more, because plain servers know no parts."""
    if any(isinstance(each, Encoded) for each in content):
        return {"role": "user", "content": content}
    return {"role": "user", "content": _joined(content)}


def _joined(content: list[dict[str, Any] | Encoded]) -> str:
    return "\n\n".join(each["text"] for each in content if isinstance(each, dict))
