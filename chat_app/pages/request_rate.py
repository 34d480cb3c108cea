"""Limit the requests of an address to whatever is not the API, which counts its own: pages, sign-in, the admin."""

from collections.abc import Awaitable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from agents_app.access import limits
from agents_app.api import error_responses
from agents_app.exceptions import RateLimited

_API = "/v1/"
_PAGES_OF_API = {"/v1/docs", "/v1/schema/frames"}


class RequestRateMiddleware:
    """Refuse a request before anything is read for it. The answer is plain: it must cost less than a page."""

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
        return (_refusal(request) if _is_counted_here(request) else None) or self.get_response(request)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        refusal = await sync_to_async(_refusal)(request) if _is_counted_here(request) else None
        return refusal or await self.get_response(request)


def _is_counted_here(request: HttpRequest) -> bool:
    is_page = not request.path_info.startswith(_API) or request.path_info in _PAGES_OF_API
    return is_page and settings.REQUESTS_PER_MINUTE_PER_ADDRESS > 0


def _refusal(request: HttpRequest) -> HttpResponse | None:
    try:
        limits.take_request_from(request)
    except RateLimited as error:
        status, body, headers = error_responses.of_domain_error(error)
        if error_responses.speaks_json(request):
            return JsonResponse(body, status=status, headers=headers)
        return HttpResponse(str(error), "text/plain", status, headers=headers)
    return None
