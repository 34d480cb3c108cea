"""Which fields of a request a server refuses to know. Pure: no I/O."""

from typing import Any

import orjson

from agents_app.engine.providers.sent_back import FIELDS, REASONING

SENT_BACK = "fields sent back"
PARALLEL = "parallel_tool_calls"
_UNKNOWN = (
    "unsupported", "not support", "unknown", "unrecognized", "unexpected", "not permitted", "not allowed", "forbidden",
    "extra", "remove", "invalid field", "not a valid", "does not accept", "additional propert", "no such",
)  # fmt: skip


def limit_name(refused: frozenset[str], *, is_official: bool) -> str:
    """Return the name of the limit of tokens: newer models of OpenAI reject max_tokens; most others know only that."""
    newer = (is_official or "max_tokens" in refused) and "max_completion_tokens" not in refused
    return "max_completion_tokens" if newer else "max_tokens"


def refused_field(body: Any, arguments: dict[str, Any]) -> str | None:
    """Return the field without which, or with another name of which, the request may be accepted."""
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    text = text[:20_000].lower()
    is_unknown = any(word in text for word in _UNKNOWN)
    if "stream_options" in arguments and ("stream_options" in text or "include_usage" in text):
        return "stream_options"
    if PARALLEL in arguments and PARALLEL in text and is_unknown:
        return PARALLEL
    for name, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        if name in arguments and name in text and (is_unknown or other in text):
            return name
    if is_unknown and _names_sent_back(arguments["messages"]) & {
        name for name in (*FIELDS, *REASONING) if name in text
    }:
        return SENT_BACK
    return None


def _names_sent_back(messages: list[dict[str, Any]]) -> set[str]:
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    return {name for fields in (*messages, *calls) for name in fields}
