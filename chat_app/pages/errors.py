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
    return _page(request, 400, _("Bad request"), _("The address or the form is malformed. Go back and try again."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.permission_denied(request, exception)
    return _page(
        request,
        403,
        _("You don't have permission"),
        _("Sign in with another account, or ask an administrator for access."),
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.page_not_found(request, exception)
    return _page(request, 404, _("Page not found"), _("Check the address – the page may have been moved or deleted."))


def server_error(request: HttpRequest) -> HttpResponse:
    if error_responses.speaks_json(request):
        return error_responses.server_error(request)
    return _page(
        request, 500, _("Something went wrong"), _("That is not your fault, and it was logged. Try again in a moment.")
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that was open for too long, or came from another site."""
    return _page(
        request,
        403,
        _("This form is out of date"),
        _("The form expired. Reload the page and try again (cookies must be enabled)."),
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
    user = AnonymousUser() if status >= 500 else getattr(request, "user", AnonymousUser())  # whose row may not be had
    context = {"status": status, "title": title, "advice": advice, "user": user} | frame(user)
    return render(request, "chat_app/error.html", context, status=status)
