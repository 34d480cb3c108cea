"""Responses to requests that do not reach Django, with the body and the headers that they would have from it."""

from django.http import HttpRequest, HttpResponse
from twisted.web.http_headers import Headers

from agents_app.api.error_responses import error_response
from agents_app.api.security import add_headers

_CODES = {400: "bad_request", 503: "server_unavailable"}


def of_server(status: int, problem: str) -> HttpResponse:
    """Return the response to a request that daphne could not give to the application, or that failed there."""
    return error_response(status, f"{problem.rstrip('.')}.", _CODES.get(status, "server_error"))


def with_headers(response: HttpResponse, headers: Headers) -> HttpResponse:
    """Add what each response has, such as the CORS headers; `headers` are the request's."""
    request = HttpRequest()
    request.META = {"HTTP_ORIGIN": _first(headers, "Origin"), "HTTP_X_REQUEST_ID": _first(headers, "X-Request-Id")}
    response.headers.setdefault("Cache-Control", "no-store")
    return add_headers(request, response)


def _first(headers: Headers, name: str) -> str:
    values = headers.getRawHeaders(name.encode())
    return values[0].decode("latin-1") if values else ""


def header_pairs(response: HttpResponse) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]


def whole(response: HttpResponse) -> bytes:
    """Return the response as it is written to a connection that is then closed."""
    head = [
        f"HTTP/1.1 {response.status_code} {response.reason_phrase}".encode(),
        *(b": ".join(pair) for pair in header_pairs(response)),
        f"Content-Length: {len(response.content)}".encode(),
        b"Connection: close",
    ]
    return b"\r\n".join([*head, b"", response.content])
