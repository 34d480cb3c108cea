"""The SDK's response to one request, with the headers and event ids that its stateless mode leaves out.

Importing this module imports the SDK.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from agents_app.mcp_server import media_types, protocol
from agents_app.mcp_server.protocol import close
from agents_app.mcp_server.requests import McpRequest, new_session
from agents_app.mcp_server.resumption import ResumePoint

__all__ = ["close", "respond"]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
_REPLACED_HEADERS = (b"accept", b"content-type", b"content-length", b"last-event-id")


async def respond(
    scope: Message, body: bytes, receive: Receive, send: Send, request: McpRequest, headers: dict[str, str]
) -> None:
    """Let the SDK respond. `headers` are those of every response of this server."""
    point = request.resume_point
    if point is not None:
        body = _repeated_call(point)
        scope = scope | {"method": "POST", "headers": _as_post(scope["headers"])}
    else:
        point = _resume_point_of_call(body, request) if request.takes_events else None
        scope = scope | {"headers": media_types.as_expected(scope["headers"])}
    first = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive_body_first() -> Message:
        if (message := next(first, None)) is not None:
            return message
        message = await receive()
        request.is_disconnected = request.is_disconnected or message["type"] == "http.disconnect"
        return message

    response = _Response(send, request, headers, point, is_initialize=_is_initialize(body))
    await protocol.handle(scope, receive_body_first, response.send, request)


class _Response:
    """What the SDK sends, with what it leaves out."""

    def __init__(
        self,
        send: Send,
        request: McpRequest,
        headers: dict[str, str],
        point: ResumePoint | None,
        *,
        is_initialize: bool,
    ) -> None:
        self._send = send
        self._request = request
        self._headers = headers
        self._point = point
        self._is_initialize = is_initialize
        self._is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message | {"headers": self._all_headers(message)})
            if self._is_stream and self._point is not None and self._request.accepts_empty_events:
                await self._send({"type": "http.response.body", "body": self._point.first_event(), "more_body": True})
        elif self._point is not None:
            await self._send(message | {"body": self._point.number(bytes(message.get("body", b"")))})
        else:
            await self._send(message)

    def _all_headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        self._is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        for name, value in self._headers.items():
            headers.setdefault(name.lower().encode(), value.encode("latin-1"))
        headers.setdefault(b"cache-control", b"no-store")
        if self._is_stream:
            headers[b"x-accel-buffering"] = b"no"
        if self._is_initialize and message["status"] == 200 and not self._request.disconnect_cancels:
            headers[b"mcp-session-id"] = new_session(self._request.user).encode()
        return list(headers.items())


def _resume_point_of_call(body: bytes, request: McpRequest) -> ResumePoint | None:
    """Return the start of a call whose stream can be resumed; None for all other requests."""
    message = _decode(body)
    params = message.get("params")
    if message.get("method") != "tools/call" or not isinstance(params, dict) or not request.session:
        return None
    arguments, meta, request_id = params.get("arguments"), params.get("_meta"), message.get("id")
    if params.get("name") != "run_agent" or not isinstance(arguments, dict) or not isinstance(request_id, str | int):
        return None
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return ResumePoint(request_id, token, request.chat_session(request_id, arguments))


def _repeated_call(point: ResumePoint) -> bytes:
    """Return the client's earlier request for the SDK. Its arguments are not needed: the row of the run has them."""
    meta = {} if point.progress_token is None else {"_meta": {"progressToken": point.progress_token}}
    params = {"name": "run_agent", "arguments": {"message": ""}, **meta}
    message = {"jsonrpc": "2.0", "id": point.request_id, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def _as_post(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in _REPLACED_HEADERS] + _JSON


def _is_initialize(body: bytes) -> bool:
    return _decode(body).get("method") == "initialize"


def _decode(body: bytes) -> Message:
    try:
        message = orjson.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
