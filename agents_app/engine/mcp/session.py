"""An open session with a server. Its users need to know no JSON-RPC."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

import anyio
import mcp_types as types
from mcp import ClientSession, MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher, ReadStream
from mcp.shared.message import SessionMessage
from pydantic import TypeAdapter, ValidationError

from agents_app.engine.mcp.transports.base import (
    BROKEN,
    NOT_DELIVERED,
    SESSION_LOST,
    TOO_LARGE,
    ConnectFailed,
    Transport,
)
from agents_app.engine.mcp.transports.sse import SseTransport
from agents_app.engine.mcp.transports.stdio import StdioTransport
from agents_app.engine.mcp.transports.streamable_http import HttpTransport
from agents_app.engine.spec import JSON, ServerSpec

MAX_TOOLS = 1000
_MAX_PAGES = 100
_PING_TIMEOUT = 5.0
_MAX_ERROR_LENGTH = 2000  # characters
_CLIENT = types.Implementation(name="AInTandem Agent MCP Scheduler", version="1")
_TRANSPORTS: dict[str, Callable[[ServerSpec], Transport]] = {
    "stdio": StdioTransport,
    "sse": SseTransport,
    "streamable_http": HttpTransport,
}
_RAW: TypeAdapter[JSON] = TypeAdapter(dict[str, Any])


class ServerError(Exception):
    """The server answered with an error. The text is the server's."""


class NotDelivered(Exception):
    """The call certainly had no effect. The text says why, as the end of a sentence.

    `session_lost`: the server forgot the session, and a new one would take the call.
    """

    def __init__(self, reason: str, *, session_lost: bool = False) -> None:
        super().__init__(reason)
        self.session_lost = session_lost


class OutcomeUnknown(Exception):
    """No answer came: the call may have had an effect. The text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself when a session begins."""

    name: str
    version: str
    protocol: str
    instructions: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip() or "A server without a name"


