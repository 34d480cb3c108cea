"""Servers of the Model Context Protocol: their tools, and one connection to each that all runs share."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents_app.engine.mcp.pool import Pool
from agents_app.engine.mcp.tool_names import changed, changes, is_allowed
from agents_app.engine.spec import JSON, ServerSpec
from agents_app.engine.toolset import Call, Tool, ToolError, ToolResult, ToolSource, ToolsUnavailable
from agents_app.per_loop import per_loop

if TYPE_CHECKING:
    from agents_app.engine.mcp.connection import Connection

__all__ = ["ServerReport", "call_tool", "check", "close_servers", "source"]

logger = logging.getLogger("agents_app.mcp")

_MAX_NAME = 200  # characters of a report
_MAX_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class ServerReport:
    """The result of trying a server. `message` is a sentence: what is wrong, or that the server answers.

    Its texts are fit for a database: bounded, and without NUL.
    """

    ok: bool
    message: str
    server_name: str = ""
    server_version: str = ""
    protocol_version: str = ""
    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    changed: tuple[str, ...] = ()  # tools that are not what they were at the last check
    refused: tuple[str, ...] = ()  # hosts that it tried to reach from its sandbox and may not
    duration_ms: int = 0

    @property
    def tool_names(self) -> list[str]:
        """The tools by the server's own names."""
        return [_plain(tool.own_name, _MAX_NAME) for tool in self.tools]

    @property
    def tool_digests(self) -> dict[str, str]:
        """What the server says of its tools, as digests by its own names."""
        return {tool.own_name: tool.digest for tool in self.tools if _plain(tool.own_name, _MAX_NAME) == tool.own_name}


@dataclass(slots=True)
class _Source:
    """Looks its connection up each time: one that was idle is replaced."""

    name: str
    spec: ServerSpec
    _changes: str = ""

    async def tools(self) -> Sequence[Tool]:
        tools = await _connection(self.spec).tools()
        before, self._changes = self._changes, changes(self.spec, tools)
        if self._changes not in ("", before):
            logger.warning("%s", self._changes)
        return tools

    def changes(self) -> str:
        return self._changes

    def left_out(self) -> str:
        return _connection(self.spec).left_out


def source(spec: ServerSpec) -> ToolSource:
    """Return the server's tools, for a run."""
    return _Source(spec.name, spec)


async def check(spec: ServerSpec) -> ServerReport:
    """Try the server: connect if there is no connection, and list its tools. A failure is a report too."""
    started = time.monotonic()
    try:
        connection = _connection(spec)
    except ToolsUnavailable as error:
        return ServerReport(False, _plain(str(error), _MAX_TEXT))
    try:
        tools = await connection.tools(fresh=True)
    except ToolsUnavailable as error:
        line = connection.last_log_line
        detail = f" The last line that it logged: {line}" if line else ""
        text = f"{error}{detail}{_refusals(connection)}"
        return ServerReport(False, _plain(text, _MAX_TEXT), refused=connection.refused, duration_ms=_ms_since(started))
    info = connection.info
    assert info is not None
    return ServerReport(
        ok=True,
        message=_plain(
            f"{info} answers; it has {len(tools)} tools. {connection.left_out}".rstrip() + _refusals(connection),
            _MAX_TEXT,
        ),
        server_name=_plain(info.name, _MAX_NAME),
        server_version=_plain(info.version, _MAX_NAME),
        protocol_version=_plain(info.protocol, _MAX_NAME),
        instructions=_plain(info.instructions, _MAX_TEXT),
        tools=tools,
        changed=tuple(changed(spec, tools)),
        refused=tuple(_plain(text, _MAX_NAME) for text in connection.refused),
        duration_ms=_ms_since(started),
    )


async def call_tool(spec: ServerSpec, tool: str, arguments: JSON, progress: Callable[[str], None]) -> ToolResult:
    """Call a tool by the server's own name, within its time-out.

    Raises:
        ToolError: the server's settings do not allow the tool, or it took too long.
        ToolsUnavailable: there is no connection to the server.
    """
    if not is_allowed(spec, tool):
        raise ToolError(f"The tool {tool!r} of the MCP server {spec.name!r} may not be used.")
    timeout = dict(spec.tool_timeouts).get(tool, spec.timeout)
    try:
        async with asyncio.timeout(timeout):
            return await _connection(spec).call(tool, arguments, Call("", progress))
    except TimeoutError:
        raise ToolError(f"The tool gave no result within {timeout:g} seconds.") from None


async def close_servers() -> None:
    """Close all connections of this event loop; takes about 5 seconds at most."""
    await asyncio.gather(*(connection.close() for connection in _pool().take_all()))


_pool = per_loop(Pool)


def _connection(spec: ServerSpec) -> "Connection":
    """Return the one connection for that spec in this event loop."""
    from agents_app.engine.mcp.connection import Connection  # the SDK takes a second to import

    return _pool().get(spec, lambda: Connection(spec, lambda tool: _function(spec, tool)))


def _function(spec: ServerSpec, tool: str) -> Callable[[JSON, Call], Awaitable[ToolResult]]:
    async def call_tool(arguments: dict[str, Any], call: Call) -> ToolResult:
        try:
            return await _connection(spec).call(tool, arguments, call)
        except ToolsUnavailable as error:
            raise ToolError(str(error)) from None

    return call_tool


def _refusals(connection: "Connection") -> str:
    """Return a sentence about what the server tried to reach; empty if it may reach all that it tried."""
    refused = connection.refused
    return f" Its sandbox refused connections to {', '.join(refused[:5])}." if refused else ""


def _plain(text: str, max_length: int) -> str:
    return text.replace("\x00", "\ufffd")[:max_length]


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
