"""Whose a request is, by its headers alone."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, parse_cookie
from twisted.web.http_headers import Headers

from agents_app.access import callers, limits, open_mode
from agents_app.api.error_responses import error_response, of_domain_error
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError


def sender(headers: Headers, peer: str) -> HttpResponse | int | None:
    """Return the id of the user who sends a request with these headers; None in the open mode. Else the response."""
    request = _request(headers, peer)
    if open_mode.applies() and (reason := _refusal(headers, peer)):
        return error_response(403, reason, "not_this_machine")
    try:
        with storage_errors():
            limits.take_request_from(request)
            caller = _caller(request)
    except AgentError as error:
        status, body, error_headers = of_domain_error(error)
        return JsonResponse(body, status=status, headers=error_headers)
    if caller is not None:
        return caller.user.pk
    response = error_response(401, "Send a valid token: this body is large.", "not_authenticated")
    response["WWW-Authenticate"] = "Bearer"
    return response


def _request(headers: Headers, peer: str) -> HttpRequest:
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": peer}
    for name, values in headers.getAllRawHeaders():
        key = name.decode("latin-1").upper().replace("-", "_")
        request.META[f"HTTP_{key}"] = ",".join(value.decode("latin-1") for value in values)
    return request


def _refusal(headers: Headers, peer: str) -> str | None:
    names = [name.decode("latin-1") for name, _ in headers.getAllRawHeaders()]
    forwarded = [value.decode("latin-1") for value in headers.getRawHeaders(b"x-forwarded-for", [])]
    return open_mode.refusal(peer, names, forwarded)


def _caller(request: HttpRequest) -> callers.Caller | None:
    """Return the caller. As for the application, a cookie counts only beside an Origin."""
    cookie = request.META.get("HTTP_COOKIE", "") if "HTTP_ORIGIN" in request.META else ""
    return callers.of_socket(
        address=None,  # in the open mode others were refused
        authorization=request.META.get("HTTP_AUTHORIZATION"),
        ticket=None,
        session_key=parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME),
    )
