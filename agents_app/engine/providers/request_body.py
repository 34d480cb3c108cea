"""Encode requests to models. The SDKs' own way walks through every field of all messages, at each turn."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from agents_app.engine.spec import Message


def encode(value: Any) -> bytes:
    """Return the value as JSON. Integers beyond 64 bits keep their digits; half a surrogate pair is escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


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
