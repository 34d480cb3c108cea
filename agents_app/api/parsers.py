"""Parse request bodies."""

import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from agents_app import exact_json
from agents_app.api.body_limits import body_limit
from agents_app.api.errors import TooLarge


class JSONBody(BaseParser):
    """JSON in UTF-8, at most as long as `body_limits` says.

    orjson is strict: no NaN, no lone surrogates, and nesting that is too deep is an error instead of a crash.
    """

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None) -> Any:
        body = read_body(stream, parser_context["request"].path if parser_context else "")
        try:
            return exact_json.loads(body)
        except json.JSONDecodeError as error:
            raise ParseError(f"The body is not valid JSON: {error}.", code="invalid_json") from None


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
