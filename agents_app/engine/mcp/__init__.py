"""Servers of the Model Context Protocol: their tools, and one connection to each that all runs share."""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents_app.engine.mcp.tool_names import is_allowed
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Call, Tool, ToolError, ToolResult, ToolSource, ToolsUnavailable

if TYPE_CHECKING:
    from agents_app.engine.mcp.connection import Server

__all__ = ["ServerReport", "call_tool", "check", "close_servers", "source"]

_Servers = dict[ServerSpec, "Server"]
_of_loops: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Servers]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a server is like, tried just now. `message` says in a sentence what is wrong, or that nothing is."""

    ok: bool
    message: str
    server_name: str = ""
    server_version: str = ""
    protocol_version: str = ""
    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    duration_ms: int = 0


class _Source:
    def __init__(self, spec: ServerSpec) -> None:
        self.name = spec.name
        self._spec = spec

    async def tools(self) -> Sequence[Tool]:
        return await _server(self._spec).tools()


def source(spec: ServerSpec) -> ToolSource:
    """The server's tools, for a run."""
    return _Source(spec)


async def check(spec: ServerSpec) -> ServerReport:
    """Try the server: connect where there is no connection, and list its tools. Never raises for a broken one."""
    began = time.monotonic()
    server = _server(spec)
    try:
        tools = await server.tools(fresh=True)
    except ToolsUnavailable as error:
        said = f" The last that it wrote: {server.last_words}" if server.last_words else ""
        return ServerReport(False, f"{error}{said}", duration_ms=_since(began))
    about = server.about
    assert about is not None
    return ServerReport(
        ok=True,
        message=f"{about} answers; it has {len(tools)} tools.",
        server_name=about.name,
        server_version=about.version,
        protocol_version=about.protocol,
        instructions=about.instructions,
        tools=tools,
        duration_ms=_since(began),
    )


async def call_tool(spec: ServerSpec, tool: str, arguments: JSON, progress: Callable[[str], None]) -> ToolResult:
    """Call a tool by the server's own name of it, within its time-out.

    Raises:
        ToolError: the server's settings do not allow the tool, or it took too long.
        ToolsUnavailable: there is no connection to the server.
    """
    if not is_allowed(spec, tool):
        raise ToolError(f"The tool {tool!r} of the MCP server {spec.name!r} may not be used.")
    limit = dict(spec.tool_timeouts).get(tool, spec.timeout)
    try:
        async with asyncio.timeout(limit):
            return await _server(spec).call(tool, arguments, progress)
    except TimeoutError:
        raise ToolError(f"The tool gave no result within {limit:g} seconds.") from None


async def close_servers() -> None:
    """Close all connections of this event loop; within 5 seconds or so."""
    servers = _of_loops.pop(asyncio.get_running_loop(), {})
    await asyncio.gather(*(server.close() for server in servers.values()))


def _server(spec: ServerSpec) -> "Server":
    """The one server of that spec, in this event loop."""
    from agents_app.engine.mcp.connection import Server  # the SDK takes a second, which only its users should wait

    servers = _of_loops.setdefault(asyncio.get_running_loop(), {})
    if spec not in servers:
        for other in [other for other, server in servers.items() if server.is_idle]:
            del servers[other]
        servers[spec] = Server(spec, lambda tool: _caller(spec, tool))
    return servers[spec]


def _caller(spec: ServerSpec, tool: str) -> Callable[[JSON, Call], Awaitable[ToolResult]]:
    async def call(arguments: dict[str, Any], call: Call) -> ToolResult:
        try:
            return await _server(spec).call(tool, arguments, call.progress)
        except ToolsUnavailable as error:
            raise ToolError(str(error)) from None

    return call


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
