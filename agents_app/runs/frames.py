"""The events that tell how a run begins, goes on and ends."""

import datetime
from typing import Any, cast

from django.utils import timezone
from msgspec import UNSET

from agents_app.engine import questions
from agents_app.engine.client_tools import LONGEST_OUTPUT
from agents_app.engine.events import StepDone
from agents_app.engine.spec import ModelSpec, Usage
from agents_app.engine.toolset import CLIENT_TOOL
from agents_app.event_log import EventData, vocabulary
from agents_app.event_log.vocabulary import (
    ActionRequired,
    ApprovalRequired,
    Attachment,
    Interrupted,
    ReasoningComplete,
    ReasoningStart,
    ReasoningStep,
)
from agents_app.models import Run
from agents_app.models.approvals import action_id


def start_data(run: Run) -> ReasoningStart:
    return ReasoningStart(
        agent=run.agent_name,
        message=run.prompt,
        enable_reasoning=run.enable_reasoning,
        message_id=run.message_id,
        trigger=run.trigger,
        parts=run.parts or UNSET,
        number=run.number,
        follows=UNSET if run.follows is None else run.follows,
        replaces=str(run.replaces) if run.replaces else UNSET,
    )


def cancel_events(run: Run, usage: Usage | None = None, iterations: int = 0) -> list[EventData]:
    """Return the last events of a cancelled run."""
    message = f"Stopped by {run.cancelled_by}." if run.cancelled_by else "Stopped."
    return [
        Interrupted(message=message, by=run.cancelled_by),
        complete_data(run, Run.Status.CANCELLED, usage or Usage(), iterations),
    ]


def complete_data(run: Run, status: str, usage: Usage, iterations: int) -> ReasoningComplete:
    since = run.started_at or run.created_at
    return ReasoningComplete(
        status=str(status),
        iterations=iterations,
        usage=cast(vocabulary.Usage, usage.as_dict()),
        duration_ms=max(0, round((timezone.now() - since).total_seconds() * 1000)),
        context_tokens=UNSET if run.context_tokens is None else run.context_tokens,
        context_window=UNSET if run.context_window is None else run.context_window,
        cost=UNSET if run.cost is None else f"{run.cost:f}",
    )


def waiting_data(run: Run, row: StepDone, expires_at: datetime.datetime) -> ApprovalRequired | ActionRequired:
    """Return the event of a call that waits for a person, or for the calling program."""
    arguments = row.arguments or {}
    if row.action:
        return ActionRequired(
            action_id=action_id(run.pk, row.index),
            kind=row.action,
            tool_call_id=row.tool_call_id,
            tool_name=row.tool_name,
            message="" if row.action == CLIENT_TOOL else arguments["question"],
            arguments=arguments,
            response_schema=response_schema(row.action, arguments),
            expires_at=expires_at,
        )
    return ApprovalRequired(
        tool_call_id=row.tool_call_id,
        tool_name=row.tool_name,
        arguments=arguments,
        expires_at=expires_at,
    )


def response_schema(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of the response to an action."""
    if kind == CLIENT_TOOL:
        return {"type": "string", "maxLength": LONGEST_OUTPUT}
    return questions.response_schema(arguments)


def step_data(step: StepDone, attachments: list[Attachment], fallback: ModelSpec | None = None) -> ReasoningStep:
    """Return the event of a finished step. `fallback`: the model that wrote it, if that is not the agent's first."""
    is_tool = bool(step.tool_name or step.tool_call_id)
    return ReasoningStep(
        step=step.index,
        type=step.type,
        content=step.content,
        iteration=step.iteration,
        timestamp=round(step.finished, 3),
        tool_name=step.tool_name if is_tool else UNSET,
        tool_call_id=step.tool_call_id if is_tool else UNSET,
        arguments=(step.arguments or {}) if is_tool else UNSET,
        is_error=step.is_error if is_tool else UNSET,
        duration_ms=max(0, round((step.finished - step.started) * 1000)) if is_tool else UNSET,
        attachments=attachments or UNSET,
        model=fallback.model if fallback else UNSET,
        provider=fallback.provider if fallback else UNSET,
        child_run_id=step.details.get("child_run_id", UNSET),
        child_session_id=step.details.get("child_session_id", UNSET),
        action_id=step.details.get("action_id", UNSET),
    )
