"""Every error in one shape: `{"error": {"message", "type", "param", "code", "fields"?}}`.

The domain and the libraries raise their own exceptions. Only this module translates them into HTTP.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import IntegrityError
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from agents_app.database.threads import UNAVAILABLE
from agents_app.exceptions import (
    AgentError,
    AuthenticationExpired,
    Conflict,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerUnavailable,
    StorageUnavailable,
)
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

RETRY_AFTER = 1  # seconds, if the database is unavailable for a moment
_LONGEST_NAME = 100
_WHOLE_BODY = "non_field_errors"

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
    InvalidRequest: 400,
    AuthenticationExpired: 401,
    NotFound: 404,
    Conflict: 409,
    RateLimited: 429,
    StorageUnavailable: 503,
    ServerUnavailable: 503,
}
_SENTENCES = {
    "not_found": "Not found.",
    "unsupported_media_type": "Send the body as JSON, with the header Content-Type: application/json.",
}


class TooLarge(drf.APIException):
    """The body is larger than the limit."""

    status_code = 413
    default_detail = "The request body is larger than 1 MiB."
    default_code = "request_too_large"


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
    """Return an error response for code outside of DRF."""
    return JsonResponse(error_body(status, message, code, param=param), status=status)


# Inside DRF


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response to an exception. None if it is unexpected: Django answers 500 through `server_error`."""
    for kind, answer in _ANSWERS.items():
        if isinstance(error, kind):
            return answer(error)
    return None


def _answer(status: int, message: str, code: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    return Response(error_body(status, message, code, **more), status=status, headers=headers)


def _domain_error(error: AgentError) -> Response:
    status = next((status for kind, status in _DOMAIN_STATUS.items() if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return _answer(status, str(error), error.code, headers=headers, param=getattr(error, "param", None))


def _validation_error(error: drf.ValidationError) -> Response:
    messages = list(_flat(error.detail))
    fields: dict[str, list[str]] = {}
    for name, text in messages:
        fields.setdefault(name or "body", []).append(str(text))
    name, text = messages[0]
    message = f"{name}: {text}" if name else str(text)
    return _answer(400, message, str(text.code), param=name or None, fields=fields)


def _flat(detail: Any, name: str = "") -> Iterator[tuple[str, drf.ErrorDetail]]:
    """Yield each message with the dotted name of its field; an empty name is the whole body."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            part = "" if key == _WHOLE_BODY else str(key)[:_LONGEST_NAME]
            yield from _flat(inner, f"{name}.{part}".strip("."))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, name)
    else:
        yield name, detail


def _drf_error(error: drf.APIException) -> Response:
    headers = {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(max(1, round(wait)))
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    code = str(error.get_codes())
    return _answer(error.status_code, _SENTENCES.get(code, str(error.detail)), code, headers=headers)


def _protected(error: ProtectedError) -> Response:
    users = sorted(str(user) for user in error.protected_objects)
    names = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
    return _answer(409, f"It is in use by: {names}.", "in_use")


def _storage_error(error: Exception) -> Response:
    metrics.DATABASE_ERRORS.labels("request").inc()
    logger.error("The database failed during a request", exc_info=error)
    return _answer(
        503,
        "The database is unavailable. Try again.",
        StorageUnavailable.code,
        headers={"Retry-After": str(RETRY_AFTER)},
    )


_ANSWERS: dict[type[Exception], Callable[[Any], Response]] = {
    AgentError: _domain_error,
    drf.ValidationError: _validation_error,
    drf.APIException: _drf_error,
    Http404: lambda _: _drf_error(drf.NotFound()),
    PermissionDenied: lambda _: _drf_error(drf.PermissionDenied()),
    RequestDataTooBig: lambda _: _drf_error(TooLarge()),
    ProtectedError: _protected,
    IntegrityError: lambda _: _answer(
        409, "It conflicts with a change that was saved at the same time.", Conflict.code
    ),
    **dict.fromkeys(UNAVAILABLE, _storage_error),
}


# Outside DRF: Django's own handlers. Browsers get pages: see `chat_app.pages.errors`, which the URLs name.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return error_response(413, TooLarge.default_detail, TooLarge.default_code)
    return error_response(400, "The request is malformed.", "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(403, "You do not have permission to do this.", "permission_denied")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(404, f"Not found: {request.path[:200]}.", "not_found")


def server_error(request: HttpRequest) -> HttpResponse:
    return error_response(500, "Internal server error. It was logged.", "server_error")


def speaks_json(request: HttpRequest) -> bool:
    """Return whether the client is a program and not a browser."""
    preferred = request.get_preferred_type(["application/json", "text/html"])
    return request.path.startswith("/v1") or preferred != "text/html"
