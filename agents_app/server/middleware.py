"""The outermost Django middleware: probes, origins, headers."""

from collections.abc import Awaitable

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from agents_app.api.security import dressed, refusal
from agents_app.server import health, prometheus


class OriginMiddleware:
    """Before anything else: probes answered, hosts and origins checked, paths and bodies made uniform.

    An unsafe method from a page that is not ours is refused whether or not anybody has to sign in: else any
    web page could drive the server of a laptop.
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
        response = async_to_sync(_probe)(request) or refusal(request)
        return dressed(request, response or self.get_response(request))

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        response = await _probe(request) or refusal(request)
        return dressed(request, response or await self.get_response(request))


async def _probe(request: HttpRequest) -> HttpResponse | None:
    """The answer to who watches over the server: those come by address, with any Host."""
    if request.method not in ("GET", "HEAD"):
        return None
    path = request.path_info.rstrip("/")
    if path == prometheus.PATH:
        return await prometheus.answer(request)
    view = health.PROBES.get(path)
    return await view() if view else None
