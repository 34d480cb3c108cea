"""The ASGI application of /mcp: authenticate as every other address does, and speak the HTTP of MCP."""

import asyncio
import codecs
import importlib
from collections.abc import Awaitable, Callable
from io import BytesIO
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse

from agents_app.access import callers, limits, open_connections
from agents_app.api.error_responses import error_response, of_domain_error, too_large
from agents_app.api.security import add_headers, reject
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError, RateLimited
from agents_app.mcp_server import cancellation, media_types, requests
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import McpRequest
from agents_app.mcp_server.resumption import ResumePoint

PATH = "/mcp"
METHODS = "POST, GET, DELETE"
SESSION_HEADER = "Mcp-Session-Id"

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def is_ours(scope: dict[str, Any]) -> bool:
    """Return whether an HTTP request is for the MCP server."""
    return scope["path"].rstrip("/") == PATH


class Application:
    """The ASGI application at /mcp."""

    def __init__(self) -> None:
        self._sdk: ModuleType | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        http_request = ASGIRequest(scope, BytesIO())
        request = await database.run(_authenticate, http_request)
        if isinstance(request, HttpResponse):
            await _send(request, http_request, send)
            return
        body = await _read(receive)
        if body is None:
            await _send(too_large(), http_request, send)
            return
        response = await _respond_without_sdk(http_request, request, body)
        if response is not None:
            await _send(response, http_request, send)
            return
        headers = dict(add_headers(http_request, HttpResponse()).items())
        sdk = await self._load_sdk()
        try:
            place = open_connections.take(request.user)
        except RateLimited as error:
            await _send(_error(error), http_request, send)
            return
        request.takes_events = media_types.accepted(http_request.headers.get("Accept", "")) != "application/json"
        with place:
            await sdk.respond(scope, body, receive, send, request, headers)

    async def close(self) -> None:
        """End open requests; clients come back to another instance."""
        if self._sdk is not None:
            await self._sdk.close()

    async def _load_sdk(self) -> ModuleType:
        """Import what uses the SDK. That takes a second, so a start does not wait for it."""
        if self._sdk is None:
            self._sdk = await asyncio.to_thread(importlib.import_module, "agents_app.mcp_server.response")
        return self._sdk


application = Application()


def _authenticate(http_request: ASGIRequest) -> McpRequest | HttpResponse:
    """Return the request of a caller that is admitted, or the response for one that is not."""
    rejection = reject(http_request)
    if rejection is not None:
        return rejection
    try:
        with storage_errors():
            limits.take_request_from(http_request)
            has_token = "Authorization" in http_request.headers  # a cookie does not count here
            caller = callers.of_request(http_request) if has_token or not settings.AUTH_REQUIRED else None
            if caller is None:
                return _unauthorized(http_request)
            limits.take_request(caller.user)
    except AgentError as error:
        return _error(error)
    session = http_request.headers.get(SESSION_HEADER, "")
    if session and not requests.is_session_of(caller.user, session):
        return error_response(404, "There is no such session: initialize again.", "session_not_found")
    revision, base_url = http_request.headers.get("MCP-Protocol-Version", ""), http_request.build_absolute_uri("/")
    return McpRequest(caller, session, revision=revision, base_url=base_url)


def _error(error: AgentError) -> HttpResponse:
    status, answer, headers = of_domain_error(error)
    return JsonResponse(answer, status=status, headers=headers)


def _unauthorized(request: ASGIRequest) -> HttpResponse:
    text = "This token is unknown, expired or revoked." if "Authorization" in request.headers else "Send a token."
    response = error_response(401, text, "not_authenticated")
    response["WWW-Authenticate"] = "Bearer"
    return response


async def _respond_without_sdk(http_request: ASGIRequest, request: McpRequest, body: bytes) -> HttpResponse | None:
    """Return the response to a request that the SDK's stateless mode does not handle; None for one that it does."""
    if http_request.method == "GET":
        request.resume_point = ResumePoint.parse_id(http_request.headers.get("Last-Event-ID", ""))
        if request.resume_point is not None and request.session:
            return None
        return _not_allowed("POST")  # this server sends no messages on its own
    if http_request.method == "DELETE" and request.session:
        return HttpResponse(status=204)  # nothing is kept of a session
    if http_request.method != "POST":
        return _not_allowed(METHODS)
    if not media_types.is_json(http_request.headers.get("Content-Type", "")):
        return error_response(415, "Send JSON: set Content-Type to application/json.", "unsupported_media_type")
    if not media_types.accepted(http_request.headers.get("Accept", "")):
        text = "Accept application/json, or text/event-stream too to hear about the progress of a call."
        return error_response(406, text, "not_acceptable")
    if request.session and (request_id := cancellation.cancelled_request(body)) is not None:
        await cancellation.cancel_request(request, request_id)
        return HttpResponse(status=202)
    return None


def _not_allowed(methods: str) -> HttpResponse:
    response = error_response(405, "Send JSON-RPC by POST.", "method_not_allowed")
    response["Allow"] = methods
    return response


async def _read(receive: Receive) -> bytes | None:
    """Return the body; None if it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > settings.MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts).removeprefix(codecs.BOM_UTF8)


async def _send(response: HttpResponse, request: ASGIRequest, send: Send) -> None:
    response = add_headers(request, response)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
