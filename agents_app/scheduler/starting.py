"""Starts the runs of tasks: for a due moment, or by hand."""

import datetime
import logging
import secrets
from typing import Any

from django.db import IntegrityError, transaction

from agents_app import runs
from agents_app.access import limits
from agents_app.database.errors import storage_errors
from agents_app.exceptions import AgentError, AgentNotFound, SessionNotFound, StorageUnavailable
from agents_app.files.parts import joined
from agents_app.models import Run, ScheduledTask, Session, Skip
from agents_app.models.overrides import Overrides
from agents_app.observability import metrics
from agents_app.scheduler.policies import skip

logger = logging.getLogger(__name__)

_SKIP_REASONS: dict[type[AgentError], str] = {
    AgentNotFound: Skip.Reason.AGENT_UNAVAILABLE,
    SessionNotFound: Skip.Reason.SESSION_UNAVAILABLE,
}


def start(
    task: ScheduledTask, at: datetime.datetime, retry: int = 0, *, previous: datetime.datetime | None = None
) -> None:
    """Start the run of a moment. If it cannot be started, record a skip that says why."""
    if not task.owner.is_active:
        skip(task, at, Skip.Reason.OWNER_INACTIVE, previous=previous)
        return
    try:
        with transaction.atomic():
            due = runs.Due(task, at, retry)
            _start_run(due, existing_session=_session(task), trigger=Run.Trigger.SCHEDULE)
            transaction.on_commit(metrics.SCHEDULE_FIRES.inc)
    except IntegrityError:
        logger.info("Task %s has been fired for %s before", task.pk, at)
    except StorageUnavailable:
        raise
    except AgentError as error:
        reason = _SKIP_REASONS.get(type(error), Skip.Reason.NOT_STARTED)
        skip(task, at, reason, str(error), previous=previous)


def run_now(
    task: ScheduledTask, *, trigger: str, message_id: str | None = None, session_id: str | None = None
) -> runs.Started:
    """Run the task now, whatever its schedule and overlap policy say. A disabled task can be run too.

    Raises:
        AgentError: as of `runs.start`; nothing was written.
    """
    with storage_errors(), transaction.atomic():
        task = ScheduledTask.objects.select_related("agent", "owner").select_for_update(of=("self",)).get(pk=task.pk)
        is_kept = task.session == ScheduledTask.SessionMode.KEPT
        existing = _session(task) if is_kept or session_id is None else None
        options = {"existing_session": existing, "session_id": session_id, "message_id": message_id}
        return _start_run(runs.Due(task), trigger=trigger, **options)


def _start_run(due: runs.Due, **options: Any) -> runs.Started:
    task = due.task
    text, parts = joined(task.task_prompt, task.parts or [])  # the model is told of a file that was deleted meanwhile
    return runs.start(
        runs.NewRun(
            user=task.owner,
            message=text,
            parts=parts,
            agent_name=task.agent_name,
            due=due,
            overrides=Overrides(timeout=task.timeout),
            priority=min(task.priority, limits.highest_priority(task.owner)),  # who may have lost that right meanwhile
            **options,
        )
    )


def _session(task: ScheduledTask) -> str:
    """Return the id of the session of the task's next run."""
    is_kept = task.session == ScheduledTask.SessionMode.KEPT
    if is_kept and task.kept_session_id:
        return task.kept_session_id
    session = Session.objects.create(name=f"task-{task.pk}-{secrets.token_hex(4)}", owner=task.owner, title=task.name)
    if is_kept:
        ScheduledTask.objects.filter(pk=task.pk).update(kept_session=session)
        task.kept_session = session
    return session.pk
