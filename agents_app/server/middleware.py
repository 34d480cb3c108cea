"""The outermost Django middleware: probes, origins, headers."""

from collections.abc import Awaitable

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from agents_app.access import security_log
from agents_app.api import error_responses
from agents_app.api.security import add_headers, reject
from agents_app.server import health, prometheus


class OriginMiddleware:
    """Answer probes, check hosts and origins, and add headers, before anything else.

    An unsafe method from a page of another origin is rejected, whether or not sign-in is required: else any web page
    could control the server on a laptop.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if self._is_async:
            return self._answer(request)
        security_log.remember_address(request)
        response = async_to_sync(_probe)(request) or reject(request)
        return add_headers(request, response or _for_programs(request, self.get_response(request)))

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        security_log.remember_address(request)
        response = await _probe(request) or reject(request)
        return add_headers(request, response or _for_programs(request, await self.get_response(request)))


def _for_programs(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return the response, or in its place an error in JSON: with DEBUG, Django has a page for an unknown address."""
    is_page = settings.DEBUG and response.status_code == 404 and "text/html" in response.get("Content-Type", "")
    if is_page and request.resolver_match is None and error_responses.speaks_json(request):
        return error_responses.page_not_found(request, Http404())
    return response


async def _probe(request: HttpRequest) -> HttpResponse | None:
    """Return the response to a monitor; None for all other requests. Monitors use the address, with any Host."""
    if request.method not in ("GET", "HEAD"):
        return None
    path = request.path_info.rstrip("/")
    if path == prometheus.PATH:
        return await prometheus.answer(request)
    view = health.PROBES.get(path)
    return await view() if view else None
