"""The SDK's server in its stateless mode, one for each event loop. Importing this module imports the SDK."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import mcp_types as types
from django.conf import settings
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from agents_app.background import spawn
from agents_app.engine.toolset import Call, Tool, ToolError, ToolResult, acheck_arguments
from agents_app.exceptions import AgentError, RateLimited
from agents_app.mcp_server import files, tools
from agents_app.mcp_server.requests import McpRequest
from agents_app.per_loop import per_loop

logger = logging.getLogger(__name__)

_SCOPE_KEY = "aintandem.mcp_request"
_INSTRUCTIONS = (
    "Agents of this server do work for you: `list_agents` lists them, `run_agent` asks one and waits for the answer. "
    "Pass a session_id to continue a conversation. `create_task` schedules work. A run that takes long, or waits for a "
    "person's approval, continues without you: `get_run` returns its status and its answer."
)


def make_server() -> Server:
    """Return the SDK's server with our name and tools."""
    return Server(
        "aintandem",
        title=settings.PRODUCT_NAME,
        version=settings.VERSION,
        instructions=_INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


async def _list_tools(context: ServerRequestContext, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_describe(tool) for tool in tools.tools_for(_request(context).user)])


def _describe(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(
        read_only_hint=tool.read_only, destructive_hint=tool.name == "delete_task", idempotent_hint=tool.idempotent
    )
    return types.Tool(name=tool.name, description=tool.description, input_schema=tool.parameters, annotations=hints)


async def _call_tool(context: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
    request, arguments = _request(context), params.arguments or {}
    assert context.request_id is not None
    call = tools.CallContext(request, context.request_id, context.session.report_progress)
    tool = next((tool for tool in tools.tools_for(request.user, call) if tool.name == params.name), None)
    if tool is None:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name[:100]!r}.")
    try:
        _check_texts(arguments)
        await acheck_arguments(tool, arguments)
        result = await tool.call(arguments, Call(request.idempotency_key(context.request_id), lambda text: None))
    except ToolError as error:
        result = ToolResult(str(error), is_error=True)
    except RateLimited as error:
        result = ToolResult(f"{error} Try again after {error.retry_after:.0f} seconds.", is_error=True)
    except AgentError as error:
        result = ToolResult(str(error), is_error=True)
    except Exception:
        logger.exception("The tool %s failed", params.name)
        result = ToolResult("The server failed. The failure was logged.", is_error=True)
    return _result(result if isinstance(result, ToolResult) else ToolResult(result), request)


def _check_texts(arguments: dict[str, Any]) -> None:
    """Check that a database can store the arguments.

    Raises:
        ToolError: they contain NaN or an infinity, half a character, or NUL.
    """
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ToolError(f"The arguments are not valid JSON: {error}.") from None
    if any("\x00" in text for text in _texts(arguments)):
        raise ToolError("The arguments must not contain NUL characters.")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from _texts(inner)


def _result(result: ToolResult, request: McpRequest) -> types.CallToolResult:
    links = (result.details or {}).get("files", ()) if request.knows_resource_links else ()
    return types.CallToolResult(
        content=[types.TextContent(text=result.content), *map(_resource_link, links)],
        structured_content=result.details or None,
        is_error=result.is_error,
    )


def _resource_link(file: files.Link) -> types.ResourceLink:
    return types.ResourceLink(
        uri=file["uri"], name=file["name"] or file["file_id"], mime_type=file["media_type"], size=file["size"]
    )


def _request(context: ServerRequestContext) -> McpRequest:
    assert context.request is not None
    return context.request.scope[_SCOPE_KEY]


# The SDK's manager


class _Manager:
    """The SDK's manager of one event loop. Its task group must be entered and left by one task.

    `json`: it answers with JSON instead of events.
    """

    def __init__(self, *, json: bool = False) -> None:
        self._manager = StreamableHTTPSessionManager(make_server(), stateless=True, json_response=json)
        self._is_ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if self._task is None:
            self._task = spawn(self._run())
        await self._is_ready.wait()
        await self._manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        if self._task is not None:
            self._stop.set()
            await self._task

    async def _run(self) -> None:
        async with self._manager.run():
            self._is_ready.set()
            await self._stop.wait()


def _make_json_manager() -> _Manager:
    return _Manager(json=True)


_manager = per_loop(_Manager)
_json_manager = per_loop(_make_json_manager)


async def handle(scope: dict[str, Any], receive: Any, send: Any, request: McpRequest) -> None:
    """Answer one request whose caller was admitted."""
    manager = _manager() if request.takes_events else _json_manager()
    await manager.handle({**scope, _SCOPE_KEY: request}, receive, send)


async def close() -> None:
    """End open requests; clients come back to another instance."""
    for manager in (_manager(), _json_manager()):
        await manager.close()
