"""Try MCP servers, list their tools, and call a tool by hand, for administrators.

The asynchronous functions run on the serving event loop, which owns the connections.
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync

from agents_app.engine import instrumentation, mcp
from agents_app.engine.mcp import ServerReport
from agents_app.engine.spec import ServerSpec
from agents_app.engine.toolset import Tool, ToolError, ToolResult, ToolsUnavailable, check_arguments
from agents_app.exceptions import Conflict, InvalidRequest, NotFound, ServerUnavailable
from agents_app.models import McpServer
from agents_app.models.mcp_servers import tool_name

CHECK_TIMEOUT = 60.0  # seconds: npx may have to download first
_MAX_NAME = 200  # characters
_MAX_MESSAGE = 10_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call by hand."""

    result: ToolResult
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call by hand: the tool exists, and the arguments fit its schema."""

    spec: ServerSpec
    tool: Tool
    arguments: dict[str, Any]

    async def make(self, progress: Callable[[str], None] = lambda _: None) -> Outcome:
        """Call the tool. A failure of the tool is an outcome too. Cancelling this notifies the server.

        Raises:
            ServerUnavailable: the server does not answer.
        """
        started = time.monotonic()
        with instrumentation.tool_call(self.tool.name, "", self.spec.name) as call:
            try:
                call.result = await mcp.call_tool(self.spec, self.tool.own_name, self.arguments, progress)
            except ToolsUnavailable as error:
                raise ServerUnavailable(str(error)) from None
            except ToolError as error:
                call.result = ToolResult(str(error), is_error=True)
        return Outcome(call.result, _ms_since(started))


def check(servers: Sequence[McpServer], *, timeout: float = CHECK_TIMEOUT) -> list[ServerReport]:
    """Try the servers, all at the same time, and save the results. A failure is a report too.

    What the tools are now counts as checked: the report says which ones have changed.
    """
    reports = async_to_sync(check_specs)([server.spec() for server in servers], timeout)
    for server, report in zip(servers, reports, strict=True):
        server.record_check(
            ok=report.ok,
            message=report.message,
            tool_names=report.tool_names,
            tool_digests=report.tool_digests,
        )
    return reports


def tools(server: McpServer) -> list[Tool]:
    """Return the server's current tools.

    Raises:
        Conflict: it is disabled.
        ServerUnavailable: it does not answer.
    """
    if not server.enabled:
        raise Conflict(f"The MCP server {server.name!r} is disabled.", code="server_disabled")
    return async_to_sync(_tools)(server.spec())


def prepare(server: McpServer, name: str, arguments: dict[str, Any]) -> ToolCall:
    """Return a call of the tool with that own name, its arguments checked.

    Raises:
        NotFound: there is no such tool.
        InvalidRequest: the arguments do not fit its schema.
        Conflict, ServerUnavailable: see `tools`.
    """
    tool = next((tool for tool in tools(server) if tool.own_name == name), None)
    if tool is None:
        raise NotFound(f"The MCP server {server.name!r} has no tool {name[:_MAX_NAME]!r}.", code="tool_not_found")
    try:
        check_arguments(tool, arguments)
    except ToolError as error:
        raise InvalidRequest(str(error), param="arguments", code="invalid_arguments") from None
    return ToolCall(server.spec(), tool, arguments)


async def close() -> None:
    """Close the connections of this event loop, and end the processes behind them."""
    await mcp.close_servers()


async def check_specs(specs: list[ServerSpec], timeout: float) -> list[ServerReport]:  # noqa: ASYNC109 - of each
    """Try the servers, all at the same time, and save nothing."""
    return await asyncio.gather(*(_check(spec, timeout) for spec in specs))


async def _check(spec: ServerSpec, timeout: float) -> ServerReport:  # noqa: ASYNC109 - a time-out is a report
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            report = await mcp.check(spec)
    except TimeoutError:
        text = f"It did not answer within {timeout:g} seconds. If it is still being downloaded, try again."
        return ServerReport(False, text, duration_ms=_ms_since(started))
    message = " ".join([report.message, *_unexpected_names(spec.name, report.tools), *_changes(report)])
    return dataclasses.replace(report, message=message[:_MAX_MESSAGE])


def _unexpected_names(server: str, all_tools: Sequence[Tool]) -> list[str]:
    """Return a sentence about tools that models know by another name than server__tool."""
    others = [tool for tool in all_tools if tool.name != tool_name(server, tool.own_name)]
    if not others:
        return []
    listed = ", ".join(f"{tool.own_name[:_MAX_NAME]!r} is called {tool.name}" for tool in others[:3])
    more = f", and {len(others) - 3} more have other names" if len(others) > 3 else ""
    return [f"Names that are too long or like another's: {listed}{more}.".replace("\x00", "\ufffd")]


def _changes(report: ServerReport) -> list[str]:
    """Return a sentence about tools that are not what they were at the last check."""
    if not report.changed:
        return []
    listed = ", ".join(repr(name[:_MAX_NAME]) for name in report.changed[:10])
    more = f" and {len(report.changed) - 10} more" if len(report.changed) > 10 else ""
    return [f"Changed since the last check, in description or parameters: {listed}{more}.".replace("\x00", "\ufffd")]


async def _tools(spec: ServerSpec) -> list[Tool]:
    try:
        return list(await mcp.source(spec).tools())
    except ToolsUnavailable as error:
        raise ServerUnavailable(str(error)) from None


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
