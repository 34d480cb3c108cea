"""Connect a program that starts its MCP servers as processes to /mcp of a running server.

The bridge keeps nothing: runs continue on the server when it ends.
"""

import asyncio
import contextlib
import io
import json
import logging
import sys
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
_SILENCE = 60.0  # seconds; the server sends something every 15


class Unreachable(Exception):
    """The server cannot be used, for the reason in the text."""


async def bridge(url: str, token: str) -> None:
    """Serve MCP on stdin and stdout until stdin closes.

    Raises:
        Unreachable: there is no server at `url`, or it rejects the token.
    """
    async with _connected(url, token) as client:
        server = _make_server(client, calls := _Calls())
        async with stdio_server(_input()) as (incoming, outgoing), anyio.create_task_group() as group:
            incoming_sender, incoming_copy = anyio.create_memory_object_stream[SessionMessage | Exception]()
            group.start_soon(_forward, incoming, incoming_sender, calls)
            await server.run(incoming_copy, outgoing, server.create_initialization_options())


def _input() -> "anyio.AsyncFile[str]":
    """Return stdin, without the byte-order mark that programs on Windows may begin with."""
    return anyio.wrap_file(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace"))


class _Rejections(httpx2.AsyncHTTPTransport):
    """Hands the SDK the server's own reason for a request that it rejects: the SDK knows none but those of MCP."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if request.method != "POST" or not response.is_client_error or response.status_code == 401:
            return response
        reason = _reason(await response.aread())
        await response.aclose()
        if reason is None:
            return httpx2.Response(response.status_code, headers=response.headers, content=response.content)
        error = {"code": types.INVALID_REQUEST, "message": reason}
        return httpx2.Response(response.status_code, json={"jsonrpc": "2.0", "id": None, "error": error})


def _reason(body: bytes) -> str | None:
    """Return the message of an error of this product; None if it is another one's."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError):
        return None
    is_ours = isinstance(error, dict) and "type" in error and isinstance(error.get("message"), str)
    return error["message"] if is_ours else None


class _Calls:
    """Open calls. If the client cancels one, it is cancelled on the server; the end of stdin cancels none."""

    def __init__(self) -> None:
        self.is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def make(self, call: Coroutine[Any, Any, types.CallToolResult]) -> types.CallToolResult:
        task = asyncio.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not self.is_closed:
                task.cancel()
            raise

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: nobody is left to receive it


async def _forward(incoming: Any, outgoing: Any, calls: _Calls) -> None:
    async with outgoing:
        async for message in incoming:
            await outgoing.send(message)
        calls.is_closed = True
        # An event that arrives while the connection closes is logged by the SDK as an error, with a traceback.
        logging.getLogger("mcp.client.streamable_http").disabled = True


@contextlib.asynccontextmanager
async def _connected(url: str, token: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx2.Timeout(_CONNECT_TIMEOUT, read=_SILENCE)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout, transport=_Rejections()) as http:
        await _check(http, url)
        async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            yield client


async def _check(http: httpx2.AsyncClient, url: str) -> None:
    """Check that a server answers: the errors of the SDK's client are long."""
    ping = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
    try:
        response = await http.post(url, json=ping, headers={"Accept": "application/json, text/event-stream"})
    except httpx2.HTTPError as error:
        raise Unreachable(f"No server answers at {url}: start it, or set --url. ({error})") from None
    if response.status_code == 401:
        raise Unreachable("The server requires a token: set AINTANDEM_TOKEN to one of `manage.py create_token`.")
    if response.status_code != 200:
        raise Unreachable(f"{url} responds with {response.status_code}: it is not the MCP server of this product.")


def _make_server(client: Client, calls: _Calls) -> Server:
    async def list_tools(context: ServerRequestContext, params: Any) -> types.ListToolsResult:
        return await client.list_tools()

    async def call_tool(context: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            progress = context.session.report_progress
            return await calls.make(client.call_tool(params.name, params.arguments, progress_callback=progress))
        except (MCPError, httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            if isinstance(error, MCPError) and error.code in (types.INVALID_PARAMS, types.INVALID_REQUEST):
                raise
            text = f"The connection was lost: {error or type(error).__name__}. The run continues: call get_run."
            return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)

    info = client.server_info
    return Server(
        info.name if info else "aintandem",
        title=info.title if info else None,
        version=info.version if info else "",
        instructions=client.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
