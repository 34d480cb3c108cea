"""Encode requests to models. The SDKs' own way walks through every field of all messages, at each turn."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import orjson

from agents_app.engine.spec import Message

_LARGEST_IN_ONE_PIECE = 2**20  # bytes
_SLICE = 128 * 1024  # bytes given to the socket at a time


class Encoded:
    """An object inside a request that is JSON already. `json` lacks the closing brace; `more`: fields to add."""

    __slots__ = ("json", "more")

    def __init__(self, json: bytes, more: bytes = b"") -> None:
        self.json = json
        self.more = more

    def __or__(self, fields: dict[str, Any]) -> "Encoded":
        return Encoded(self.json, b"," + orjson.dumps(fields)[1:-1])


class Body:
    """A request of many pieces, some of them large and shared by others: sent piece by piece, and never joined."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.size = sum(map(len, pieces))

    def release(self) -> None:
        """Forget the pieces: objects of the SDK that refer to each other keep the body until they are collected.

        Of 30 messages with files of 5 MiB a process kept 232 MiB, 112 with this.
        """
        self._pieces = ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            for start in range(0, len(piece), _SLICE):
                yield piece[start : start + _SLICE] if len(piece) > _SLICE else piece
                await asyncio.sleep(0)  # a socket that takes everything must not keep the event loop


def body(pieces: Sequence[bytes]) -> bytes | Body:
    """Return a request: in one piece, if it is not large."""
    is_large = sum(map(len, pieces)) > _LARGEST_IN_ONE_PIECE
    return Body(pieces) if is_large else b"".join(pieces)


def encode(value: Any) -> bytes:
    """Return the value as JSON. Integers beyond 64 bits keep their digits; half a surrogate pair is escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def encode_blocks(blocks: list[Any]) -> bytes:
    """Return the items of a list as JSON, to be kept: without brackets, and no larger than it is."""
    return bytes(memoryview(encode(blocks))[1:-1])


def encode_around(value: Any) -> list[bytes]:
    """Return the JSON of a value in pieces, those of `Encoded` objects inside it as they are."""
    mark = secrets.token_hex(16)  # nobody can have written it into a message
    inner: list[Encoded] = []

    def place(part: Any) -> str:
        if not isinstance(part, Encoded):
            raise TypeError(f"{type(part).__name__} is not JSON")
        inner.append(part)
        return mark

    try:
        outer = orjson.dumps(value, default=place)
    except TypeError:
        inner.clear()
        outer = json.dumps(value, default=place).encode()
    first, *others = outer.split(b'"%s"' % mark.encode())
    pieces = [first]
    for each, following in zip(inner, others, strict=True):
        pieces += [each.json, each.more + b"}" + following]
    return pieces


def with_message_pieces(arguments: dict[str, Any], messages: Iterable[list[bytes]]) -> list[bytes]:
    """Return the arguments as JSON in pieces, with encoded messages, each of them in pieces, as `messages`."""
    pieces = [encode(arguments)[:-1], b',"messages":[']
    for number, message in enumerate(messages):
        pieces += [b",", *message] if number else message
    return [*pieces, b"]}"]


def with_messages(arguments: dict[str, Any], messages: Iterable[bytes]) -> bytes:
    """Return the arguments as JSON, with encoded messages as `messages`."""
    return b'%s,"messages":[%s]}' % (encode(arguments)[:-1], b",".join(messages))


def encoded(message: Message, api: str, convert: Callable[[Message], dict[str, Any]]) -> bytes:
    """Return the message as JSON. It is converted once for each `api`, which names all that the format depends on."""
    result = message.encoded.get(api)
    if result is None:
        # A copy: orjson leaves the rest of its buffer, of 4 KiB or more, in the bytes that it returns.
        result = message.encoded[api] = bytes(memoryview(encode(convert(message))))
    return result