class _Inbox:
    """The server's messages on their way to the SDK, which reports neither their end nor late answers."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], on_end: Callable[[], None]) -> None:
        self.cancelled: set[types.RequestId | None] = set()  # requests without an answer yet
        self._stream = stream
        self._on_end = on_end

    async def receive(self) -> SessionMessage | Exception:
        item = await self._stream.receive()
        if isinstance(item, SessionMessage) and isinstance(item.message, types.JSONRPCResponse | types.JSONRPCError):
            self.cancelled.discard(item.message.id)
        return item

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


class Session:
    """The requests that a server takes. `open_session` makes one."""

    def __init__(
        self, client: ClientSession, dispatcher: JSONRPCDispatcher[Any], inbox: _Inbox, transport: Transport
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._transport = transport
        self._ids = itertools.count(1)

    @property
    def info(self) -> ServerInfo:
        info = self._client.server_info
        return ServerInfo(
            name=info.name if info else "",
            version=info.version if info else "",
            protocol=self._client.protocol_version or "",
            instructions=self._client.instructions or "",
        )

    async def negotiate(self) -> None:
        """Agree on a protocol version: by the handshake, or by discovery if the server knows none of its versions.

        Raises:
            MCPError: the server accepts neither.
        """
        try:
            await self._client.initialize()
        except MCPError as error:
            if error.code not in (types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION):
                raise
            await self._client.discover()

    async def list_tools(self) -> list[JSON]:
        """Return the tools as the server describes them, at most `MAX_TOOLS`.

        Raises:
            ConnectFailed: the server does not list them.
        """
        try:
            return await self._list_pages()
        except MCPError as error:
            raise await _connect_failed(error, self._transport) from None
        except ValidationError:
            raise ConnectFailed("its list of tools breaks the rules of the protocol") from None

    async def _list_pages(self) -> list[JSON]:
        listed: list[JSON] = []
        cursor = None
        for _ in range(_MAX_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
            try:
                page = await self._request(types.ListToolsRequest(params=params))
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND and not listed:
                    return []  # a server of prompts and resources
                raise
            tools = page.get("tools")
            listed += [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
            cursor = page.get("nextCursor")
            if not cursor or len(listed) >= MAX_TOOLS:
                break
        return listed[:MAX_TOOLS]

    async def call(self, tool: str, arguments: JSON, show: Callable[[str], None], request_id: int) -> JSON:
        """Call a tool and return its result as the server sent it. Cancelling this notifies the server.

        Raises:
            ServerError: the server rejects the call.
            NotDelivered: the server did not get the call.
            OutcomeUnknown: the server did not answer the call.
        """

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            show(_progress_line(progress, total, message))

        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        try:
            return await self._request(request, request_id, on_progress)
        except asyncio.CancelledError:
            self._inbox.cancelled.add(request_id)
            raise
        except ValidationError:
            raise ServerError("The server's answer is not the result of a tool.") from None
        except MCPError as error:
            if error.code in (NOT_DELIVERED, SESSION_LOST):
                raise NotDelivered(error.message, session_lost=error.code == SESSION_LOST) from None
            if error.code == TOO_LARGE:
                raise ServerError("The tool's result is larger than 16 MiB, which is the limit.") from None
            if error.code == BROKEN:
                raise OutcomeUnknown(error.message) from None
            if _is_end(error):
                raise OutcomeUnknown(await self._transport.end_reason() or "the connection to it ended") from None
            raise ServerError(error.message[:_MAX_ERROR_LENGTH]) from None

    def next_id(self) -> int:
        return next(self._ids)

    async def abandon(self, request_id: int, grace: float) -> bool:
        """Stop waiting for a cancelled call if no answer comes within `grace` seconds.

        Returns whether the connection must end to stop the call.
        """
        await asyncio.sleep(grace)
        if request_id not in self._inbox.cancelled:
            return False
        self._inbox.cancelled.discard(request_id)
        if self._transport.abandon(request_id):
            return True
        try:
            async with asyncio.timeout(_PING_TIMEOUT):
                await self._request(types.PingRequest())
        except MCPError as error:
            return error.code in (BROKEN, NOT_DELIVERED, SESSION_LOST) or _is_end(error)
        except TimeoutError:
            return True
        return False

    async def _request(
        self, request: types.Request[Any, Any], request_id: int | None = None, progress: ProgressFnT | None = None
    ) -> JSON:
        if self._client.discover_result is not None:  # each request carries an envelope, which the SDK makes
            return await self._client.send_request(request, _RAW, progress_callback=progress)  # type: ignore[type-var]
        # The SDK's own method rejects a whole list for one odd tool, and a result for a field that we do not need.
        payload = request.model_dump(by_alias=True, mode="json", exclude_none=True)
        options: Any = {"request_id": request_id or self.next_id()}
        if progress is not None:
            options["on_progress"] = progress
        return await self._dispatcher.send_raw_request(payload["method"], payload.get("params"), options)


def make_transport(spec: ServerSpec) -> Transport:
    """Return the transport to the server, not open yet."""
    return _TRANSPORTS[spec.transport](spec)


@contextlib.asynccontextmanager
async def open_session(
    transport: Transport, *, on_end: Callable[[], None], on_tools_changed: Callable[[], None]
) -> AsyncIterator[Session]:
    """Open a session. The task that enters it must leave it.

    `on_end` is called when the server ends the session.

    Raises:
        ConnectFailed: no session can be opened.
    """

    async def on_message(message: types.ServerNotification | Exception) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            on_tools_changed()

    async with transport.open() as (read, write):
        inbox = _Inbox(read, on_end)
        dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(inbox, write)
        async with ClientSession(dispatcher=dispatcher, message_handler=on_message, client_info=_CLIENT) as client:
            session = Session(client, dispatcher, inbox, transport)
            try:
                await session.negotiate()
            except MCPError as error:
                raise await _connect_failed(error, transport) from None
            except (RuntimeError, ValidationError):
                raise ConnectFailed("it speaks no protocol version that this client knows") from None
            yield session


async def _connect_failed(error: MCPError, transport: Transport) -> ConnectFailed:
    if error.code in (BROKEN, NOT_DELIVERED):
        return ConnectFailed(error.message)
    reason = await transport.end_reason() if _is_end(error) else ""
    return ConnectFailed(reason or f"it says: {error.message[:300].rstrip('.')}")


def _progress_line(done: float, total: float | None, message: str | None) -> str:
    count = f"{_number(done)}/{_number(total)}" if total else _number(done)
    return f"{count} {message}"[:500].rstrip() if message else count


def _number(value: float) -> str:
    return f"{value:.12g}"


def _is_end(error: MCPError) -> bool:
    """Whether the SDK says that the connection ended. Servers use the same code for their own errors."""
    return error.code == types.CONNECTION_CLOSED and error.message.startswith(("Connection closed", "SSE stream"))
