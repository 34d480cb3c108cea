"""Parse request bodies."""

import json
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from agents_app import exact_json
from agents_app.api.errors import TooLarge


class JSONBody(BaseParser):
    """JSON in UTF-8, at most MAX_BODY_BYTES.

    orjson is strict: no NaN, no lone surrogates, and nesting that is too deep is an error instead of a crash.
    """

    media_type = "application/json"

    def parse(self, stream, media_type=None, parser_context=None) -> Any:
        body = read_body(stream)
        try:
            return exact_json.loads(body)
        except json.JSONDecodeError as error:
            raise ParseError(f"The body is not valid JSON: {error}.", code="invalid_json") from None


def read_body(stream) -> bytes:
    """Return the whole body, never more than the limit.

    Raises:
        TooLarge: the body is longer.
    """
    limit = settings.MAX_BODY_BYTES
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise TooLarge()
    return body
