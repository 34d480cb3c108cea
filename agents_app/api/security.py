"""Reject foreign hosts and origins; add the headers that every response has."""

import re
from typing import IO

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from agents_app.access.origins import is_cors_origin, origin_allowed
from agents_app.api.body_limits import body_limit
from agents_app.api.error_responses import error_response, too_large
from agents_app.observability import asgi, context

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
_CORS_METHODS = "GET, POST, PUT, PATCH, DELETE"
_CORS_HEADERS = ", ".join(
    ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "OpenAI-Beta", "X-Session-Id"]
    + ["Mcp-Session-Id", "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name"]  # MCP's clients in browsers
    # Sent by OpenAI's JavaScript client.
    + [f"X-Stainless-{what}" for what in ("Arch", "Lang", "OS", "Package-Version", "Retry-Count", "Runtime",
       "Runtime-Version", "Timeout", "Helper-Method")]
)  # fmt: skip
_CORS_EXPOSED = "Location, Mcp-Session-Id, Retry-After, X-Request-Id, X-Run-Id, X-Session-Id"


def content_security_policy(frame_ancestors: str = "'none'") -> str:
    """Return the policy of a page that may be shown in frames of `frame_ancestors`.

    Every script and style is a file of ours. Sockets of the page's own host count as 'self'.
    """
    return (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        f"form-action 'self'; frame-ancestors {frame_ancestors}"
    )


_CONTENT_SECURITY_POLICY = content_security_policy()


def reject(request: HttpRequest) -> HttpResponse | None:
    """Return the response to a request that is not allowed. Return None for all others, after normalizing them."""
    try:
        host = request.get_host()
    except DisallowedHost:
        return error_response(400, "Unknown host name: add it to ALLOWED_HOSTS.", "host_not_allowed")
    if request.method not in SAFE_METHODS and not origin_allowed(request.headers.get("Origin"), host):
        return error_response(403, "This origin is not allowed: add it to CORS_ALLOWED_ORIGINS.", "foreign_origin")
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return HttpResponse(status=204)  # a preflight of another site: `add_headers` says which origins are allowed
    if request.path_info.startswith("/v1/"):
        # Only below /v1/: another path must not become one for which a proxy in front of us has rules.
        request.path_info, request.path = map(_normalized, (request.path_info, request.path))
    return _reject_long_body(request)


def _normalized(path: str) -> str:
    """Return the path without what clients add that join addresses carelessly: `//`, and `/` at the end."""
    return re.sub(r"/{2,}", "/", path).removesuffix("/")


def _reject_long_body(request: HttpRequest) -> HttpResponse | None:
    """Reject a body that is too long. Set the length of a chunked one: without it, DRF takes the body for empty."""
    limit = body_limit(request.path).bytes
    length = request.META.get("CONTENT_LENGTH") or ""
    size = int(length) if length.isdecimal() else 0
    if not length and "Transfer-Encoding" in request.headers:
        stream: IO[bytes] = request._stream  # a file, into which Django has written all
        size = stream.seek(0, 2)
        stream.seek(0)
        request.META["CONTENT_LENGTH"] = str(size)
    return too_large(request.path) if size > limit else None


def add_headers(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Add the headers that every response has, and drop the body of a response to HEAD."""
    if request.method == "HEAD" and not response.streaming:
        # daphne drops only the first 64 KB: a client would take the rest for the next response.
        response.headers.setdefault("Content-Length", str(len(response.content)))
        response.content = b""
    request_id = context.current().request_id  # empty under a server that is not ours
    response["x-request-id"] = request_id or context.request_id(request.headers.get("X-Request-Id", ""))
    asgi.name_span(request)
    response.headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.path.startswith("/v1/"):
        response.headers.setdefault("Cache-Control", "no-store")  # it belongs to one user
    origin = request.headers.get("Origin", "")
    if is_cors_origin(origin):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = _CORS_EXPOSED
        if request.method == "OPTIONS":
            response["Access-Control-Allow-Methods"] = _CORS_METHODS
            response["Access-Control-Allow-Headers"] = _CORS_HEADERS
    if settings.CORS_ALLOWED_ORIGINS:
        patch_vary_headers(response, ["Origin"])
    return response
