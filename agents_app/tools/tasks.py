"""Tools that schedule work: for an agent, as the owner of its session, and for a program over MCP, as its user."""

import hashlib
import itertools
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from agents_app import clock, runs, scheduler, schedules
from agents_app.access import limits, rights
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.toolset import Call, Tool, ToolError
from agents_app.exceptions import AgentError, AgentNotFound, AuthenticationExpired, StorageUnavailable
from agents_app.models import Agent, AgentVersion, Run, ScheduledTask
from agents_app.models.agent_names import NamedAgent, find_enabled
from agents_app.models.runs import RunQuerySet
from agents_app.models.tasks import ScheduledTaskQuerySet
from agents_app.tools.task_descriptions import FOR_AGENTS, FOR_PROGRAMS, Description

MOST_TASKS = 200  # of one user: an agent in a loop must not fill the calendar
_LISTED = 50
_PLANNED = 3

_database = DatabaseThreads("task-tools", 1)


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a tool. `run` is the run of the agent that calls; None for a program that calls for its user.

    `idempotency_key` is the same if the call is repeated.
    """

    user: Any
    run: Run | None
    arguments: dict[str, Any]
    idempotency_key: str

    def tasks(self) -> ScheduledTaskQuerySet:
        """Return the tasks that the call may reach: an agent reaches its user's own, an administrator's too."""
        tasks = ScheduledTask.objects.select_related("agent")
        return tasks.filter(owner=self.user) if self.run else tasks.visible_to(self.user)

    def runs(self) -> RunQuerySet:
        """Return the runs that the call may reach, likewise."""
        return Run.objects.filter(session__owner=self.user) if self.run else Run.objects.visible_to(self.user)

    def task(self) -> ScheduledTask:
        """Return the task that the call names, by id or by name.

        Raises:
            ToolError: there is none, or more than one.
        """
        name = self.arguments["task"].strip()
        visible = self.tasks()
        matches = list(visible.filter(pk=name) if _is_uuid(name) else visible.filter(name=name[:200])[:5])
        if len(matches) == 1:
            return matches[0]
        existing = ", ".join(f"{task.name!r} ({task.pk})" for task in matches or visible[:20]) or "none"
        problem = f"There are several tasks {name[:200]!r}: use an id." if matches else f"No task {name[:200]!r}."
        raise ToolError(f"{problem} There are: {existing}.")


Action = Callable[[Request], Any]


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


# The actions


def _create_task(request: Request) -> Any:
    existing = ScheduledTask.objects.filter(creation_key=request.idempotency_key).first()
    if existing is not None:
        return _describe(existing)
    limits.admit_task(request.user)
    if ScheduledTask.objects.filter(owner=request.user).count() >= MOST_TASKS:
        raise ToolError(f"There are already {MOST_TASKS} tasks, which is the limit: delete some first.")
    fields = {"agent_name": _default_agent(request), **request.arguments}
    task = ScheduledTask(owner=request.user, creation_key=request.idempotency_key)
    return _save(task, fields, request)


def _default_agent(request: Request) -> str | None:
    """Return the agent of a task that names none: the calling agent; for a program the server's default."""
    if request.run is not None:
        return request.run.agent_name
    default = Agent.objects.visible_to(request.user).enabled().default()
    return default.name if default else None


def _update_task(request: Request) -> Any:
    changes = {name: value for name, value in request.arguments.items() if name != "task"}
    if not changes:
        raise ToolError("Name at least one field to change.")
    with transaction.atomic():
        return _save(request.task(), changes, request)


def _enable_task(request: Request) -> Any:
    with transaction.atomic():
        return _save(request.task(), {"enabled": True}, request)


def _disable_task(request: Request) -> Any:
    with transaction.atomic():
        return _save(request.task(), {"enabled": False}, request)


def _save(task: ScheduledTask, fields: dict[str, Any], request: Request) -> Any:
    """Change the task. If anything is wrong, the error lists all of it."""
    fields = dict(fields)
    if (agent_name := fields.pop("agent_name", None)) is not None:
        task.agent, version_id = _agent(request, agent_name)
        task.agent_version = AgentVersion.objects.get(pk=version_id) if version_id else None
    if (here := fields.pop("report_here", None)) is not None:
        task.session = ScheduledTask.SessionMode.KEPT if here else ScheduledTask.SessionMode.NEW
        task.kept_session = request.run.session if here and request.run else None
    for name, value in fields.items():
        setattr(task, name, str(value) if name == "schedule_value" else value)
    try:
        task.full_clean(exclude=["anchor", "owner"])
        if task.enabled:
            limits.check_schedule(task.owner, task.schedule_type, task.schedule_value)
    except ValidationError as error:
        problems = [f"'{name}': {' '.join(texts)}" for name, texts in error.message_dict.items()]
        raise ToolError(f"Nothing was saved. {' '.join(problems)}") from None
    task.save()
    return _describe(task)


def _agent(request: Request, name: str) -> NamedAgent:
    try:
        return find_enabled(request.user, name)
    except AgentNotFound as error:
        agents = Agent.objects.visible_to(request.user).enabled()
        existing = ", ".join(agents.values_list("name", flat=True)[:_LISTED])
        raise ToolError(f"{error} There are: {existing}.") from None


