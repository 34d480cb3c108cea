"""A session's messages on their way. The SDK reports neither their end, nor late answers, nor those without an id."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import mcp_types as types
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import ReadStream, WriteStream
from mcp.shared.message import SessionMessage

from agents_app.engine.mcp import handshake

RequestId = types.RequestId


class Requests:
    """The requests of a session that have no answer yet."""

    def __init__(self) -> None:
        self.open: dict[RequestId, str] = {}  # with their methods
        self.cancelled: set[RequestId] = set()

    def only_one(self) -> RequestId | None:
        """Return the one request that an answer without an id can belong to; None if there are others."""
        return next(iter(self.open)) if len(self.open) == 1 and not self.cancelled else None

    def answered(self, request_id: RequestId) -> str:
        """Note that there is an answer. Returns the method of its request."""
        request_id = coerce_request_id(request_id)
        self.cancelled.discard(request_id)
        return self.open.pop(request_id, "")


class Inbox:
    """The server's messages on their way to the SDK. `on_end` is called after the last one."""

    def __init__(
        self, stream: ReadStream[SessionMessage | Exception], requests: Requests, on_end: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._requests = requests
        self._on_end = on_end

    async def receive(self) -> SessionMessage | Exception:
        item = await self._stream.receive()
        if isinstance(item, SessionMessage):
            self._note(item.message)
        return item

    def _note(self, message: types.JSONRPCMessage) -> None:
        if isinstance(message, types.JSONRPCError) and message.id is None:
            message.id = self._requests.only_one()
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id is not None:
            method = self._requests.answered(message.id)
            if isinstance(message, types.JSONRPCResponse) and method in ("initialize", "server/discover"):
                message.result = handshake.conform(message.result)

    async def aclose(self) -> None:
        self._on_end()
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Outbox:
    """The SDK's messages on their way to the server."""

    def __init__(self, stream: WriteStream[SessionMessage], requests: Requests) -> None:
        self._stream = stream
        self._requests = requests

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, types.JSONRPCRequest):
            self._requests.open[coerce_request_id(message.id)] = message.method
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._requests.open.pop((message.params or {}).get("requestId", ""), None)
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
