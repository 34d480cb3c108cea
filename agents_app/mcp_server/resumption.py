"""An answer on its way: every event of a long call has an id, from which the call can be followed on any instance."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from agents_app.mcp_server import protocol
from agents_app.mcp_server.protocol import close
from agents_app.mcp_server.requests import Asking, Place, new_session

__all__ = ["answer", "close"]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_RETRY = 2000  # milliseconds that a client waits before it comes back: the official ones do so twice
_EVENT = b"event: message"
_PROGRESS = re.compile(rb'"progress":([0-9.]+)')
_JSON = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
_OURS = (b"accept", b"content-type", b"content-length", b"last-event-id")


async def answer(
    scope: Message, body: bytes, receive: Receive, send: Send, asking: Asking, headers: dict[str, str]
) -> None:
    """Have the SDK answer; `headers` are those that every answer of ours has."""
    place = asking.resumes
    if place is not None:
        body = _call_again(place)
        scope = scope | {"method": "POST", "headers": _as_post(scope["headers"])}
    else:
        place = _place_of_call(body, asking)
    given = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def take() -> Message:
        if (first := next(given, None)) is not None:
            return first
        message = await receive()
        asking.gone = asking.gone or message["type"] == "http.disconnect"
        return message

    outgoing = _Outgoing(send, asking, headers, place, initializes=_is_initialize(body))
    await protocol.handle(scope, take, outgoing.send, asking)


class _Outgoing:
    """What the SDK sends, with what it leaves out in its stateless mode."""

    def __init__(
        self, send: Send, asking: Asking, headers: dict[str, str], place: Place | None, *, initializes: bool
    ) -> None:
        self._send = send
        self._asking = asking
        self._headers = headers
        self._place = place
        self._initializes = initializes
        self._progress = f"{place.progress if place else 0}"
        self._is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message | {"headers": self._dress(message)})
            if self._is_stream and self._place is not None and self._asking.takes_empty_events:
                # Before anything is said, so that nothing can be lost before the first id.
                await self._send({"type": "http.response.body", "body": self._first(), "more_body": True})
        else:
            await self._send(message | {"body": self._numbered(bytes(message.get("body", b"")))})

    def _dress(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = {name.lower(): value for name, value in message.get("headers", ())}
        self._is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        for name, value in self._headers.items():
            headers.setdefault(name.lower().encode(), value.encode("latin-1"))
        headers.setdefault(b"cache-control", b"no-store")
        if self._is_stream:
            headers[b"x-accel-buffering"] = b"no"
        if self._initializes and message["status"] == 200 and not self._asking.closing_cancels:
            headers[b"mcp-session-id"] = new_session(self._asking.user).encode()
        return list(headers.items())

    def _first(self) -> bytes:
        assert self._place is not None
        return f"id: {self._place.event_id(self._progress)}\r\nretry: {_RETRY}\r\ndata: \r\n\r\n".encode()

    def _numbered(self, body: bytes) -> bytes:
        if self._place is None or not body.startswith(_EVENT):
            return body
        if found := _PROGRESS.search(body) if b'"notifications/progress"' in body else None:
            self._progress = found[1].decode()
        return f"id: {self._place.event_id(self._progress)}\r\n".encode() + body


def _place_of_call(body: bytes, asking: Asking) -> Place | None:
    """Where a call that can be followed again begins; None for all others."""
    message = _decoded(body)
    params = message.get("params")
    if message.get("method") != "tools/call" or not isinstance(params, dict) or not asking.session:
        return None
    arguments, meta, request_id = params.get("arguments"), params.get("_meta"), message.get("id")
    if params.get("name") != "run_agent" or not isinstance(arguments, dict) or not isinstance(request_id, str | int):
        return None
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return Place(request_id, token, asking.chat_session(request_id, arguments))


def _call_again(place: Place) -> bytes:
    """The request that the client once made, for the SDK; what it was about is in the row of its run."""
    meta = {} if place.token is None else {"_meta": {"progressToken": place.token}}
    params = {"name": "run_agent", "arguments": {"message": ""}, **meta}
    message = {"jsonrpc": "2.0", "id": place.request_id, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def _as_post(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in _OURS] + _JSON


def _is_initialize(body: bytes) -> bool:
    return _decoded(body).get("method") == "initialize"


def _decoded(body: bytes) -> Message:
    try:
        message = orjson.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
