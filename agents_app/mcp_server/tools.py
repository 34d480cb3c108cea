"""The tools: list and run agents, follow runs, and the tools for tasks that agents have as well."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings
from django.db.models import Q

from agents_app import runs
from agents_app.database.errors import storage_errors
from agents_app.engine.toolset import Tool, ToolError, ToolResult
from agents_app.files import incoming, remote
from agents_app.files.incoming import IncomingFile
from agents_app.files.parts import StoredPart, joined
from agents_app.mcp_server import files
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import McpRequest
from agents_app.mcp_server.resumption import RequestId
from agents_app.mcp_server.run_progress import Report, RunProgress, tool_result
from agents_app.models import Agent, Run, Session
from agents_app.tools.tasks import tools_for_program

_TASK_TOOLS = (
    "create_task", "list_tasks", "update_task", "enable_task", "disable_task", "delete_task", "run_task", "cancel_run",
)  # fmt: skip
_MOST_AGENTS = 200
_MOST_RUNS = 10
LONGEST_WAIT = 86_400

_WAIT = {
    "type": "number",
    "minimum": 0,
    "maximum": LONGEST_WAIT,
}
_ABOUT_AGENTS = f"List the agents and their purposes: at most {_MOST_AGENTS}, and `more` says if there are others."
_LIST_AGENTS: dict[str, Any] = {
    "search": {"type": "string", "description": "Text in the name, role or description."},
}
_RUN_AGENT: dict[str, Any] = {
    "message": {"type": "string", "description": "The message for the agent, which does not see this conversation."},
    "agent_name": {
        "type": "string",
        "description": "Name of an agent, see list_agents, or name@3 for a version of it. Default: the default agent.",
    },
    "session_id": {
        "type": "string",
        "description": "Session of a conversation to continue, or a name for a new one. Default: a new one.",
    },
    "files": files.SCHEMA,
    "wait_seconds": _WAIT
    | {"description": "Seconds to wait for the answer; 0 returns at once, and get_run returns the answer later. "
       "Default: until the run ends."},
}  # fmt: skip
_GET_RUN: dict[str, Any] = {
    "run_id": {"type": "string", "description": "ID of the run. Default: list your newest runs."},
    "wait_seconds": _WAIT | {"description": "Seconds to wait for its end. Default: 0."},
}


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call of a tool."""

    request: McpRequest
    request_id: RequestId
    report: Report


def tools_for(user: Any, context: CallContext | None = None) -> list[Tool]:
    """Return the tools of this user. Without the context of a call they can only be described."""
    return [
        _tool("list_agents", _ABOUT_AGENTS, _LIST_AGENTS, _list_agents, context, read_only=True),
        _tool("run_agent", "Send a message to an agent and wait for its answer.", _RUN_AGENT, _run_agent, context),
        _tool("get_run", "Return the status of a run, and its answer.", _GET_RUN, _get_run, context, read_only=True),
        *tools_for_program(user, _TASK_TOOLS),
    ]


Work = Callable[[CallContext, dict[str, Any]], Awaitable[ToolResult]]


def _tool(
    name: str,
    description: str,
    properties: dict[str, Any],
    work: Work,
    context: CallContext | None,
    *,
    read_only: bool = False,
) -> Tool:
    async def call(arguments: dict[str, Any], _: Any) -> ToolResult:
        assert context is not None
        return await work(context, arguments)

    required = ["message"] if "message" in properties else []
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Tool(name, description, schema, call, read_only=read_only)


async def _list_agents(context: CallContext, arguments: dict[str, Any]) -> ToolResult:
    return tool_result(await database.run(_agents, context.request.user, arguments.get("search", "")))


def _agents(user: Any, search: str) -> dict[str, Any]:
    with storage_errors():
        agents = Agent.objects.visible_to(user).enabled().order_by("name")
        matches = Q(name__icontains=search) | Q(role__icontains=search) | Q(description__icontains=search)
        rows = list(agents.filter(matches).values("name", "role", "description")[: _MOST_AGENTS + 1])
        return {"agents": rows[:_MOST_AGENTS], "more": len(rows) > _MOST_AGENTS}


async def _run_agent(context: CallContext, arguments: dict[str, Any]) -> ToolResult:
    point = context.request.resume_point
    run = await (database.run(_find, context) if point else _start(context, arguments))
    progress = RunProgress(run, context.request, context.report, seen=float(point.progress) if point else None)
    return await progress.until_end(arguments.get("wait_seconds"))


async def _start(context: CallContext, arguments: dict[str, Any]) -> Run:
    received = files.read(arguments.get("files", ()))
    urls = {file.path: file.url for file in received if file.url}
    async with remote.fetched(urls, owner=context.request.user.pk, most_bytes=settings.CHAT_BODY_MAX_BYTES) as sources:
        return await database.run(_save_and_start, context, arguments, received, sources)


def _save_and_start(
    context: CallContext, arguments: dict[str, Any], received: list[IncomingFile], sources: Mapping[str, IO[bytes]]
) -> Run:
    with incoming.saved(context.request.user, received, sources, expires_at=None) as saved:
        message, parts = joined(arguments["message"], list(saved.parts.values()))
        run = _start_run(context, arguments, message, parts)
    saved.delete_unused(used=run.parts or ())
    return run


def _start_run(context: CallContext, arguments: dict[str, Any], message: str, parts: list[StoredPart] | None) -> Run:
    request = context.request
    return runs.start(
        runs.NewRun(
            user=request.user,
            message=message,
            parts=parts,
            agent_name=arguments.get("agent_name"),
            session_id=request.chat_session(context.request_id, arguments),
            message_id=request.message_id(context.request_id, arguments),
            trigger=Run.Trigger.MCP,
        )
    ).run


def _find(context: CallContext) -> Run:
    """Return the run of a call whose client lost the stream.

    Raises:
        ToolError: it was never started.
    """
    request = context.request
    assert request.resume_point is not None
    prefix = request.message_id_prefix(context.request_id)
    with storage_errors():
        session = Session.objects.find(request.user, request.resume_point.chat_session)
        visible = Run.objects.visible_to(request.user).filter(session=session)
        run = visible.filter(message_id__startswith=prefix).select_related("session").first()
    if run is None:
        raise ToolError("The connection was lost before the run started: call again.")
    return run


async def _get_run(context: CallContext, arguments: dict[str, Any]) -> ToolResult:
    if "run_id" not in arguments:
        return tool_result({"runs": await database.run(_newest, context.request.user)})
    run = await database.run(_run, context.request.user, arguments["run_id"].strip())
    return await RunProgress(run, context.request, context.report, owns=False).until_end(
        arguments.get("wait_seconds", 0)
    )


def _newest(user: Any) -> list[dict[str, Any]]:
    with storage_errors():
        newest = Run.objects.filter(session__owner=user).select_related("session").order_by("-created_at")[:_MOST_RUNS]
        return [
            {
                "run_id": str(run.pk),
                "session_id": run.session.address_for(user),
                "agent_name": run.agent_name,
                "status": run.status,
                "prompt": run.prompt[:200],
                "created_at": run.created_at.isoformat(),
            }
            for run in newest
        ]


def _run(user: Any, text: str) -> Run:
    """Return the run with this id.

    Raises:
        ToolError: there is none that the user may see.
    """
    try:
        run_id = uuid.UUID(text)
    except ValueError:
        run_id = None
    with storage_errors():
        run = Run.objects.visible_to(user).select_related("session").filter(pk=run_id).first() if run_id else None
    if run is None:
        raise ToolError(f"There is no run {text[:64]!r}.")
    return run
