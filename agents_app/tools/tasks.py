"""Tools by which an agent schedules work: what it makes belongs to the user whose session it speaks in."""

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from agents_app import clock, runs, scheduler, schedules
from agents_app.database.threads import DatabaseThreads, write_transaction
from agents_app.engine.toolset import Call, Tool, ToolError
from agents_app.exceptions import AgentError, StorageUnavailable
from agents_app.models import Agent, Run, ScheduledTask

MOST_TASKS = 200  # of a user, made by agents: one that goes astray must not fill the calendar
_LISTED = 50
_FORESEEN = 3

_database = DatabaseThreads("task-tools", 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as the functions below see it. `mark` is the call's own, the same if it is made again.

    `run`: whose agent asks; None where a program asks for its user.
    """

    user: Any
    run: Run | None
    arguments: dict[str, Any]
    mark: str

    def task(self) -> ScheduledTask:
        """The task that the call names, by id or by name.

        Raises:
            ToolError: there is none, or more than one.
        """
        said = self.arguments["task"].strip()
        mine = ScheduledTask.objects.visible_to(self.user).select_related("agent")
        found = list(mine.filter(pk=said) if _is_uuid(said) else mine.filter(name=said[:200])[:5])
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{task.name!r} ({task.pk})" for task in found or mine[:20]) or "none"
        text = f"There are several tasks {said[:200]!r}: name one by its id." if found else f"No task {said[:200]!r}."
        raise ToolError(f"{text} There are: {known}.")


Work = Callable[[Asked], Any]


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


# What the tools do


def _create_task(asked: Asked) -> Any:
    known = ScheduledTask.objects.filter(creation_key=asked.mark).first()
    if known is not None:
        return _told(known)
    if ScheduledTask.objects.filter(owner=asked.user).count() >= MOST_TASKS:
        raise ToolError(f"There are {MOST_TASKS} tasks already, which is the limit: delete some first.")
    fields = {"agent_name": _agent_that_asks(asked), **asked.arguments}
    task = ScheduledTask(owner=asked.user, creation_key=asked.mark)
    return _saved(task, fields, asked)


def _agent_that_asks(asked: Asked) -> str | None:
    """Whose task it is where nothing else is said: its own; a program's is the default agent's."""
    if asked.run is not None:
        return asked.run.agent_name
    default = Agent.objects.visible_to(asked.user).enabled().default()
    return default.name if default else None


def _update_task(asked: Asked) -> Any:
    changes = {name: value for name, value in asked.arguments.items() if name != "task"}
    if not changes:
        raise ToolError("Say what to change.")
    with write_transaction():
        return _saved(asked.task(), changes, asked)


def _enable_task(asked: Asked) -> Any:
    with write_transaction():
        return _saved(asked.task(), {"enabled": True}, asked)


def _disable_task(asked: Asked) -> Any:
    with write_transaction():
        return _saved(asked.task(), {"enabled": False}, asked)


def _saved(task: ScheduledTask, fields: dict[str, Any], asked: Asked) -> Any:
    """Change the task; where anything is wrong, all of it is said at once."""
    fields = dict(fields)
    if (agent_name := fields.pop("agent_name", None)) is not None:
        task.agent = _agent(asked, agent_name)
    if (here := fields.pop("report_here", None)) is not None:
        task.session = ScheduledTask.SessionMode.KEPT if here else ScheduledTask.SessionMode.NEW
        task.kept_session = asked.run.session if here and asked.run else None
    for name, value in fields.items():
        setattr(task, name, str(value) if name == "schedule_value" else value)
    try:
        task.full_clean(exclude=["anchor", "owner"])
    except ValidationError as error:
        said = [f"'{name}': {' '.join(texts)}" for name, texts in error.message_dict.items()]
        raise ToolError(f"Nothing was saved. {' '.join(said)}") from None
    task.save()
    return _told(task)


def _agent(asked: Asked, name: str) -> Agent:
    agents = Agent.objects.visible_to(asked.user).enabled()
    agent = agents.filter(name=name).first()
    if agent is None:
        known = ", ".join(agents.values_list("name", flat=True)[:_LISTED])
        raise ToolError(f"There is no enabled agent {name[:100]!r}. There are: {known}.")
    return agent


def _list_tasks(asked: Asked) -> Any:
    tasks = ScheduledTask.objects.visible_to(asked.user).select_related("agent")
    if asked.arguments.get("enabled") is not None:
        tasks = tasks.filter(enabled=asked.arguments["enabled"])
    if search := asked.arguments.get("search"):
        tasks = tasks.filter(name__icontains=search)
    found = list(tasks[: _LISTED + 1])
    return {"now": _time(clock.now()), "tasks": [_told(t) for t in found[:_LISTED]], "more": len(found) > _LISTED}


def _delete_task(asked: Asked) -> Any:
    with write_transaction():
        task = asked.task()
        ScheduledTask.objects.select_for_update().get(pk=task.pk).delete()
    return {"deleted": task.name}


def _run_task(asked: Asked) -> Any:
    if asked.run and asked.run.task_id and asked.run.trigger == Run.Trigger.AGENT:
        raise ToolError(
            "This run was started by run_task itself, and may not start another: that could go on for ever."
        )
    once = {"message_id": f"call-{asked.mark}", "session_id": f"s-{asked.mark[:32]}"}
    trigger = Run.Trigger.AGENT if asked.run else Run.Trigger.MCP
    run = scheduler.run_now(asked.task(), trigger=trigger, **once).run
    return _told_run(run) | {"note": "It goes on in the background: ask get_run for what came of it."}


def _get_run(asked: Asked) -> Any:
    return _told_run(_run(asked))


def _cancel_run(asked: Asked) -> Any:
    run = _run(asked)
    if asked.run and run.pk == asked.run.pk:
        raise ToolError("This is the run that you are in: just answer.")
    if run.is_finished:
        raise ToolError(f"The run has ended already: {run.status}.")
    runs.cancel(run, by=asked.user.get_username())
    return {"run_id": str(run.pk), "note": "It is being stopped."}


def _run(asked: Asked) -> Run:
    said = asked.arguments["run_id"].strip()
    run = Run.objects.visible_to(asked.user).filter(pk=said).first() if _is_uuid(said) else None
    if run is None:
        raise ToolError(f"There is no run {said[:64]!r}. The ids of runs are what run_task and list_tasks answer.")
    return run


# What the model is told


def _told(task: ScheduledTask) -> dict[str, Any]:
    foreseen = itertools.islice(task.schedule().after(clock.now()), _FORESEEN) if task.enabled else ()
    zone = schedules.read_zone(task.timezone)
    newest = task.runs.order_by("-created_at").first()
    return {
        "id": str(task.pk),
        "name": task.name,
        "agent_name": task.agent.name,
        "task_prompt": task.task_prompt,
        "schedule": f"{task.schedule_type} {task.schedule_value}",
        "timezone": task.timezone,
        "enabled": task.enabled,
        "next_runs": [due.at.astimezone(zone).isoformat() for due in foreseen],
        "last_run": {"run_id": str(newest.pk), "status": newest.status} if newest else None,
    }


def _told_run(run: Run) -> dict[str, Any]:
    told = {"run_id": str(run.pk), "status": run.status, "session_id": run.session_id}
    return told | {name: text for name, text in (("result", run.result), ("error", run.error)) if text}


def _time(moment: Any) -> str:
    return moment.strftime("%A %Y-%m-%dT%H:%M:%SZ")


# What the model may ask

_TASK = {"type": "string", "description": "The task's id, or its name."}
_RUN = {"type": "string", "description": "The run's id."}
_FIELDS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "description": "What people call it."},
    "task_prompt": {
        "type": "string",
        "description": "What the agent is told each time. It stands alone: the agent knows nothing of this chat, "
        "unless report_here is true.",
    },
    "schedule_type": {"type": "string", "enum": ["cron", "interval", "once"]},
    "schedule_value": {
        "type": ["string", "integer"],
        "description": "cron: minute hour day-of-month month day-of-week, for example '0 9 * * MON-FRI' for nine "
        "o'clock on working days; also L, LW, MON#1, @daily. interval: seconds, for example '300'. once: a moment of "
        "ISO 8601, for example '2027-03-01T09:00:00+01:00'.",
    },
    "timezone": {
        "type": "string",
        "description": "IANA name, for example 'Europe/Berlin', in which the schedule is meant. Default: UTC.",
    },
    "agent_name": {"type": "string", "description": "Which agent does it. Default: you."},
    "description": {"type": "string", "description": "What it is for."},
    "report_here": {
        "type": "boolean",
        "description": "Whether its answers appear in this very chat, which it then remembers. Default: false, a "
        "session of its own for each run.",
    },
    "overlap": {
        "type": "string",
        "enum": ["skip", "queue", "allow", "cancel_previous"],
        "description": "What to do where the run before is still going on. Default: skip.",
    },
    "misfire": {
        "type": "string",
        "enum": ["once", "skip", "all"],
        "description": "What becomes of moments at which no server ran. Default: once, one run for them all.",
    },
    "max_retries": {"type": "integer", "minimum": 0, "maximum": 20, "description": "After a failure. Default: 0."},
    "timeout": {"type": "integer", "minimum": 1, "maximum": 86_400, "description": "Seconds of one run."},
}
_NEEDED = ("name", "task_prompt", "schedule_type", "schedule_value")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A tool before it belongs to a run."""

    work: Work
    description: str
    properties: dict[str, Any]
    required: Sequence[str] = ()
    read_only: bool = False


_KINDS = {
    "create_task": _Kind(
        _create_task,
        "Schedule work: an agent is given a prompt at certain moments. Ask current_time first if you need to know "
        "what day it is.",
        _FIELDS,
        _NEEDED,
    ),
    "list_tasks": _Kind(
        _list_tasks,
        "The scheduled tasks, with their next moments and last runs.",
        {
            "enabled": {"type": "boolean", "description": "Only those that are enabled, or that are not."},
            "search": {"type": "string", "description": "Only those with this in their name."},
        },
        read_only=True,
    ),
    "update_task": _Kind(
        _update_task,
        "Change a scheduled task; what is left out stays as it is.",
        {"task": _TASK, **_FIELDS},
        ("task",),
    ),
    "enable_task": _Kind(_enable_task, "Let a task be due again, from now on.", {"task": _TASK}, ("task",)),
    "disable_task": _Kind(_disable_task, "Start no more runs of a task, but keep it.", {"task": _TASK}, ("task",)),
    "delete_task": _Kind(_delete_task, "Delete a task; its runs stay.", {"task": _TASK}, ("task",)),
    "run_task": _Kind(_run_task, "Run a task once more, now, in the background.", {"task": _TASK}, ("task",)),
    "get_run": _Kind(_get_run, "How a run stands, and its answer.", {"run_id": _RUN}, ("run_id",), read_only=True),
    "cancel_run": _Kind(_cancel_run, "Stop a run.", {"run_id": _RUN}, ("run_id",)),
}


def task_tools(names: Sequence[str], run: Run) -> list[Tool]:
    """The tools of these names, for the user in whose session `run` is."""
    return [_tool(name, kind, run) for name, kind in _KINDS.items() if name in names]


def tools_of(user: Any, names: Sequence[str]) -> list[Tool]:
    """The same for a program that asks for `user`, without a run; the call's id is the mark of what it makes."""
    return [_program_tool(name, kind, user) for name, kind in _KINDS.items() if name in names]


def _program_tool(name: str, kind: _Kind, user: Any) -> Tool:
    async def call(arguments: dict[str, Any], call: Call) -> str:
        return await _database.run(_said, kind.work, Asked(user, None, arguments, call.id))

    of_programs = {field: about for field, about in kind.properties.items() if field != "report_here"}
    if "agent_name" in of_programs:
        about = "Which agent does it: see list_agents. Default: the server's default agent."
        of_programs["agent_name"] = {"type": "string", "description": about}
        of_programs["task_prompt"] = {"type": "string", "description": "What the agent is told each time."}
    description = kind.description.replace(" Ask current_time first if you need to know what day it is.", "")
    return Tool(name, description, _schema(of_programs, kind.required), call, read_only=kind.read_only)


def _schema(properties: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _tool(name: str, kind: _Kind, run: Run) -> Tool:
    async def call(arguments: dict[str, Any], call: Call) -> str:
        return await _database.run(_answer, name, kind.work, run, arguments, call.id)

    schema = _schema(kind.properties, kind.required)
    # A call that is made again finds its own mark, or says once more what is so already.
    return Tool(name, kind.description, schema, call, read_only=kind.read_only, idempotent=name != "delete_task")


def _answer(name: str, work: Work, run: Run, arguments: dict[str, Any], call_id: str) -> str:
    owner = run.session.owner
    if owner is None or not owner.is_active:
        raise ToolError("This session belongs to nobody who could have tasks.")
    mark = hashlib.sha256(f"{name}:{run.pk}:{call_id}".encode()).hexdigest()
    return _said(work, Asked(owner, run, arguments, mark))


def _said(work: Work, asked: Asked) -> str:
    try:
        return json.dumps(work(asked), ensure_ascii=False)
    except StorageUnavailable:
        raise
    except AgentError as error:
        raise ToolError(str(error)) from None