def _list_tasks(request: Request) -> Any:
    tasks = request.tasks()
    if request.arguments.get("enabled") is not None:
        tasks = tasks.filter(enabled=request.arguments["enabled"])
    if search := request.arguments.get("search"):
        tasks = tasks.filter(name__icontains=search)
    rows = list(tasks[: _LISTED + 1])
    return {"now": _time(clock.now()), "tasks": [_describe(t) for t in rows[:_LISTED]], "more": len(rows) > _LISTED}


def _delete_task(request: Request) -> Any:
    with transaction.atomic():
        task = request.task()
        ScheduledTask.objects.select_for_update().get(pk=task.pk).delete()
    return {"deleted": task.name}


def _run_task(request: Request) -> Any:
    if request.run and request.run.task_id and request.run.trigger == Run.Trigger.AGENT:
        raise ToolError("This run was started by run_task and may not start another: that could go on forever.")
    once = {"message_id": f"call-{request.idempotency_key}", "session_id": f"s-{request.idempotency_key[:32]}"}
    trigger = Run.Trigger.AGENT if request.run else Run.Trigger.MCP
    run = scheduler.run_now(request.task(), trigger=trigger, **once).run
    return _describe_run(run, request) | {"note": "It continues in the background: call get_run for the result."}


def _get_run(request: Request) -> Any:
    return _describe_run(_run(request), request)


def _cancel_run(request: Request) -> Any:
    run = _run(request)
    if request.run and run.pk == request.run.pk:
        raise ToolError("This is your own run: just answer.")
    if run.is_finished:
        raise ToolError(f"The run has already ended: {run.status}.")
    runs.cancel(run, by=request.user.get_username())
    return {"run_id": str(run.pk), "note": "It is being stopped."}


def _run(request: Request) -> Run:
    run_id = request.arguments["run_id"].strip()
    run = request.runs().filter(pk=run_id).first() if _is_uuid(run_id) else None
    if run is None:
        raise ToolError(f"There is no run {run_id[:64]!r}. run_task and list_tasks return the ids of runs.")
    return run


# The results


def _describe(task: ScheduledTask) -> dict[str, Any]:
    planned = itertools.islice(task.schedule().after(clock.now()), _PLANNED) if task.enabled else ()
    zone = schedules.read_zone(task.timezone)
    newest = task.runs.order_by("-created_at").first()
    return {
        "id": str(task.pk),
        "name": task.name,
        "agent_name": task.agent_name,
        "task_prompt": task.task_prompt,
        "schedule": f"{task.schedule_type} {task.schedule_value}",
        "timezone": task.timezone,
        "enabled": task.enabled,
        "next_runs": [due.at.astimezone(zone).isoformat() for due in planned],
        "last_run": {"run_id": str(newest.pk), "status": newest.status} if newest else None,
    }


def _describe_run(run: Run, request: Request) -> dict[str, Any]:
    session_id = run.session.address_for(request.user)
    result = {"run_id": str(run.pk), "status": run.status, "session_id": session_id}
    return result | {name: text for name, text in (("result", run.result), ("error", run.error)) if text}


def _time(moment: Any) -> str:
    return moment.strftime("%A %Y-%m-%dT%H:%M:%SZ")


# The tools

_ACTIONS: dict[str, Action] = {
    "create_task": _create_task,
    "list_tasks": _list_tasks,
    "update_task": _update_task,
    "enable_task": _enable_task,
    "disable_task": _disable_task,
    "delete_task": _delete_task,
    "run_task": _run_task,
    "get_run": _get_run,
    "cancel_run": _cancel_run,
}


def tools_for_agent(run: Run, names: Sequence[str]) -> list[Tool]:
    """Return the tools of these names. They act for the owner of the run's session."""
    return [_agent_tool(name, run) for name in _ACTIONS if name in names]


def tools_for_program(user: Any, names: Sequence[str]) -> list[Tool]:
    """Return the tools of these names. They act for `user`; the id of a call is its idempotency key."""
    return [_program_tool(name, user) for name in _ACTIONS if name in names]


def _agent_tool(name: str, run: Run) -> Tool:
    async def call(arguments: dict[str, Any], call: Call) -> str:
        return await _database.run(_act_for_owner, name, run, arguments, call.id)

    # A repeated call finds its own idempotency key, or sets again what is set.
    return _tool(name, FOR_AGENTS[name], call, idempotent=name != "delete_task")


def _program_tool(name: str, user: Any) -> Tool:
    async def call(arguments: dict[str, Any], call: Call) -> str:
        return await _database.run(_act, name, Request(user, None, arguments, call.id))

    return _tool(name, FOR_PROGRAMS[name], call)


def _tool(name: str, about: Description, call: Callable[..., Awaitable[str]], *, idempotent: bool = False) -> Tool:
    return Tool(name, about.text, about.schema(), call, read_only=about.read_only, idempotent=idempotent)


def _act_for_owner(name: str, run: Run, arguments: dict[str, Any], call_id: str) -> str:
    try:
        owner = rights.active_user(run.session.owner_id)  # type: ignore[arg-type]
    except AuthenticationExpired:
        raise ToolError("This session has no active owner, who could own tasks.") from None
    key = hashlib.sha256(f"{name}:{run.pk}:{call_id}".encode()).hexdigest()
    return _act(name, Request(owner, run, arguments, key))


def _act(name: str, request: Request) -> str:
    try:
        return json.dumps(_ACTIONS[name](request), ensure_ascii=False)
    except StorageUnavailable:
        raise
    except AgentError as error:
        raise ToolError(str(error)) from None
