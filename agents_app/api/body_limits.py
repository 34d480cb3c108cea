"""How large the body of a request may be: it depends on the path."""

import re
from typing import NamedTuple

from django.conf import settings

_FORM_BYTES = 64 * 1024  # of a form beside the file in it


class BodyLimit(NamedTuple):
    """The most bytes, and the setting that says so."""

    bytes: int
    setting: str


def body_limit(path: str) -> BodyLimit:
    """Return the limit of a request to `path`, which may be written carelessly and have a query."""
    plain = re.sub(r"/{2,}", "/", path.partition("?")[0]).rstrip("/")
    if plain == "/v1/files":
        return BodyLimit(settings.FILES_MAX_BYTES + _FORM_BYTES, "FILES_MAX_BYTES")
    if plain in ("/v1/chat/completions", "/v1/responses"):
        return BodyLimit(settings.CHAT_BODY_MAX_BYTES, "CHAT_BODY_MAX_BYTES")
    return BodyLimit(settings.MAX_BODY_BYTES, "MAX_BODY_BYTES")
