"""Documents that are the same for everybody: made once per process, as bytes."""

import hashlib
import threading
from collections.abc import Callable

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response

Make = Callable[[], object]


class Document:
    """A JSON document and its ETag. `make` returns its content; it is called once, by the first request."""

    def __init__(self, make: Make, content_type: str) -> None:
        self._make = make
        self._content_type = content_type
        self._lock = threading.Lock()
        self._body: bytes | None = None
        self._etag = ""

    def response(self, request: HttpRequest) -> HttpResponseBase:
        """Return the document; a 304 to a client that has it."""
        body = self._made()
        response = HttpResponse(body, content_type=self._content_type)
        response["ETag"] = self._etag
        response["Cache-Control"] = "no-cache"  # a client asks each time whether its copy is current
        conditional = get_conditional_response(request, etag=self._etag, response=response)
        assert conditional is not None
        return conditional

    def _made(self) -> bytes:
        with self._lock:
            if self._body is None:
                body = orjson.dumps(self._make())
                self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
                self._body = body
            return self._body
