"""Every error in one shape: `{"error": {"message", "type", "param", "code", "fields"?}}`.

Nothing here needs DRF, whose import takes a tenth of the start: `agents_app.api.errors` is for its views.
"""

import re
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse

from agents_app.api.body_limits import body_limit
from agents_app.exceptions import (
    AgentError,
    AuthenticationExpired,
    Conflict,
    FileTooLarge,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerUnavailable,
    StorageUnavailable,
)

TOO_LARGE = "request_too_large"
RETRY_AFTER = 1  # seconds, if the database is unavailable for a moment

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
}
_DOMAIN_STATUS: dict[type[AgentError], int] = {
    FileTooLarge: 413,
    InvalidRequest: 400,
    AuthenticationExpired: 401,
    NotFound: 404,
    Conflict: 409,
    RateLimited: 429,
    StorageUnavailable: 503,
    ServerUnavailable: 503,
}


def error_body(
    status: int,
    message: str,
    code: str,
    *,
    param: str | None = None,
    fields: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """Return the body of an error response."""
    error: dict[str, Any] = {
        "message": message,
        "type": _TYPES.get(status, "invalid_request_error"),
        "param": param,
        "code": code,
    }
    if fields:
        error["fields"] = fields
    return {"error": error}


def error_response(status: int, message: str, code: str, *, param: str | None = None) -> JsonResponse:
    """Return an error response for code outside DRF."""
    return JsonResponse(error_body(status, message, code, param=param), status=status)


def too_large(path: str = "") -> JsonResponse:
    """Return the response to a body that is larger than the limit of the path."""
    return error_response(413, f"The request body is {too_large_text(path)}.", TOO_LARGE)


def too_large_text(path: str = "") -> str:
    limit = body_limit(path)
    return f"larger than {limit.bytes:,} bytes, the server's limit ({limit.setting})"


def of_domain_error(error: AgentError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, the body and the headers of the response to an error of the domain."""
    status = next((status for kind, status in _DOMAIN_STATUS.items() if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return status, error_body(status, str(error), error.code, param=getattr(error, "param", None)), headers


# Django's own handlers. Browsers get pages: see `chat_app.pages.errors`, which the URLs name.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return too_large(request.path)
    return error_response(400, "The request is malformed.", "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(403, "You do not have permission to do this.", "permission_denied")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    text = f"Not found: {request.path[:200]}. {_correct_path(request.path)}".rstrip()
    return error_response(404, text, "not_found")


def _correct_path(path: str) -> str:
    """Return a sentence about the endpoint that a client with another base URL means; empty if there is none."""
    names = re.findall(r"(?:^|/)(chat/completions|completions|responses|models|mcp)(?=/|$)", re.sub("/+", "/", path))
    if not names:
        return ""
    if names[-1] == "mcp":
        return "The MCP server is at /mcp."
    name = names[-1].replace("completions", "chat/completions").replace("chat/chat/", "chat/")
    return f"Use /v1/{name}: the base URL of a client of the OpenAI API ends in /v1."


def server_error(request: HttpRequest) -> HttpResponse:
    return error_response(500, "Internal server error. It was logged.", "server_error")


def speaks_json(request: HttpRequest) -> bool:
    """Return whether the client is a program and not a browser."""
    preferred = request.get_preferred_type(["application/json", "text/html"])
    return request.path.startswith("/v1") or preferred != "text/html"
