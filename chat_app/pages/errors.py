"""Error pages for people; programs get the API's errors."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from agents_app.api import error_responses
from chat_app.pages.languages import translated
from chat_app.pages.views import frame


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.bad_request(request, exception)
    return _page(
        request, 400, _("That cannot be understood"), _("The address or the form is malformed. Go back and try again.")
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.permission_denied(request, exception)
    return _page(
        request,
        403,
        _("You may not do this"),
        _("Sign in as somebody who may, or ask your administrator for the right."),
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.page_not_found(request, exception)
    return _page(request, 404, _("There is nothing here"), _("The address may be misspelt, or what was here is gone."))


def server_error(request: HttpRequest) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.server_error(request)
    return _page(
        request, 500, _("The server failed"), _("That is not your fault, and it was logged. Try again in a moment.")
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that was open for too long, or came from another site."""
    return _page(
        request,
        403,
        _("This form is out of date"),
        _("Load the page again, then fill it in once more. Cookies must be allowed."),
    )


def start_link_expired(request: HttpRequest) -> HttpResponse:
    """Answer a link of an earlier start of the server."""
    return _page(
        request,
        403,
        _("This link is out of date"),
        _("Each start of the server prints a new one, with which a browser of this machine signs in."),
    )


@translated
def _page(request: HttpRequest, status: int, title: Any, advice: Any) -> HttpResponse:
    context = {"status": status, "title": title, "advice": advice} | frame(AnonymousUser())
    return render(request, "chat_app/error.html", context, status=status)
