"""The responses to exceptions in DRF's views: the domain and the libraries raise their own, translated only here."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework.response import Response

from agents_app.api.error_responses import RETRY_AFTER, TOO_LARGE, error_body, of_domain_error, too_large_text
from agents_app.database.threads import UNAVAILABLE
from agents_app.exceptions import AgentError, Conflict, StorageUnavailable
from agents_app.observability import metrics

logger = logging.getLogger(__name__)

_LONGEST_NAME = 100
_WHOLE_BODY = "non_field_errors"

_SENTENCES = {
    "not_found": "Not found.",
    "unsupported_media_type": "Send the body as JSON, with the header Content-Type: application/json.",
}


class TooLarge(drf.APIException):
    """The body is larger than the limit."""

    status_code = 413
    default_code = TOO_LARGE

    def __init__(self, path: str = "") -> None:
        super().__init__(f"The request body is {too_large_text(path)}.")


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response to an exception. None if it is unexpected: Django answers 500 through `server_error`."""
    for kind, answer in _ANSWERS.items():
        if isinstance(error, kind):
            return answer(error)
    return None


def _answer(status: int, message: str, code: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    return Response(error_body(status, message, code, **more), status=status, headers=headers)


def _domain_error(error: AgentError) -> Response:
    status, body, headers = of_domain_error(error)
    return Response(body, status=status, headers=headers)


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
    SuspiciousOperation: lambda _: _answer(400, "The form has too many parts, or is malformed.", "invalid_request"),
    ProtectedError: _protected,
    IntegrityError: lambda _: _answer(
        409, "It conflicts with a change that was saved at the same time.", Conflict.code
    ),
    **dict.fromkeys(UNAVAILABLE, _storage_error),
}
