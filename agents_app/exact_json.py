"""JSON with integers of any size, of which orjson makes floats, or which it refuses."""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

_LONG_NUMBER = re.compile(r"\d{19}")
_LONG_NUMBER_IN_BYTES = re.compile(rb"\d{19}")


def loads(data: bytes | str) -> Any:
    """Return the value, parsed as strictly as orjson does.

    Raises:
        json.JSONDecodeError: it is no JSON, or has a number of thousands of digits.
    """
    value = orjson.loads(data)
    pattern: re.Pattern[Any] = _LONG_NUMBER if isinstance(data, str) else _LONG_NUMBER_IN_BYTES
    if not pattern.search(data):
        return value
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise json.JSONDecodeError("a number is too long", "", 0) from None


def dumps(value: Any, default: Callable[[Any], Any] | None = None, *, sort_keys: bool = False) -> bytes:
    """Return the JSON of a value."""
    try:
        return orjson.dumps(value, default=default, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except orjson.JSONEncodeError:
        text = json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
        return text.encode()
