"""The data of the frames that tell how a run begins, goes on and ends."""

import datetime
from typing import Any

from django.utils import timezone

from agents_app.engine.events import StepDone
from agents_app.engine.spec import Usage
from agents_app.models import Run


def start_data(run: Run) -> dict[str, Any]:
    """The data of `reasoning_start`."""
    return {
        "agent": run.agent_name,
        "message": run.prompt,
        "enable_reasoning": run.enable_reasoning,
        "message_id": run.message_id,
        "trigger": run.trigger,
    }


def cancel_events(run: Run, usage: Usage | None = None, iterations: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """How a cancelled run ends in the log."""
    message = f"Stopped by {run.cancelled_by}." if run.cancelled_by else "Stopped."
    return [
        ("interrupted", {"message": message, "by": run.cancelled_by}),
        ("reasoning_complete", complete_data(run, Run.Status.CANCELLED, usage or Usage(), iterations)),
    ]


def complete_data(run: Run, status: str, usage: Usage, iterations: int) -> dict[str, Any]:
    """The data of `reasoning_complete`."""
    since = run.started_at or run.created_at
    return {
        "status": str(status),
        "iterations": iterations,
        "usage": usage.as_dict(),
        "duration_ms": max(0, round((timezone.now() - since).total_seconds() * 1000)),
    }


def approval_data(row: StepDone, expires_at: datetime.datetime) -> dict[str, Any]:
    """The data of `approval_required`."""
    return {
        "tool_call_id": row.tool_call_id,
        "tool_name": row.tool_name,
        "arguments": row.arguments or {},
        "expires_at": expires_at.isoformat().replace("+00:00", "Z"),
    }


def step_data(step: StepDone, attachments: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of `reasoning_step`."""
    data: dict[str, Any] = {
        "step": step.index,
        "type": step.type,
        "content": step.content,
        "iteration": step.iteration,
        "timestamp": round(step.finished, 3),
    }
    if step.tool_name or step.tool_call_id:
        data |= {
            "tool_name": step.tool_name,
            "tool_call_id": step.tool_call_id,
            "arguments": step.arguments or {},
            "is_error": step.is_error,
            "duration_ms": max(0, round((step.finished - step.started) * 1000)),
        }
    if attachments:
        data["attachments"] = attachments
    if step.details:
        data |= step.details
    return data
