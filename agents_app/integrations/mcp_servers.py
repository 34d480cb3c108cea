"""MCP servers as an administrator meets them: trying one, listing its tools, calling one by hand.

What is asynchronous here runs on the event loop that serves, which the connections belong to.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync

from agents_app.engine import instrumentation, mcp
from agents_app.engine.spec import ServerSpec
from agents_app.engine.toolset import Tool, ToolError, ToolResult, ToolsUnavailable, check_arguments
from agents_app.exceptions import Conflict, InvalidRequest, NotFound, ServerUnavailable
from agents_app.models import McpServer
from agents_app.models.mcp_servers import tool_name

PATIENCE = 60.0  # seconds for a check: npx may have to download first
_LONGEST_NAME = 200
_LONGEST_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class Check:
    """What came of trying a server; `message` says what is wrong where `ok` is false. Tools are by their own names."""

    ok: bool
    message: str
    server_name: str = ""
    server_version: str = ""
    protocol_version: str = ""
    instructions: str = ""
    tools: tuple[str, ...] = ()
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call by hand returned."""

    result: ToolResult
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call by hand, of a tool that is there and with arguments that fit it."""

    spec: ServerSpec
    tool: Tool
    arguments: dict[str, Any]

    async def make(self, progress: Callable[[str], None] = lambda _: None) -> Outcome:
        """Call the tool. That it fails is an outcome; cancelled, it tells the server so.

        Raises:
            ServerUnavailable: the server does not answer.
        """
        began = time.monotonic()
        with instrumentation.tool_call(self.tool.name, "", self.spec.name) as call:
            try:
                call.result = await mcp.call_tool(self.spec, self.tool.own_name, self.arguments, progress)
            except ToolsUnavailable as error:
                raise ServerUnavailable(str(error)) from None
            except ToolError as error:
                call.result = ToolResult(str(error), is_error=True)
        return Outcome(call.result, _since(began))


def check(servers: Sequence[McpServer], *, patience: float = PATIENCE) -> list[Check]:
    """Try the servers, all at the same time, and keep what came of it. That one does not work is an answer."""
    checks = async_to_sync(check_specs)([server.spec() for server in servers], patience)
    for server, found in zip(servers, checks, strict=True):
        server.record_check(ok=found.ok, message=found.message, tool_names=list(found.tools))
    return checks


def tools(server: McpServer) -> list[Tool]:
    """The server's tools, as they are now.

    Raises:
        Conflict: it is disabled.
        ServerUnavailable: it does not answer.
    """
    if not server.enabled:
        raise Conflict(f"The MCP server {server.name!r} is disabled.", code="server_disabled")
    return async_to_sync(_tools)(server.spec())


def prepare(server: McpServer, name: str, arguments: dict[str, Any]) -> ToolCall:
    """A call of the tool of that name, its own one, that is worth making.

    Raises:
        NotFound: there is none.
        InvalidRequest: the arguments do not fit it.
        Conflict, ServerUnavailable: as `tools`.
    """
    found = next((tool for tool in tools(server) if tool.own_name == name), None)
    if found is None:
        raise NotFound(f"The MCP server {server.name!r} has no tool {name[:_LONGEST_NAME]!r}.", code="tool_not_found")
    try:
        check_arguments(found, arguments)
    except ToolError as error:
        raise InvalidRequest(str(error), param="arguments", code="invalid_arguments") from None
    return ToolCall(server.spec(), found, arguments)


async def close() -> None:
    """End the connections of this event loop, and the processes behind them."""
    await mcp.close_servers()


async def check_specs(specs: list[ServerSpec], patience: float) -> list[Check]:
    """The same of what is told of them; nothing is kept."""
    return await asyncio.gather(*(_check(spec, patience) for spec in specs))


async def _check(spec: ServerSpec, patience: float) -> Check:
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            report = await mcp.check(spec)
    except TimeoutError:
        text = f"It did not answer within {patience:g} seconds. If it is still being downloaded, try again."
        return Check(False, text, duration_ms=_since(began))
    names = tuple(_plain(tool.own_name, _LONGEST_NAME) for tool in report.tools)
    return Check(
        ok=report.ok,
        message=_plain(" ".join([report.message, *_renamed(spec.name, report.tools)]), _LONGEST_TEXT),
        server_name=_plain(report.server_name, _LONGEST_NAME),
        server_version=_plain(report.server_version, _LONGEST_NAME),
        protocol_version=_plain(report.protocol_version, _LONGEST_NAME),
        instructions=_plain(report.instructions, _LONGEST_TEXT),
        tools=names,
        duration_ms=_since(began),
    )


def _renamed(server: str, found: Sequence[Tool]) -> list[str]:
    """A sentence on the tools that a model knows by another name than server__tool."""
    others = [tool for tool in found if tool.name != tool_name(server, tool.own_name)]
    if not others:
        return []
    named = ", ".join(f"{tool.own_name[:_LONGEST_NAME]!r} is called {tool.name}" for tool in others[:3])
    more = f", and {len(others) - 3} more have names of their own" if len(others) > 3 else ""
    return [f"Names that are too long or like another's: {named}{more}."]


async def _tools(spec: ServerSpec) -> list[Tool]:
    try:
        return list(await mcp.source(spec).tools())
    except ToolsUnavailable as error:
        raise ServerUnavailable(str(error)) from None


def _plain(text: str, longest: int) -> str:
    """A server's text as the database takes it: no NUL, not too long."""
    return text.replace("\x00", "\ufffd")[:longest]


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
