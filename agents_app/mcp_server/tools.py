"""The tools: agents that are run, runs that are looked after, and the tasks that agents have tools for as well."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from agents_app import runs
from agents_app.database.errors import storage_errors
from agents_app.engine.toolset import Tool, ToolError, ToolResult
from agents_app.mcp_server.database import database
from agents_app.mcp_server.requests import Asking, RequestId
from agents_app.mcp_server.run_progress import Report, Waiting, told
from agents_app.models import Agent, Run
from agents_app.tools.tasks import tools_of

_TASK_TOOLS = (
    "create_task", "list_tasks", "update_task", "enable_task", "disable_task", "delete_task", "run_task", "cancel_run",
)  # fmt: skip
_LISTED = 200
_NEWEST = 10
LONGEST_WAIT = 86_400

_WAIT = {
    "type": "number",
    "minimum": 0,
    "maximum": LONGEST_WAIT,
}
_ABOUT_AGENTS = f"Which agents there are, and what each is for; {_LISTED} at most, and `more` says if there are others."
_LIST_AGENTS: dict[str, Any] = {
    "search": {"type": "string", "description": "Only those with this in their name, role or description."},
}
_RUN_AGENT: dict[str, Any] = {
    "message": {"type": "string", "description": "What the agent is told. It knows nothing of this conversation."},
    "agent_name": {"type": "string", "description": "Who answers: see list_agents. Default: the default agent."},
    "session_id": {
        "type": "string",
        "description": "A conversation to go on with, or a name for a new one. Default: a new one.",
    },
    "wait_seconds": _WAIT
    | {"description": "How long to wait for the answer; 0 leaves at once, and get_run asks for it later. "
       "Default: until it is there."},
}  # fmt: skip
_GET_RUN: dict[str, Any] = {
    "run_id": {"type": "string", "description": "The run's id. Without it: your newest runs."},
    "wait_seconds": _WAIT | {"description": "How long to wait for its end. Default: 0."},
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as the tools see it."""

    asking: Asking
    request_id: RequestId
    report: Report


def offered(user: Any, asked: Asked | None = None) -> list[Tool]:
    """What this user may call. `asked`: the call for which they are made; without it they are only described."""
    return [
        _tool("list_agents", _ABOUT_AGENTS, _LIST_AGENTS, _list_agents, asked, read_only=True),
        _tool("run_agent", "Ask an agent to do something, and wait for its answer.", _RUN_AGENT, _run_agent, asked),
        _tool("get_run", "How a run stands, and its answer.", _GET_RUN, _get_run, asked, read_only=True),
        *tools_of(user, _TASK_TOOLS),
    ]


Work = Callable[[Asked, dict[str, Any]], Awaitable[ToolResult]]


def _tool(
    name: str, description: str, properties: dict[str, Any], work: Work, asked: Asked | None, *, read_only: bool = False
) -> Tool:
    async def call(arguments: dict[str, Any], _: Any) -> ToolResult:
        assert asked is not None
        return await work(asked, arguments)

    required = ["message"] if "message" in properties else []
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Tool(name, description, schema, call, read_only=read_only)


async def _list_agents(asked: Asked, arguments: dict[str, Any]) -> ToolResult:
    return told(await database.run(_agents, asked.asking.user, arguments.get("search", "")))


def _agents(user: Any, search: str) -> dict[str, Any]:
    with storage_errors():
        known = Agent.objects.visible_to(user).enabled().order_by("name")
        fits = Q(name__icontains=search) | Q(role__icontains=search) | Q(description__icontains=search)
        found = list(known.filter(fits).values("name", "role", "description")[: _LISTED + 1])
        return {"agents": found[:_LISTED], "more": len(found) > _LISTED}


async def _run_agent(asked: Asked, arguments: dict[str, Any]) -> ToolResult:
    resumes = asked.asking.resumes
    run = await database.run(_find if resumes else _start, asked, arguments)
    waiting = Waiting(run, asked.asking, asked.report, seen=resumes.progress if resumes else None)
    return await waiting.until_end(arguments.get("wait_seconds"))


def _start(asked: Asked, arguments: dict[str, Any]) -> Run:
    asking = asked.asking
    return runs.start(
        user=asking.user,
        message=arguments["message"],
        agent_name=arguments.get("agent_name"),
        session_id=asking.chat_session(asked.request_id, arguments),
        message_id=asking.message_id(asked.request_id, arguments),
        trigger=Run.Trigger.MCP,
    ).run


def _find(asked: Asked, arguments: dict[str, Any]) -> Run:
    """The run of a call that goes on: its client has lost the stream.

    Raises:
        ToolError: it was never started.
    """
    asking = asked.asking
    assert asking.resumes is not None
    with storage_errors():
        known = Run.objects.visible_to(asking.user).filter(session=asking.resumes.chat_session)
        run = known.filter(message_id__startswith=asking.prefix(asked.request_id)).select_related("session").first()
    if run is None:
        raise ToolError("The connection was lost before the run began: call again.")
    return run


async def _get_run(asked: Asked, arguments: dict[str, Any]) -> ToolResult:
    if "run_id" not in arguments:
        return told({"runs": await database.run(_newest, asked.asking.user)})
    run = await database.run(_run, asked.asking.user, arguments["run_id"].strip())
    return await Waiting(run, asked.asking, asked.report, owns=False).until_end(arguments.get("wait_seconds", 0))


def _newest(user: Any) -> list[dict[str, Any]]:
    with storage_errors():
        newest = Run.objects.filter(session__owner=user).order_by("-created_at")[:_NEWEST]
        return [
            {
                "run_id": str(run.pk),
                "session_id": run.session_id,
                "agent_name": run.agent_name,
                "status": run.status,
                "prompt": run.prompt[:200],
                "created_at": run.created_at.isoformat(),
            }
            for run in newest
        ]


def _run(user: Any, said: str) -> Run:
    """The run of that id.

    Raises:
        ToolError: there is none, or it is somebody else's.
    """
    try:
        run_id = uuid.UUID(said)
    except ValueError:
        run_id = None
    with storage_errors():
        run = Run.objects.visible_to(user).select_related("session").filter(pk=run_id).first() if run_id else None
    if run is None:
        raise ToolError(f"There is no run {said[:64]!r}.")
    return run
