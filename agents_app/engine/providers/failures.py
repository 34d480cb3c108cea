"""What a model's server says of a failure: one reading for HTTP errors and for errors in a stream. Pure: no I/O."""

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents_app.exceptions import ModelError, ModelUnavailable

NO_REASON = "no reason stated"
_RETRYABLE = {408, 409, 425, 429}
_PERMANENT_5XX = {501, 505}
_MAX_DEPTH = 5
_MAX_JSON = 256 * 1024
_MAX_TEXT = 4000  # characters of a body that are searched
_INNER = ("error", "errors", "message", "detail", "details", "metadata", "raw", "body", "cause")
_TEXTS = ("message", "msg", "detail", "error", "error_description", "error_message", "errorMessage", "title", "reason")
_CODES = ("code", "type", "status", "error_type", "error_code", "reason", "object")
_STATUSES = ("status", "code", "status_code", "statusCode", "http_status", "error_code")
_GENERIC = re.compile(r"^(provider returned error|upstream error|internal error|error|bad request)\W*$", re.I)

_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size|limit)|max(imum)?[ _](context|prompt|input|model)[ _]?(len|size|tokens)"
    r"|(prompt|input|conversation|request|messages?)\b[^.]{0,60}\b(is|are) too (long|large)"
    r"|too many (input |prompt )?tokens"
    r"|(prompt|input|inputs?) (token )?(length|count|tokens)[^.]{0,60}\b(exceed|greater|larger|longer)"
    r"|exceeds?[^.]{0,60}\b(context|(maximum|max) (number of )?(input |prompt )?tokens|token limit)"
    r"|reduce the length|model_max_prompt_tokens_exceeded|request_too_large|larger than the context"
    r"|tokens?\b[^.]{0,40}\b(exceed|greater than)[^.]{0,40}\b(context|window|maximum)",
    re.I,
)
_KEY = re.compile(
    r"authentication|unauthenticated|unauthorized|invalid_api_key|invalid api key|permission_?(error|denied)|forbidden",
    re.I,
)
_RATE = re.compile(r"rate_?limit|resource_?exhausted|too_?many_?requests|throttl", re.I)
_NO_MONEY = re.compile(r"insufficient_quota|billing|payment_required|insufficient_(balance|credits?|funds)", re.I)
_PERMANENT = re.compile(
    r"invalid_?request|bad_?request|not_?found|unsupported|invalid_?argument|failed_?precondition|out_?of_?range"
    r"|unprocessable|validation|unimplemented|content_?(filter|policy)|invalid_?prompt",
    re.I,
)
_WAIT = re.compile(
    r"\b(?:try again|retry|wait)\b[^.\d]{0,20}(\d+(?:\.\d+)?)\s*"
    r"(ms|milliseconds?|m|min|minutes?|h|hours?|s|sec|seconds?)?(?![a-z])",
    re.I,
)
_UNITS = {"ms": 0.001, "mi": 60.0, "m": 60.0, "h": 3600.0, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure in its server's words. `codes`: its names for it; `status`: as HTTP has it; `retry_after`: seconds."""

    reason: str
    codes: str
    status: int | None
    retry_after: float | None

    def says(self, pattern: re.Pattern[str]) -> bool:
        return bool(pattern.search(self.codes))


def parse(body: Any) -> Failure:
    """Return the failure that a body, or an object in a stream, describes in any of the usual forms."""
    layers = list(_layers(body, 0))
    codes = [layer[name] for layer in layers for name in _CODES if isinstance(layer.get(name), str | int)]
    statuses = (_status(layer.get(name)) for layer in layers for name in _STATUSES)
    reason = _reason(body, layers)
    return Failure(
        reason=reason,
        codes=" ".join(str(code)[:100] for code in codes),
        status=next((status for status in statuses if status), None),
        retry_after=_retry_after(layers, reason),
    )


def is_failure(value: Any) -> bool:
    """Whether a JSON value that is no part of an answer describes a failure."""
    if isinstance(value, list):
        return any(isinstance(item, dict) and is_failure(item) for item in value[:3])
    if not isinstance(value, dict) or "choices" in value:
        return False
    names = ("error", "errors", "message", "detail", "msg", "error_description", "error_message")
    return any(value.get(name) for name in names) or value.get("object") == "error"


def in_stream(body: Any) -> ModelError:
    """Return the exception for a failure in place of a part of the answer."""
    failure = parse(body)
    return _error(failure, failure.status, f"The model's server ended the stream with an error: {failure.reason}")


def of_status(status: int, body: Any, retry_after: float | None = None) -> ModelError:
    """Return the exception for an error status. `retry_after`: seconds, of the headers."""
    failure = parse(body)
    is_temporary = status in _RETRYABLE or status >= 500
    what = f"answered {status}" if is_temporary else f"refused the request ({status})"
    return _error(failure, status, f"The model's server {what}: {failure.reason}", retry_after, is_response=True)


def _error(
    failure: Failure, status: int | None, text: str, retry_after: float | None = None, *, is_response: bool = False
) -> ModelError:
    if status in (401, 403) or (status is None and failure.says(_KEY)):
        return ModelError(_refused_key(failure, status), code="model_key_refused")
    if status != 429 and (status == 413 or _TOO_LONG.search(f"{failure.codes} {failure.reason}")):
        text = f"The conversation is too long for the model: {failure.reason}"
        return ModelError(text, code="context_length_exceeded")
    if "context_length" in failure.codes:
        return ModelError(
            f"The conversation is too long for the model: {failure.reason}", code="context_length_exceeded"
        )
    if status == 402 or failure.says(_NO_MONEY) or _is_permanent(failure, status):
        return ModelError(text, code="model_refused" if is_response else None)
    is_rate = status == 429 or failure.says(_RATE)
    wait = retry_after if retry_after is not None else failure.retry_after
    return ModelUnavailable(text, code="model_rate_limited" if is_rate else "model_unavailable", retry_after=wait)


def _is_permanent(failure: Failure, status: int | None) -> bool:
    if status is not None:
        return status in _PERMANENT_5XX or (400 <= status < 500 and status not in _RETRYABLE)
    return failure.says(_PERMANENT) and not failure.says(_RATE)


def _refused_key(failure: Failure, status: int | None) -> str:
    """Return a sentence without the reason of a 401: servers repeat the key in it, whole, masked or changed."""
    text = "The model's server refused the API key"
    return f"{text}: {failure.reason}" if status == 403 and failure.reason != NO_REASON else f"{text}."


def _layers(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the objects that may say something, the outermost first."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # JSON in a text: another server's error
        value = _json(value)
    if isinstance(value, list):
        for item in value[:5]:
            yield from _layers(item, depth + 1)
    elif isinstance(value, dict):
        yield value
        for name in _INNER:
            yield from _layers(value.get(name), depth + 1)


def _json(text: str) -> Any:
    try:
        return json.loads(text[:_MAX_JSON], strict=False)  # takes half a character too
    except (ValueError, RecursionError):
        return None


def _reason(body: Any, layers: list[dict[str, Any]]) -> str:
    """Return the first text that says something, in one line."""
    texts = [text for layer in layers for name in _TEXTS if (text := _plain(layer.get(name), layer))]
    if not texts and isinstance(body, str) and not layers:
        texts = [text] if (text := _plain(body, {})) else []
    if not texts:
        return NO_REASON
    validations = [text for layer in layers[:6] if "loc" in layer and (text := _plain(layer.get("msg"), layer))]
    if validations:
        return "; ".join(validations)
    if _GENERIC.match(texts[0]) and len(texts) > 1:
        return f"{texts[0].rstrip(' .:')}: {next((text for text in texts if not _GENERIC.match(text)), texts[1])}"
    return texts[0]


def _plain(value: Any, layer: Mapping[str, Any]) -> str:
    """Return a text for people, if the value is one; of a web page its title."""
    if not isinstance(value, str) or value.lstrip()[:1] in ("{", "["):
        return ""
    if value.lstrip().startswith("<"):
        title = re.search(r"<(title|h1)[^>]*>([^<]{1,200})</", value[:_MAX_TEXT], re.I)
        return " ".join(html.unescape(title[2]).split()) if title else ""
    if isinstance(place := layer.get("loc"), list):  # FastAPI's
        names = [str(name) for name in place if name != "body"][:5]
        return f"{'.'.join(names)}: {value.strip()}" if names else value.strip()
    return value.strip()[:_MAX_TEXT]


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if type(value) is int and 400 <= value < 600 else None


def _retry_after(layers: list[dict[str, Any]], reason: str) -> float | None:
    """Return the seconds that a body asks to wait: Gemini's `retryDelay`, or in words."""
    readers: list[tuple[str, Callable[[Any], float | None]]] = [
        ("retryDelay", seconds),
        ("retry_delay", seconds),
        ("retry_after", seconds),
        ("retry_after_seconds", seconds),
        ("retry_after_ms", lambda value: wait / 1000 if (wait := seconds(value)) is not None else None),
    ]
    for layer in layers:
        for name, read in readers:
            if (wait := read(layer.get(name))) is not None:
                return wait
    if match := _WAIT.search(reason[:_MAX_TEXT]):
        unit = (match[2] or "s").lower()
        return float(match[1]) * next(factor for name, factor in _UNITS.items() if unit.startswith(name))
    return None


def seconds(value: Any) -> float | None:
    """Return the seconds of a number, of a text like `21.5s`, or of an object with `seconds`."""
    if isinstance(value, dict):
        value = value.get("seconds")
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("s"))
        except ValueError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return max(float(value), 0.0)
    return None
