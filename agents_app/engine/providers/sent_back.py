"""Keep what a server attaches to its messages and calls and needs to get back. Pure: no I/O."""

from typing import Any
from urllib.parse import urlsplit

import orjson

from agents_app.engine.providers.base import FieldsPart
from agents_app.exceptions import LimitReached

REASONING = ("reasoning_content", "reasoning")
# Of the message. All unknown fields of calls are kept, so that only the message's names must be known.
FIELDS = frozenset(
    {"extra_content", "reasoning_details", "reasoning_opaque", "thinking_blocks", "provider_specific_fields"}
)
_CALL_FIELDS = frozenset({"index", "id", "type", "function"})
_MAX_SIZE = 1024 * 1024  # characters of their JSON


def origin(kind: str, base_url: str) -> str:
    """Return the server that a field comes from, without anything secret of its address."""
    if kind == "local":
        return kind  # its port is another one each time
    url = urlsplit(base_url)
    return f"{kind} {url.scheme}://{url.netloc.rpartition('@')[2]}{url.path.rstrip('/')}"


class SentBack:
    """The fields of one turn. `reasoning`: the pieces of the thoughts by the name of their field."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._size = 0
        self.reasoning: dict[str, list[str]] = {}

    def on_message(self, delta: dict[str, Any]) -> None:
        """Keep the fields of a delta."""
        for name in delta.keys() & FIELDS:
            self._keep(self._message, name, delta[name])

    def on_call(self, position: int, piece: dict[str, Any]) -> None:
        """Keep the fields of a piece of a call."""
        for name in piece.keys() - _CALL_FIELDS:
            self._keep(self._calls.setdefault(position, {}), name, piece[name])

    def part(self, *, has_calls: bool) -> FieldsPart | None:
        """Return the fields of the turn, if there are any. Only turns that call tools need their thoughts back."""
        message = dict(self._message)
        if has_calls:
            message |= {name: "".join(pieces) for name, pieces in self.reasoning.items()}
        calls = {position: fields for position, fields in self._calls.items() if fields}
        return FieldsPart(self._origin, message, calls) if message or calls else None

    def _keep(self, fields: dict[str, Any], name: str, value: Any) -> None:
        if value is None:
            return
        self._size += len(name) + len(orjson.dumps(value, default=str))
        if self._size > _MAX_SIZE:
            text = "The model's server attached more data to its answer than one answer may have."
            raise LimitReached(text, code="max_characters")
        fields[name] = _joined(fields[name], value) if name in fields else value


def _joined(old: Any, new: Any) -> Any:
    """Return two pieces of a value as one: texts and lists continue, objects are completed."""
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _joined(old[key], value) if key in old else value for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list):
        result = list(old)
        for item in new:
            if result and _continues(result[-1], item):
                result[-1] = _joined_item(result[-1], item)
            else:
                result.append(item)
        return result
    return new


def _continues(last: Any, item: Any) -> bool:
    """Whether an item of a list is the next piece of the last one: the same index and type."""
    if not isinstance(last, dict) or not isinstance(item, dict):
        return False
    return "index" in last and last.get("index") == item.get("index") and last.get("type") == item.get("type")


_TEXTS = ("text", "summary", "data", "thinking", "signature")


def _joined_item(last: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    joined = dict(last)
    for key, value in item.items():
        if key in _TEXTS and isinstance(value, str) and isinstance(last.get(key), str):
            joined[key] = last[key] + value
        elif value is not None:
            joined[key] = value
    return joined
