"""`ask_agent`: an agent asks another agent of this server."""

import contextlib
import uuid
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from agents_app import event_log, runs
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.spec import AgentSpec
from agents_app.engine.toolset import Call, Tool, ToolError, ToolResult
from agents_app.exceptions import AgentError, StorageUnavailable
from agents_app.models import Agent, Run

RunChild = Callable[[uuid.UUID], Awaitable[None]]
DEEPEST = 5  # agents that ask agents that ask …

_database = DatabaseThreads("platform-tools", 1)


def make_tool(spec: AgentSpec, run: Run, run_child: RunChild) -> Tool:
    """Return the tool for one run. `run_child` has this worker execute another run, and waits for it."""

    async def ask(arguments: dict[str, Any], call: Call) -> ToolResult:
        child = await _database.run(_start_child, run, arguments["agent"], arguments["message"], call.id)
        call.progress(f"{child.agent_name} answers in session {child.session_id}.")
        await run_child(child.pk)
        return await _answer(child)

    return Tool(
        name="ask_agent",
        description="Ask another agent of this server, and wait for its answer. It knows nothing of this conversation.",
        parameters={
            "type": "object",
            "properties": {
                "agent": {"type": "string", "description": "The agent's name."},
                "message": {"type": "string", "description": "All that it needs to know."},
            },
            "required": ["agent", "message"],
        },
        call=ask,
        idempotent=True,  # the call's id is the message's: asked again, it is the same run
        timeout=spec.limits.timeout,
    )


def _start_child(run: Run, agent_name: str, message: str, call_id: str) -> Run:
    """Start the run that answers; the same one for the same call.

    Raises:
        ToolError: no such agent, or one that waits for the answer itself.
    """
    chain = _chain(run)
    if agent_name in chain:
        raise ToolError(f"{agent_name!r} is waiting for this answer itself: {' → '.join(reversed(chain))}.")
    if len(chain) >= DEEPEST:
        raise ToolError(f"Agents have asked agents {DEEPEST} deep: that is the limit. Answer with what you have.")
    try:
        started = runs.start(
            user=run.session.owner,
            message=message,
            session_id=f"ask-{run.pk}.{zlib.crc32(call_id.encode()):08x}",  # one each: they may go on side by side
            agent_name=agent_name,
            message_id=call_id,
            trigger=Run.Trigger.AGENT,
            parent=run,
        )
    except StorageUnavailable:
        raise
    except AgentError as error:
        known = ", ".join(Agent.objects.visible_to(run.session.owner).enabled().values_list("name", flat=True)[:50])
        raise ToolError(f"{error} There are: {known}.") from None
    return started.run


def _chain(run: Run) -> list[str]:
    """The names of the agents that wait for this run, from itself upwards."""
    names = [run.agent_name]
    parent = run.parent_id
    while parent is not None and len(names) <= DEEPEST:
        name, parent = Run.objects.values_list("agent_name", "parent_id").get(pk=parent)
        names.append(name)
    return names


async def _answer(child: Run) -> ToolResult:
    """Wait for the child's end, whoever executes it."""
    async with contextlib.aclosing(event_log.follow_run(child, 0)) as events:  # type: ignore[type-var]
        async for _ in events:
            pass
    await _database.run(child.refresh_from_db)
    details = {"child_run_id": str(child.pk), "child_session_id": child.session_id}
    if child.status == Run.Status.COMPLETED:
        return ToolResult(child.result, details=details)
    why = child.error or "It was stopped."
    return ToolResult(f"{child.agent_name} did not answer: {why}", is_error=True, details=details)
