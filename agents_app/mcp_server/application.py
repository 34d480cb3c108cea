"""The door of /mcp: who may knock, as for every other address; and what an MCP client needs of HTTP."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from io import BytesIO
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse

from agents_app.access import callers, limits
from agents_app.access.origins import address_of
from agents_app.api.errors import TooLarge, error_response, exception_handler
from agents_app.api.security import dressed, refusal
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError
from agents_app.mcp_server import cancellation, requests
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import Asking

PATH = "/mcp"
METHODS = "POST, GET, DELETE"
SESSION_HEADER = "Mcp-Session-Id"

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def is_ours(scope: dict[str, Any]) -> bool:
    """Whether a request of HTTP is for here."""
    return scope["path"].rstrip("/") == PATH


class Application:
    """The ASGI application at /mcp."""

    def __init__(self) -> None:
        self._sdk_server: ModuleType | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = ASGIRequest(scope, BytesIO())
        entered = await database.run(_enter, request)
        if isinstance(entered, HttpResponse):
            await _send(entered, request, send)
            return
        body = await _read(receive)
        if body is None:
            await _send(error_response(413, TooLarge.default_detail, TooLarge.default_code), request, send)
            return
        response = await _answer_ourselves(request, entered, body)
        if response is not None:
            await _send(response, request, send)
            return
        headers = dict(dressed(request, HttpResponse()).items())
        await (await self._load_sdk_server()).answer(scope, body, receive, send, entered, headers)

    async def close(self) -> None:
        """End open requests; clients come back to another instance."""
        if self._sdk_server is not None:
            await self._sdk_server.close()

    async def _load_sdk_server(self) -> ModuleType:
        """Import what uses the SDK, which takes a second: the start of a server need not wait for that."""
        if self._sdk_server is None:
            self._sdk_server = await asyncio.to_thread(importlib.import_module, "agents_app.mcp_server.resumption")
        return self._sdk_server


application = Application()


def _enter(request: ASGIRequest) -> Asking | HttpResponse:
    """Who asks, or the answer to those who may not."""
    refused = refusal(request)
    if refused is not None:
        return refused
    try:
        with storage_errors():
            limits.take_request_from(address_of(request))
            known = not settings.AUTH_REQUIRED or "Authorization" in request.headers  # a cookie does not count here
            caller = callers.of_request(request) if known else None
            if caller is None:
                return _unknown(request)
            limits.take_request(caller.user)
    except AgentError as error:
        answer = exception_handler(error, {})
        assert answer is not None
        said = {name: value for name, value in answer.items() if name != "Content-Type"}
        return JsonResponse(answer.data, status=answer.status_code, headers=said)
    session = request.headers.get(SESSION_HEADER, "")
    if session and not requests.is_session_of(caller.user, session):
        return error_response(404, "This session is not one of ours: initialize again.", "session_not_found")
    return Asking(caller, session, revision=request.headers.get("MCP-Protocol-Version", ""))


def _unknown(request: ASGIRequest) -> HttpResponse:
    text = "This token is unknown, expired or revoked." if "Authorization" in request.headers else "Send a token."
    response = error_response(401, text, "not_authenticated")
    response["WWW-Authenticate"] = "Bearer"
    return response


async def _answer_ourselves(request: ASGIRequest, entered: Asking, body: bytes) -> HttpResponse | None:
    """The answer to what the SDK's stateless server knows nothing of; None: let it answer."""
    if request.method == "GET":
        entered.resumes = requests.place_of(request.headers.get("Last-Event-ID", ""))
        if entered.resumes is not None and entered.session:
            return None
        return _not_allowed("POST")  # we say nothing that was not asked for
    if request.method == "DELETE" and entered.session:
        return HttpResponse(status=204)  # there is nothing to forget
    if request.method != "POST":
        return _not_allowed(METHODS)
    if entered.session and (request_id := cancellation.asked_for(body)) is not None:
        await cancellation.cancel_request(entered, request_id)
        return HttpResponse(status=202)
    return None


def _not_allowed(methods: str) -> HttpResponse:
    response = error_response(405, "Send JSON-RPC by POST.", "method_not_allowed")
    response["Allow"] = methods
    return response


async def _read(receive: Receive) -> bytes | None:
    """The body; None where it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(response: HttpResponse, request: ASGIRequest, send: Send) -> None:
    response = dressed(request, response)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
