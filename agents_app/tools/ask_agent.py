"""`ask_agent`: an agent asks another agent of this server."""

import contextlib
import uuid
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from agents_app import event_log, runs
from agents_app.access import rights
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.spec import AgentSpec
from agents_app.engine.toolset import Call, Tool, ToolError, ToolResult
from agents_app.exceptions import AgentError, AuthenticationExpired, StorageUnavailable
from agents_app.models import Agent, Run, agent_names

RunChild = Callable[[uuid.UUID], Awaitable[None]]
DEEPEST = 5  # levels of agents that ask agents
MOST_RUNS_OF_ONE_MESSAGE = 50  # the run of the message, and all that it asks for, level by level

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
                "agent": {"type": "string", "description": "The agent's name, or name@3 for a version of it."},
                "message": {"type": "string", "description": "Everything that it needs to know."},
            },
            "required": ["agent", "message"],
        },
        call=ask,
        idempotent=True,  # the call's id is the message's: a repeated call finds the same run
        timeout=spec.limits.timeout,
    )


def _start_child(run: Run, agent_name: str, message: str, call_id: str) -> Run:
    """Start the run that answers. The same call gets the same run.

    Raises:
        ToolError: there is no such agent, or it waits for this answer itself.
    """
    chain = _chain(run)
    if (name := agent_names.parse(agent_name).name) in chain:
        raise ToolError(f"{name!r} is waiting for this answer itself: {' → '.join(reversed(chain))}.")
    if len(chain) >= DEEPEST:
        raise ToolError(f"Agents may ask agents {DEEPEST} levels deep, which is the limit. Answer with what you have.")
    if not run.children.filter(message_id=call_id).exists() and _family_size(run) >= MOST_RUNS_OF_ONE_MESSAGE:
        raise ToolError(
            f"One message may start {MOST_RUNS_OF_ONE_MESSAGE} runs, which is the limit. Answer with what you have."
        )
    try:
        owner = rights.active_user(run.session.owner_id)  # type: ignore[arg-type]
    except AuthenticationExpired as error:
        raise ToolError(str(error)) from None
    try:
        started = runs.start(
            runs.NewRun(
                user=owner,
                message=message,
                session_id=f"ask-{run.pk}.{zlib.crc32(call_id.encode()):08x}",  # one each: they may run in parallel
                agent_name=agent_name,
                message_id=call_id,
                trigger=Run.Trigger.AGENT,
                parent=run,
            )
        )
    except StorageUnavailable:
        raise
    except AgentError as error:
        existing = ", ".join(Agent.objects.visible_to(owner).enabled().values_list("name", flat=True)[:50])
        raise ToolError(f"{error} There are: {existing}.") from None
    return started.run


def _chain(run: Run) -> list[str]:
    """Return the names of the agents that wait for this run, from its own upwards."""
    names = [run.agent_name]
    parent = run.parent_id
    while parent is not None and len(names) <= DEEPEST:
        name, parent = Run.objects.values_list("agent_name", "parent_id").get(pk=parent)
        names.append(name)
    return names


def _family_size(run: Run) -> int:
    """Return the number of runs of the message that this run belongs to."""
    root, parent = run.pk, run.parent_id
    while parent is not None:
        root, parent = Run.objects.values_list("pk", "parent_id").get(pk=parent)
    size, level = 0, [root]
    while level:
        size += len(level)
        level = list(Run.objects.filter(parent__in=level).values_list("pk", flat=True))
    return size


async def _answer(child: Run) -> ToolResult:
    """Wait for the end of the child, on whichever worker."""
    async with contextlib.aclosing(event_log.follow_run(child, 0)) as events:  # type: ignore[type-var]
        async for _ in events:
            pass
    await _database.run(child.refresh_from_db)
    details = {"child_run_id": str(child.pk), "child_session_id": child.session_id}
    if child.status == Run.Status.COMPLETED:
        return ToolResult(child.result, details=details)
    why = child.error or "It was stopped."
    return ToolResult(f"{child.agent_name} did not answer: {why}", is_error=True, details=details)
