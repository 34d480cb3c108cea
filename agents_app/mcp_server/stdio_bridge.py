"""A bridge for programs that start their MCP servers as processes: stdio on this side, a running server's /mcp on the
other. It keeps nothing, so what has begun goes on there when it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

_CONNECT_TIMEOUT = 10.0  # seconds
_SILENCE = 60.0  # seconds; the server says something every 15


class Unreachable(Exception):
    """The server cannot be used; the text says why."""


async def bridge(url: str, token: str) -> None:
    """Serve MCP on stdin and stdout until stdin closes.

    Raises:
        Unreachable: there is no server at `url`, or it does not take the token.
    """
    async with _connected(url, token) as client:
        server = _make_server(client, calls := _Calls())
        async with stdio_server() as (incoming, outgoing), anyio.create_task_group() as group:
            given, taken = anyio.create_memory_object_stream[SessionMessage | Exception]()
            group.start_soon(_pass_on, incoming, given, calls)
            await server.run(taken, outgoing, server.create_initialization_options())


class _Calls:
    """Calls at the server. Those that the client cancels are cancelled there; the end of stdin is no cancel."""

    def __init__(self) -> None:
        self.is_over = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def make(self, call: Coroutine[Any, Any, types.CallToolResult]) -> types.CallToolResult:
        task = asyncio.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.is_over:
                task.cancel()
            raise

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever could be told has gone


async def _pass_on(incoming: Any, given: Any, calls: _Calls) -> None:
    async with given:
        async for message in incoming:
            await given.send(message)
        calls.is_over = True


@contextlib.asynccontextmanager
async def _connected(url: str, token: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx2.Timeout(_CONNECT_TIMEOUT, read=_SILENCE)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
        await _check(http, url)
        async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            yield client


async def _check(http: httpx2.AsyncClient, url: str) -> None:
    """See that somebody answers before the client's own words for that are printed, which are long."""
    ping = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
    try:
        answer = await http.post(url, json=ping, headers={"Accept": "application/json, text/event-stream"})
    except httpx2.HTTPError as error:
        raise Unreachable(f"No server answers at {url}: start it, or name another one with --url. ({error})") from None
    if answer.status_code == 401:
        raise Unreachable("The server asks for a token: put one into AINTANDEM_TOKEN. `manage.py create_token` does.")
    if answer.status_code != 200:
        raise Unreachable(f"{url} answers with status {answer.status_code}: it is not an MCP server of ours.")


def _make_server(client: Client, calls: _Calls) -> Server:
    async def list_tools(context: ServerRequestContext, params: Any) -> types.ListToolsResult:
        return await client.list_tools()

    async def call_tool(context: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            progress = context.session.report_progress
            return await calls.make(client.call_tool(params.name, params.arguments, progress_callback=progress))
        except (MCPError, httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            if isinstance(error, MCPError) and error.code == types.INVALID_PARAMS:
                raise
            text = f"The server was lost: {error or type(error).__name__}. What has begun goes on there: ask get_run."
            return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)

    about = client.server_info
    return Server(
        about.name if about else "aintandem",
        title=about.title if about else None,
        version=about.version if about else "",
        instructions=client.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
