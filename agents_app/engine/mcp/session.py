"""An open session with a server. Its users need to know no JSON-RPC."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp import ClientSession, MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from pydantic import ValidationError

from agents_app.engine.mcp import tool_pages
from agents_app.engine.mcp.message_streams import Inbox, Outbox, Requests
from agents_app.engine.mcp.transports.base import (
    BROKEN,
    NOT_DELIVERED,
    SESSION_DOUBTFUL,
    SESSION_LOST,
    TOO_LARGE,
    ConnectFailed,
    Transport,
)
from agents_app.engine.mcp.transports.sse import SseTransport
from agents_app.engine.mcp.transports.stdio import StdioTransport
from agents_app.engine.mcp.transports.streamable_http import HttpTransport
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Call

_PING_TIMEOUT = 5.0
_MAX_ERROR_LENGTH = 2000  # characters
USER_KEY = "aintandem/user"  # in `_meta` of a call: the same for all calls of one user, and not the user's name
_CLIENT = types.Implementation(name="AInTandem Agent MCP Scheduler", version="1")
_TRANSPORTS: dict[str, Callable[[ServerSpec], Transport]] = {
    "stdio": StdioTransport,
    "sse": SseTransport,
    "streamable_http": HttpTransport,
}


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


class Session:
    """The requests that a server takes. `open_session` makes one."""

    def __init__(
        self, client: ClientSession, dispatcher: JSONRPCDispatcher[Any], requests: Requests, transport: Transport
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._requests = requests
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

    async def list_tools(self) -> tuple[list[JSON], str]:
        """Return the tools as the server describes them, and why some may be missing, as the end of a sentence.

        Raises:
            ConnectFailed: the server does not list them.
        """
        try:
            return await tool_pages.read(lambda params: self._request("tools/list", params))
        except MCPError as error:
            raise await _connect_failed(error, self._transport) from None

    async def call(self, tool: str, arguments: JSON, call: Call, request_id: int, state: str | None = None) -> JSON:
        """Call a tool and return its result as the server sent it. Cancelling this notifies the server.

        `call.user`, if there is one, goes along. `state`: with which the server wants the call again.

        Raises:
            ServerError: the server rejects the call.
            NotDelivered: the server did not get the call.
            OutcomeUnknown: the server did not answer the call.
        """

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            call.progress(_progress_line(progress, total, message))

        params: JSON = {"name": tool, "arguments": arguments}
        if state is not None:
            params["requestState"] = state
        if call.user:
            params["_meta"] = {USER_KEY: call.user}
        try:
            return await self._request("tools/call", params, request_id, on_progress)
        except asyncio.CancelledError:
            self._requests.cancelled.add(request_id)
            raise
        except MCPError as error:
            if error.code == SESSION_DOUBTFUL:
                raise await self._resolve_doubt(error) from None
            raise await self._call_failed(error.code, error.message) from None

    async def _resolve_doubt(self, error: MCPError) -> Exception:
        """Return what is wrong with a call whose answer may mean that the session is lost: ask for something else."""
        try:
            async with asyncio.timeout(_PING_TIMEOUT):
                await self._request("ping")
        except MCPError as ping:
            if ping.code in (SESSION_LOST, SESSION_DOUBTFUL):
                return NotDelivered("it has forgotten the session", session_lost=True)
        except TimeoutError:
            pass
        return await self._call_failed(error.data, error.message)

    async def _call_failed(self, code: int, text: str) -> Exception:
        if code in (NOT_DELIVERED, SESSION_LOST):
            return NotDelivered(text, session_lost=code == SESSION_LOST)
        if code == TOO_LARGE:
            return ServerError("The tool's result is larger than 16 MiB, which is the limit.")
        if code == BROKEN:
            return OutcomeUnknown(text)
        if _is_end(code, text):
            return OutcomeUnknown(await self._transport.end_reason() or "the connection to it ended")
        return ServerError(text[:_MAX_ERROR_LENGTH])

    def next_id(self) -> int:
        return next(self._ids)

    async def abandon(self, request_id: int, grace: float) -> bool:
        """Stop waiting for a cancelled call if no answer comes within `grace` seconds.

        Returns whether the connection must end to stop the call.
        """
        await asyncio.sleep(grace)
        if request_id not in self._requests.cancelled:
            return False
        self._requests.cancelled.discard(request_id)
        if self._transport.abandon(request_id):
            return True
        try:
            async with asyncio.timeout(_PING_TIMEOUT):
                await self._request("ping")
        except MCPError as error:
            return error.code in (BROKEN, NOT_DELIVERED, SESSION_LOST) or _is_end(error.code, error.message)
        except TimeoutError:
            return True
        return False

    async def _request(
        self,
        method: str,
        params: JSON | None = None,
        request_id: int | None = None,
        progress: ProgressFnT | None = None,
    ) -> JSON:
        """Return the result as the server sent it.

        The SDK's own method rejects a whole list for one odd tool, and a result for a field that we do not need.
        """
        payload: JSON = {"method": method} | ({"params": params} if params else {})
        options: Any = {"request_id": request_id or self.next_id()}
        self._client._stamp(payload, options)  # what the version of the protocol asks for
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
        requests = Requests()
        dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(Inbox(read, requests, on_end), Outbox(write, requests))
        async with ClientSession(dispatcher=dispatcher, message_handler=on_message, client_info=_CLIENT) as client:
            session = Session(client, dispatcher, requests, transport)
            try:
                await session.negotiate()
            except MCPError as error:
                raise await _connect_failed(error, transport) from None
            except RuntimeError:
                raise ConnectFailed("it speaks no protocol version that this client knows") from None
            except ValidationError:
                raise ConnectFailed("its first answer breaks the rules of the protocol") from None
            yield session


async def _connect_failed(error: MCPError, transport: Transport) -> ConnectFailed:
    if error.code in (BROKEN, NOT_DELIVERED):
        return ConnectFailed(error.message)
    reason = await transport.end_reason() if _is_end(error.code, error.message) else ""
    return ConnectFailed(reason or f"it says: {error.message[:300].rstrip('.')}")


def _progress_line(done: float, total: float | None, message: str | None) -> str:
    count = f"{_number(done)}/{_number(total)}" if total else _number(done)
    return f"{count} {message}"[:500].rstrip() if message else count


def _number(value: float) -> str:
    return f"{value:.12g}"


def _is_end(code: int, text: str) -> bool:
    """Whether the SDK says that the connection ended. Servers use the same code for their own errors."""
    return code == types.CONNECTION_CLOSED and text.startswith(("Connection closed", "SSE stream"))
