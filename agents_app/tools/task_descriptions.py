"""What agents and programs read about the tools that schedule work."""

from dataclasses import dataclass
from typing import Any

_TASK = {"type": "string", "description": "The task's id or name."}
_RUN = {"type": "string", "description": "The run's id."}
_FIELDS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "description": "A name for people."},
    "task_prompt": {"type": "string", "description": "The prompt that the agent gets each time."},
    "schedule_type": {"type": "string", "enum": ["cron", "interval", "once"]},
    "schedule_value": {
        "type": ["string", "integer"],
        "description": "cron: minute hour day-of-month month day-of-week, for example '0 9 * * MON-FRI' for nine "
        "o'clock on working days; also L, LW, MON#1, @daily. interval: seconds, for example '300'. once: a moment in "
        "ISO 8601, for example '2027-03-01T09:00:00+01:00'.",
    },
    "timezone": {
        "type": "string",
        "description": "The schedule's time zone, an IANA name such as 'Europe/Berlin'. Default: UTC.",
    },
    "agent_name": {
        "type": "string",
        "description": "The agent that does it, or name@3: always that version. Default: you.",
    },
    "description": {"type": "string", "description": "The purpose of the task."},
    "report_here": {
        "type": "boolean",
        "description": "Whether the answers appear in this chat, which each run then remembers. Default: false, a "
        "new session for each run.",
    },
    "overlap": {
        "type": "string",
        "enum": ["skip", "queue", "allow", "cancel_previous"],
        "description": "What to do if the previous run is still in progress. Default: skip.",
    },
    "misfire": {
        "type": "string",
        "enum": ["once", "skip", "all"],
        "description": "What to do about moments at which no server ran. Default: once, one run for all of them.",
    },
    "max_retries": {
        "type": "integer",
        "minimum": 0,
        "maximum": 20,
        "description": "Retries after a failure. Default: 0.",
    },
    "timeout": {"type": "integer", "minimum": 1, "maximum": 86_400, "description": "Seconds for one run."},
}
_REQUIRED = ("name", "task_prompt", "schedule_type", "schedule_value")
_ALONE = " The prompt must stand alone: the agent knows nothing of this chat, unless report_here is true."
_FIELDS_FOR_AGENTS = _FIELDS | {
    "task_prompt": {"type": "string", "description": _FIELDS["task_prompt"]["description"] + _ALONE}
}
_FIELDS_FOR_PROGRAMS = {name: field for name, field in _FIELDS.items() if name != "report_here"} | {
    "agent_name": {
        "type": "string",
        "description": "The agent that does it, see list_agents, or name@3: always that version. Default: the server's "
        "default agent.",
    }
}


@dataclass(frozen=True, slots=True)
class Description:
    """The description of one tool. `properties` and `required` are of its arguments."""

    text: str
    properties: dict[str, dict[str, Any]]
    required: tuple[str, ...] = ()
    read_only: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments."""
        return {
            "type": "object",
            "properties": self.properties,
            "required": list(self.required),
            "additionalProperties": False,
        }


_CREATE = "Schedule work: an agent gets a prompt at certain moments."
_UPDATE = "Change a scheduled task. Fields that you omit stay as they are."

FOR_AGENTS: dict[str, Description] = {
    "create_task": Description(
        f"{_CREATE} Call current_time first if you need to know the date.", _FIELDS_FOR_AGENTS, _REQUIRED
    ),
    "list_tasks": Description(
        "List the scheduled tasks, with their next moments and last runs.",
        {
            "enabled": {"type": "boolean", "description": "Only tasks that are enabled, or only those that are not."},
            "search": {"type": "string", "description": "Only tasks with this text in their name."},
        },
        read_only=True,
    ),
    "update_task": Description(_UPDATE, {"task": _TASK, **_FIELDS_FOR_AGENTS}, ("task",)),
    "enable_task": Description("Enable a task: it is due again from now on.", {"task": _TASK}, ("task",)),
    "disable_task": Description("Start no more runs of a task, but keep it.", {"task": _TASK}, ("task",)),
    "delete_task": Description("Delete a task. Its runs stay.", {"task": _TASK}, ("task",)),
    "run_task": Description("Run a task now, in the background.", {"task": _TASK}, ("task",)),
    "get_run": Description("Return the status and answer of a run.", {"run_id": _RUN}, ("run_id",), read_only=True),
    "cancel_run": Description("Stop a run.", {"run_id": _RUN}, ("run_id",)),
}
FOR_PROGRAMS: dict[str, Description] = FOR_AGENTS | {
    "create_task": Description(_CREATE, _FIELDS_FOR_PROGRAMS, _REQUIRED),
    "update_task": Description(_UPDATE, {"task": _TASK, **_FIELDS_FOR_PROGRAMS}, ("task",)),
}
