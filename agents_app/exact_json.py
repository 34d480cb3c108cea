"""JSON with integers of any size, of which orjson makes floats, or which it refuses."""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

_LONG = 19  # digits
_LONG_NUMBER = re.compile(rf"\d{{{_LONG}}}", re.ASCII)
_DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else ord(" ") for byte in range(256))
_PIECE = 256 * 1024  # bytes


def loads(data: bytes | str) -> Any:
    """Return the value, parsed as strictly as orjson does.

    Raises:
        json.JSONDecodeError: it is no JSON, or has a number of thousands of digits.
    """
    value = orjson.loads(data)
    if not _may_have_long_number(data):
        return value
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise json.JSONDecodeError("a number is too long", "", 0) from None


def _may_have_long_number(data: bytes | str) -> bool:
    """Search bytes a piece at a time, because a search stops all other threads. A regular expression is slower."""
    if isinstance(data, str):
        return bool(_LONG_NUMBER.search(data))
    pieces = (data[start : start + _PIECE + _LONG - 1] for start in range(0, len(data), _PIECE))
    return any(b"0" * _LONG in piece.translate(_DIGITS_AS_ZEROS) for piece in pieces)


def dumps(value: Any, default: Callable[[Any], Any] | None = None, *, sort_keys: bool = False) -> bytes:
    """Return the JSON of a value."""
    try:
        return orjson.dumps(value, default=default, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except orjson.JSONEncodeError:
        text = json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
        return text.encode()
