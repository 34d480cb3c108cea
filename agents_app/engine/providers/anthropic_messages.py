"""The messages of a request of Anthropic's Messages API, each encoded once. Pure: no I/O.

What a message becomes depends on others as little as the API's rules allow: the ids of calls are unique in a request,
results follow the turn that called, and the last block has a cache marker.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from agents_app.engine.arguments import parse_arguments
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.providers.request_body import Encoded, encode_around, encode_blocks
from agents_app.engine.spec import Message

Blocks = list[bytes]  # pieces of one or more blocks as JSON, separated by commas; empty if there are none

_MAX_ID = 64
_OPENING = b'{"type":"text","text":"(The assistant begins.)"}'
_MARKER = b',"cache_control":{"type":"ephemeral"}}'
_BEGINNINGS = {role: b'{"role":"%s","content":[' % role for role in (b"user", b"assistant")}
_API = "anthropic"


def encode_messages(messages: Iterable[Message]) -> None:
    """Encode messages before a request needs them. How their files are given is known only then."""
    for message in messages:
        if message.parts:
            continue
        if message.role == "tool":
            _encoded_result(_plain_id(message.tool_call_id), message)
        elif message.role == "user":
            _encoded_user(message)
        else:
            _encoded_turn(message, [_plain_id(call.id) for call in message.tool_calls], with_blocks=False)


def encoded_messages(request: ModelRequest, with_blocks: Sequence[Message]) -> Iterator[Blocks]:
    """Yield the messages in pieces. `with_blocks`: the turns that the model gets back as it wrote them."""
    turns = _turns(request, {id(message) for message in with_blocks})
    if turns and (request.tools or len(turns) > 1):  # the next request begins with all of these
        _, blocks = turns[-1]
        blocks[-1] = blocks[-1][:-1] + _MARKER
    for role, blocks in turns:
        yield [_BEGINNINGS[role], *blocks, b"]}"]


def _turns(request: ModelRequest, with_blocks: set[int]) -> list[tuple[bytes, Blocks]]:
    turns: list[tuple[bytes, Blocks]] = []
    call_ids: set[str] = set()
    for position, message in enumerate(request.messages):
        if message.role == "user":
            _add(turns, b"user", _with_files(request, message) if message.parts else _encoded_user(message))
        elif message.role == "assistant":
            names = [_call_id(call.id, call_ids) for call in message.tool_calls] if message.tool_calls else []
            _add(turns, b"assistant", _encoded_turn(message, names, with_blocks=id(message) in with_blocks))
            if names:
                _add(turns, b"user", _results(request, message, names, position))
    if turns and turns[0][0] == b"assistant":  # of a client whose history begins with a greeting
        turns.insert(0, (b"user", [_OPENING]))
    return turns


def _add(turns: list[tuple[bytes, Blocks]], role: bytes, blocks: Blocks) -> None:
    if not blocks:
        return
    if turns and turns[-1][0] == role:
        turns[-1][1].extend((b",", *blocks))
    else:
        turns.append((role, blocks))


def _once(message: Message, api: str, convert: Callable[[], list[dict[str, Any]]]) -> Blocks:
    """Return what a message becomes. `api` names all that it depends on beside the message."""
    blocks = message.encoded.get(api)
    if blocks is None:
        blocks = message.encoded[api] = encode_blocks(convert())
    return [blocks] if blocks else []


def _texts(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _encoded_user(message: Message) -> Blocks:
    return _once(message, _API, lambda: _texts(message.content))


def _with_files(request: ModelRequest, message: Message) -> Blocks:
    pieces = [encode_around(block) for block in _contents(request, message)]
    return [piece for number, each in enumerate(pieces) for piece in ([b",", *each] if number else each)]


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


@functools.lru_cache(maxsize=4096)
def _plain_id(original: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", original)[:_MAX_ID] or "call"


def _call_id(original: str, used: set[str]) -> str:
    """Return an id that the API accepts, for another provider's call too: short, and unique in the request."""
    plain = _plain_id(original)
    if plain in used:
        numbered = (f"{plain[: _MAX_ID - 8]}_{number}" for number in itertools.count(2))
        plain = next(name for name in numbered if name not in used)
    used.add(plain)
    return plain


def _encoded_turn(message: Message, names: list[str], *, with_blocks: bool) -> Blocks:
    api = f"{_API} blocks" if with_blocks else _API
    if names and names != [_plain_id(call.id) for call in message.tool_calls]:
        api = f"{api} {' '.join(names)}"
    return _once(message, api, lambda: _turn(message, names, with_blocks=with_blocks))


def _turn(message: Message, names: list[str], *, with_blocks: bool) -> list[dict[str, Any]]:
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


def _results(request: ModelRequest, message: Message, names: list[str], position: int) -> Blocks:
    """Return the results of a turn's calls, in the order of the calls: one for each, as the API insists."""
    later = itertools.islice(request.messages, position + 1, None)
    answers = {m.tool_call_id: m for m in itertools.takewhile(lambda m: m.role == "tool", later)}
    results: Blocks = []
    for call, name in zip(message.tool_calls, names, strict=True):
        answer = answers.get(call.id) or Message("tool", "There is no result of this call.", is_error=True)
        if results:
            results.append(b",")
        if answer.parts and not answer.is_error:  # an error takes text only
            content = _contents(request, answer)
            results += encode_around({"type": "tool_result", "tool_use_id": name, "content": content})
        else:
            results += _encoded_result(name, answer)
    return results


def _encoded_result(name: str, answer: Message) -> Blocks:
    api = _API if name == _plain_id(answer.tool_call_id) else f"{_API} {name}"
    return _once(answer, api, lambda: [_result(name, answer)])


def _result(name: str, answer: Message) -> dict[str, Any]:
    content = answer.content.replace("\x00", "")  # as it is stored: a restart must not change it
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": name}
    if answer.is_error:
        return result | {"content": content if content.strip() else "The tool failed.", "is_error": True}
    return result | ({"content": content} if content.strip() else {})
