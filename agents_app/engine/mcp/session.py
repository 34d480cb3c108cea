"""An open session with a server, in our words: whoever uses it knows no JSON-RPC."""

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

from agents_app.engine.mcp.transports.base import BROKEN, NOT_DELIVERED, SESSION_LOST, TOO_LARGE, Transport, Unusable
from agents_app.engine.mcp.transports.sse import SseTransport
from agents_app.engine.mcp.transports.stdio import StdioTransport
from agents_app.engine.mcp.transports.streamable_http import HttpTransport
from agents_app.engine.spec import JSON, ServerSpec

MOST_TOOLS = 1000
_MOST_PAGES = 100
_PING_TIMEOUT = 5.0
_LONGEST_REFUSAL = 2000  # characters
_CLIENT = types.Implementation(name="AInTandem Agent MCP Scheduler", version="1")
_TRANSPORTS: dict[str, Callable[[ServerSpec], Transport]] = {
    "stdio": StdioTransport,
    "sse": SseTransport,
    "streamable_http": HttpTransport,
}
_RAW: TypeAdapter[JSON] = TypeAdapter(dict[str, Any])


class Refused(Exception):
    """The server answered with an error: the text is the server's."""


class NotDelivered(Exception):
    """The call surely had no effect; the text says why, as the end of a sentence. `forgotten`: a new session helps."""

    def __init__(self, reason: str, *, forgotten: bool = False) -> None:
        super().__init__(reason)
        self.forgotten = forgotten


class OutcomeUnknown(Exception):
    """There is no answer: the call may have had an effect. The text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class About:
    """How a server introduced itself."""

    name: str
    version: str
    protocol: str
    instructions: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip() or "A server without a name"


class _Inbox:
    """The server's messages on their way to the SDK: it does not say when they end, nor who still answers."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], on_end: Callable[[], None]) -> None:
        self.cancelled: set[types.RequestId | None] = set()  # requests; an answer takes them out
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
    """What can be asked of a server. `opened` makes one."""

    def __init__(
        self, client: ClientSession, dispatcher: JSONRPCDispatcher[Any], inbox: _Inbox, transport: Transport
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._transport = transport
        self._ids = itertools.count(1)

    @property
    def about(self) -> About:
        info = self._client.server_info
        return About(
            name=info.name if info else "",
            version=info.version if info else "",
            protocol=self._client.protocol_version or "",
            instructions=self._client.instructions or "",
        )

    async def introduce(self) -> None:
        """Agree on a version of the protocol: servers that know none of the handshake's are asked the newer way.

        Raises:
            MCPError: the server agrees to none.
        """
        try:
            await self._client.initialize()
        except MCPError as error:
            if error.code not in (types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION):
                raise
            await self._client.discover()

    async def list_tools(self) -> list[JSON]:
        """All tools as the server describes them, up to `MOST_TOOLS`.

        Raises:
            Unusable: the server does not list them.
        """
        try:
            return await self._pages()
        except MCPError as error:
            raise await _unusable(error, self._transport) from None
        except ValidationError:
            raise Unusable("its list of tools breaks the rules of the protocol") from None

    async def _pages(self) -> list[JSON]:
        found: list[JSON] = []
        cursor = None
        for _ in range(_MOST_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor) if cursor else None
            try:
                page = await self._request(types.ListToolsRequest(params=params))
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND and not found:
                    return []  # a server of prompts and resources
                raise
            tools = page.get("tools")
            found += [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
            cursor = page.get("nextCursor")
            if not cursor or len(found) >= MOST_TOOLS:
                break
        return found[:MOST_TOOLS]

    async def call(self, tool: str, arguments: JSON, show: Callable[[str], None], request_id: int) -> JSON:
        """Call a tool; its result as the server sent it. Where we are cancelled, the server is told.

        Raises:
            Refused: the server says that it cannot be called like this.
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
            raise Refused("The server answered with what is no result of a tool.") from None
        except MCPError as error:
            if error.code in (NOT_DELIVERED, SESSION_LOST):
                raise NotDelivered(error.message, forgotten=error.code == SESSION_LOST) from None
            if error.code == TOO_LARGE:
                raise Refused("The tool's result is larger than the 16 MiB that a result may have.") from None
            if error.code == BROKEN:
                raise OutcomeUnknown(error.message) from None
            if _is_end(error):
                raise OutcomeUnknown(await self._transport.why() or "the connection to it ended") from None
            raise Refused(error.message[:_LONGEST_REFUSAL]) from None

    def next_id(self) -> int:
        return next(self._ids)

    async def forsake(self, request_id: int, grace: float) -> bool:
        """Give up a call that was cancelled, if it is not answered within `grace` seconds.

        Returns whether the connection has to end for its sake.
        """
        await asyncio.sleep(grace)
        if request_id not in self._inbox.cancelled:
            return False
        self._inbox.cancelled.discard(request_id)
        if self._transport.forsake(request_id):
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
        # The SDK's own refuses a whole list for one odd tool, and a result for a field that we do not need.
        sent = request.model_dump(by_alias=True, mode="json", exclude_none=True)
        options: Any = {"request_id": request_id or self.next_id()}
        if progress is not None:
            options["on_progress"] = progress
        return await self._dispatcher.send_raw_request(sent["method"], sent.get("params"), options)


def transport_to(spec: ServerSpec) -> Transport:
    """The way to the server, not yet open."""
    return _TRANSPORTS[spec.transport](spec)


@contextlib.asynccontextmanager
async def opened(
    transport: Transport, *, on_end: Callable[[], None], on_tools_changed: Callable[[], None]
) -> AsyncIterator[Session]:
    """A session with the server, until it is left: by the task that entered it.

    `on_end` is called when the server has ended the session.

    Raises:
        Unusable: there is no session to be had.
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
                await session.introduce()
            except MCPError as error:
                raise await _unusable(error, transport) from None
            except (RuntimeError, ValidationError):
                raise Unusable("it speaks no version of the protocol that we know") from None
            yield session


async def _unusable(error: MCPError, transport: Transport) -> Unusable:
    if error.code in (BROKEN, NOT_DELIVERED):
        return Unusable(error.message)
    reason = await transport.why() if _is_end(error) else ""
    return Unusable(reason or f"it says: {error.message[:300].rstrip('.')}")


def _progress_line(done: float, total: float | None, message: str | None) -> str:
    count = f"{_number(done)}/{_number(total)}" if total else _number(done)
    return f"{count} {message}"[:500].rstrip() if message else count


def _number(value: float) -> str:
    return f"{value:.12g}"


def _is_end(error: MCPError) -> bool:
    """Whether the SDK says that the connection ended. Servers use its code for errors of their own."""
    return error.code == types.CONNECTION_CLOSED and error.message.startswith(("Connection closed", "SSE stream"))
