"""Parse request bodies."""

import json
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from agents_app import exact_json
from agents_app.api.body_limits import body_limit
from agents_app.api.errors import TooLarge

_SLICE = 256 * 1024  # bytes after which other threads may run


class JSONBody(BaseParser):
    """JSON in UTF-8, at most as long as `body_limits` says.

    orjson is strict: no NaN, no lone surrogates, and nesting that is too deep is an error instead of a crash.
    """

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None) -> Any:
        body = read_body(stream, parser_context["request"].path if parser_context else "")
        if len(body) > settings.MAX_BODY_BYTES:
            _require_few_values(body)
        try:
            return exact_json.loads(body)
        except json.JSONDecodeError as error:
            raise ParseError(f"The body is not valid JSON: {error}.", code="invalid_json") from None


def _require_few_values(body: bytes) -> None:
    """Check a body that may be long because of files in base64: its other values must be as few as those of others.

    The parser holds up all threads of the process, and 20 MiB of `[],[],` are half a gigabyte of lists.

    Raises:
        ParseError: it may have more values.
    """
    count, most = 0, settings.MAX_BODY_BYTES // 2
    for start in range(0, len(body), _SLICE):
        count += sum(body.count(mark, start, start + _SLICE) for mark in (b",", b"[", b"{"))
        if count > most:
            raise ParseError(f"The body may have more than {most:,} values.", code="too_many_values")


def read_body(stream, path: str = "") -> bytes:
    """Return the whole body, never more than the limit of the path.

    Raises:
        TooLarge: the body is longer.
    """
    limit = body_limit(path).bytes
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(path)
    return body
